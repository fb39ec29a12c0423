"""Data, training and figures of a checkpoint, as rows for its model card, from the files of its run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...mining.cleaning.keep_table import NOTHING, read_left_out
from ...mining.errors import SubspaceError
from ...mining.manifest import Manifest
from ...mining.remote import is_url
from ...train.networks.registry import CHECKPOINT_PREFIX, file_of
from ..configuration.config import DataConfig, RunConfig
from ..configuration.config_file import parse_config
from ..stage_folder import CHECKPOINT, ROUND, START
from ..stages.evaluate import in_percent
from .chosen_checkpoint import ChosenCheckpoint

ROLES = {
    "pretrain_splits": "the start is trained on it",
    "train_splits": "mined and trained on",
    "val_splits": "rounds are chosen by it",
    "test_splits": "tested on",
}


def settings_of(chosen: ChosenCheckpoint) -> RunConfig | None:
    """The settings that the checkpoint was made with; None where it was made outside a run."""
    if not chosen.meta.config:
        return None
    return parse_config(chosen.meta.config, [], where=f"{chosen.folder}/meta.json")


def manifest_of(chosen: ChosenCheckpoint, config: RunConfig | None) -> Manifest | str:
    """The manifest that the checkpoint was trained with, or why there is none."""
    if config is None:
        return "the checkpoint was made outside a run"
    name = Path(config.manifest).name
    if is_url(config.manifest):  # a checkpoint of somebody else must not have one fetched
        return f"{name} lies behind a URL, which is not read for it"
    if not Path(config.manifest).is_file():
        return f"{name} is not there any more"
    try:
        manifest = Manifest.open(config.manifest)
    except SubspaceError as error:
        return str(error).replace(config.manifest, name)
    if chosen.trained_with not in (None, manifest.fingerprint):
        return f"{name} has changed since this network was trained"
    return manifest


def roles_in(chosen: ChosenCheckpoint, config: RunConfig) -> dict[str, str]:
    """What the splits of each setting were for this very network, of `ROLES`."""
    unused = {"pretrain_splits": config.pretrain.steps == 0, "train_splits": chosen.is_start}
    return {setting: words for setting, words in ROLES.items() if not unused.get(setting)}


def split_rows(
    manifest: Manifest, data: DataConfig, roles: Mapping[str, str] = ROLES
) -> list[tuple[str, str, str, str]]:
    """Name, images, identities and use of each split, without images that cleaning dropped.

    What `data.cleaned` leaves out is not counted in the splits that are mined and trained on, and is told of there.

    Args:
        roles: what splits are for, by the setting that names them.
    """
    left_out, table = _cleaned_away(manifest, data), Path(data.cleaned or "").name
    rows = []
    for split in manifest.splits:
        counted = manifest.in_splits([split])
        uses = [words for setting, words in roles.items() if split in getattr(data, setting)]
        if "train_splits" in roles and split in data.train_splits:
            if left_out is None:
                uses.append(f"what {table} left out is counted, too: it is not there any more as it was")
            elif gone := int(np.count_nonzero(counted[left_out])):
                counted[left_out] = False
                of_start = "pretrain_splits" in roles and split in data.pretrain_splits
                also = " (the start is trained on these, too)" if of_start else ""
                uses.append(f"{gone:,} more left out by {table}{also}")
        identities = manifest.identity_id[counted]
        rows.append(
            (split, f"{len(identities):,}", f"{len(np.unique(identities)):,}", ", ".join(uses) or "not used")
        )
    return rows


def _cleaned_away(manifest: Manifest, data: DataConfig) -> np.ndarray | None:
    """The images that `data.cleaned` leaves out, int64[n]; None where the table cannot say it any more."""
    if data.cleaned is None:
        return NOTHING.image_id
    try:
        return read_left_out(Path(data.cleaned), manifest).image_id
    except SubspaceError:
        return None


def origin_of(config: RunConfig) -> str | None:
    """The weights that a run began with, without paths of this machine; None where they were drawn."""
    if config.model.startswith(CHECKPOINT_PREFIX):
        *_, run, made, name = ("", "", *Path(config.model.removeprefix(CHECKPOINT_PREFIX)).parts)
        in_run = name == CHECKPOINT and (made == START or made.startswith(ROUND))
        return f"the checkpoint {f'{run}/{made}' if in_run else name}"
    if config.weights is not None or file_of(config.model) is not None:
        return "published weights"
    return None


def training_rows(chosen: ChosenCheckpoint, config: RunConfig) -> list[tuple[str, str]]:
    """What was trained, as names and values."""
    folder, origin = chosen.stage_folder, origin_of(config)
    began = [("began with", origin)] if origin else []
    if chosen.is_start:
        start = config.pretrain
        return [
            ("trained as", "the starting network"),
            *began,
            ("batches", f"{start.P} identities × {start.K} images, {chosen.meta.step:,} steps"),
            ("loss", start.loss if start.steps else "none: the weights that the network came with"),
            ("optimiser", f"{start.optimizer.name}, learning rate {start.optimizer.lr:g}"),
            ("seed", str(config.seed)),
        ]
    plan, train = config.plan, config.train
    draw = plan.draw
    rounds = "rounds" if config.rounds != 1 else "round"
    of_round = f" (round {folder.index}, counted from 0)" if folder is not None else ""
    return [
        *began,
        (
            "strategy",
            f"{plan.strategy}: groups of {draw.group_size}, {100 * draw.random_fraction:.0f} % random",
        ),
        ("subspaces", f"{config.cluster.ids_per_subspace} identities each"),
        ("rounds", f"{config.rounds} {rounds} of {plan.steps:,} steps{of_round}"),
        ("batches", f"{plan.P} identities × {plan.K} images, {chosen.meta.step:,} steps in the last round"),
        ("loss", train.loss),
        ("optimiser", f"{train.optimizer.name}, learning rate {train.optimizer.lr:g}"),
        ("seed", str(config.seed)),
    ]


def evaluation_of(chosen: ChosenCheckpoint) -> dict[str, Any] | str:
    """The evaluation of this very network, or why there is none."""
    folder = chosen.stage_folder
    if folder is None:
        return "the checkpoint lies outside a run"
    if not folder.evaluation.is_file() or not folder.finished("eval"):
        return f"`subspace eval` has not been run on {folder.name}"
    if folder.record("eval")["fields"].get("network") != chosen.meta.fingerprint:
        return f"the evaluation of {folder.name} is of an earlier network; `subspace eval` makes it anew"
    if folder.trained_with is not None and not folder.is_of(folder.trained_with, "eval"):
        return f"the evaluation of {folder.name} is on another manifest than that of its training"
    return folder.examined("eval")


def flip_test_of(chosen: ChosenCheckpoint) -> bool:
    """Whether its evaluation embedded mirror images, too."""
    folder = chosen.stage_folder
    if folder is None or not folder.finished("eval"):
        return False
    return bool(folder.record("eval")["fields"].get("eval.flip"))


def metric_rows(evaluation: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and `value [low, high]` in percent of each metric."""
    return [(name, in_percent(metric)) for name, metric in evaluation["metrics"].items()]


def examined_on(evaluation: dict[str, Any]) -> list[str]:
    """How many identities, probes, gallery images and distractors; those that the evaluation tells of."""
    names = {
        "identities": "identities",
        "probes": "probes",
        "gallery": "gallery images",
        "distractors": "distractors",
    }
    return [
        f"{evaluation[key]:,} {words}" for key, words in names.items() if isinstance(evaluation.get(key), int)
    ]
