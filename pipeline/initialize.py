"""`subspace init`: a run folder with a commented `subspace.yaml` that suits the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..mining.errors import InputError
from ..mining.manifest import Manifest
from ..train.checkpoint import load_network
from ..train.checkpoint_meta import SPEC_PREFIX
from .config import RunConfig, parse_config, write_config
from .run_directory import RunDirectory

LEARNING_RATES = {"small": 0.016}
"""Of training, by network, where it has been searched; see BENCHMARKS.md."""


def initialize(
    run: RunDirectory, manifest_path: Path, model: str, overrides: Sequence[str], *, force: bool
) -> RunConfig:
    """Write `RUN/subspace.yaml`; settings that depend on the size of the data are chosen here and written out.

    Raises:
        InputError: the run has settings already (and no `force`), or manifest, model or overrides are wrong.
    """
    if run.config.exists() and not force:
        raise InputError(f"{run.config} exists; change it with an editor, or write it anew with --force")
    manifest = Manifest.open(manifest_path)
    config = parse_config(suited_settings(manifest, model), overrides, where="subspace init")
    config = config.model_copy(
        update={"manifest": str(Path(config.manifest).resolve()), "model": _resolved(config.model)}
    )
    load_network(config.model, embedding_size=config.embedding_size)  # says now what is wrong with it
    if len(manifest.identities_in(config.data.train_splits)) < 2:
        raise InputError(
            f"{manifest_path} has fewer than two identities in its training splits "
            f"({', '.join(config.data.train_splits)}; it has {', '.join(manifest.splits)}): nothing to tell apart"
        )
    with run.locked("init"):
        write_config(run.config, config)
    return config


def suited_settings(manifest: Manifest, model: str) -> dict[str, Any]:
    """Settings that differ from the defaults because of the manifest or the model.

    A subspace holds 10,000 identities, or a tenth of a smaller set; a batch no more identities than there are. A network
    whose learning rate has been searched has that one.
    """
    splits = manifest.splits
    held_out = ("test", "val", "query", "gallery")
    train = [name for name in ("train", "pretrain") if name in splits] or [
        s for s in splits if s not in held_out
    ]
    if not train:
        raise InputError(
            f"{manifest.path} has nothing to train on: all its images are in {', '.join(splits)}"
        )
    identities = len(manifest.identities_in(train))
    P = max(2, min(48, identities))
    return {
        "manifest": str(manifest.path.resolve()),
        "model": model,
        "data": {
            "train_splits": train,
            "pretrain_splits": ["pretrain"] if "pretrain" in splits else train,
            "distractor_splits": [name for name in ("val",) if name in splits],
        },
        "pretrain": {"steps": 0} if model.startswith(SPEC_PREFIX) else {},
        "cluster": {"ids_per_subspace": min(10_000, max(P, identities // 10))},
        "plan": {"P": P},
        "train": {"optimizer": {"lr": LEARNING_RATES[model]}} if model in LEARNING_RATES else {},
    }


def _resolved(spec: str) -> str:
    """`checkpoint:DIR` with an absolute folder, so that the run works from anywhere."""
    if not spec.startswith(SPEC_PREFIX):
        return spec
    return f"{SPEC_PREFIX}{Path(spec.removeprefix(SPEC_PREFIX)).resolve()}"
