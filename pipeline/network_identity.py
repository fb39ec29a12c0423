"""Which network a run begins with, as the start's fingerprint has it: by content, so that a moved file is the same network.

A file or folder that is gone, or as old as it was when it served, is what it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..mining.errors import InputError, StaleArtifactError
from ..mining.fingerprints import sha256_of
from ..train.checkpoint_meta import read_meta
from ..train.networks.registry import (
    CHECKPOINT_PREFIX,
    PRETRAINED,
    file_of,
    path_and_part,
    refuse_training,
)
from .configuration.config import RunConfig
from .run_directory import RunDirectory

if TYPE_CHECKING:
    from ..train.networks.backbone import Backbone

FILES = "network_files"
"""The key of the start's summary that has what is known of the files."""


def network_fields(config: RunConfig, run: RunDirectory) -> dict[str, Any]:
    """`model` and, where they are given, `weights` of the starting network, files by the hash of their content.

    Raises:
        InputError: a file or a checkpoint is not there.
    """
    try:
        record = run.start.record("pretrain") if run.start.finished("pretrain") else {}
    except StaleArtifactError:  # said where the start is asked for; `pretrain --force` remakes it
        record = {}
    before, known = record.get("fields", {}), record.get("summary", {}).get(FILES, {})
    spec, file = config.model, file_of(config.model)
    fields: dict[str, Any] = {"model": spec}
    if spec.startswith(CHECKPOINT_PREFIX):
        folder = Path(spec.removeprefix(CHECKPOINT_PREFIX))
        if not folder.exists() and _served(before.get("model"), CHECKPOINT_PREFIX, str(folder), known):
            fields["model"] = str(before["model"])
        else:
            fields["model"] = f"{CHECKPOINT_PREFIX}{read_meta(folder).fingerprint}"
    elif file is not None:
        kind = spec.partition(":")[0] + ":"
        part = spec.removeprefix(kind + file)
        fields["model"] = _by_content(kind, file, part, before.get("model"), known)
    if config.weights is not None:
        path, part = path_and_part(config.weights)
        part = f"#{part}" if part else ""
        named = config.weights == PRETRAINED
        fields["weights"] = PRETRAINED if named else _by_content("", path, part, before.get("weights"), known)
    return fields


def network_files(config: RunConfig) -> dict[str, Any]:
    """What the start's summary keeps of the files that the network came from."""
    files = [file_of(config.model), config.weights and path_and_part(config.weights)[0]]
    known = {
        file: {**_age(Path(file)), "sha256": _hash(Path(file))}
        for file in files
        if file and file != PRETRAINED
    }
    if config.model.startswith(CHECKPOINT_PREFIX):
        folder = config.model.removeprefix(CHECKPOINT_PREFIX)
        known[folder] = {"fingerprint": read_meta(Path(folder)).fingerprint}
    return {FILES: known} if known else {}


def refuse_frozen(spec: str) -> None:
    """Nothing, for a network that trains; a checkpoint is what its meta.json says.

    Raises:
        InputError: it is frozen.
    """
    if spec.startswith(CHECKPOINT_PREFIX):
        folder = Path(spec.removeprefix(CHECKPOINT_PREFIX))
        spec = read_meta(folder).spec if folder.exists() else ""
    refuse_training(spec)


def open_checkpoint(checkpoint: Path, config: RunConfig) -> Backbone:
    """The network of a checkpoint of a run, whose images become what they became when it was made.

    Raises:
        StaleArtifactError: the settings under `preprocess` are others than those that it carries.
        InputError: it is damaged.
    """
    from ..train.checkpoint import load_network

    allowed = config.allow_code or read_meta(checkpoint).spec == config.model
    network = load_network(f"{CHECKPOINT_PREFIX}{checkpoint}", allow_code=allowed)
    carried = {**network.input.to_json(), "size": network.input.height_and_width}
    for name, value in config.preprocess.given.items():
        value = (value, value) if name == "size" and isinstance(value, int) else value
        if carried[name] != value:
            raise StaleArtifactError(
                f"{checkpoint} was made with preprocess.{name}={carried[name]}, now it is {value}; set it back, or begin "
                "again: `subspace pretrain RUN --force`, then `subspace run RUN --force`",
                change=f"preprocess.{name}: {carried[name]}, now {value}",
            )
    return network


def _by_content(prefix: str, file: str, part: str, before: Any, known: dict[str, Any]) -> str:
    path = Path(file)
    if not path.exists():
        if not _served(before, prefix, file, known):
            raise InputError(f"{prefix}{file}: no such file")
        return str(before)
    then = known.get(file, {})
    same = {key: then.get(key) for key in ("bytes", "mtime_ns")} == _age(path)
    return f"{prefix}{then['sha256'] if same else _hash(path)}{part}"


def _served(before: Any, prefix: str, file: str, known: dict[str, Any]) -> bool:
    """Whether a file that is gone is the one that the network came from; starts of before kept no paths of them."""
    return before is not None and str(before).startswith(prefix) and (file in known or not known)


def _age(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
