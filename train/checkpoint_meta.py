"""What a checkpoint says of itself in `meta.json`; no torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt

from ..mining.errors import InputError
from ..mining.fingerprints import CREATED_BY, fingerprint_of
from ..mining.json_documents import Document, damaged_file, read_document

META = "meta.json"


@dataclass(frozen=True)
class CheckpointMeta:
    """What `meta.json` holds. No clock times once it is finished: equal trainings give equal bytes.

    Example:
        >>> from subspace.train import CheckpointMeta
        >>> CheckpointMeta("small", embedding_size=128, step=0, fingerprint="mine").parent is None
        True
    """

    spec: str
    """The network's own spec (`small`, `iresnet50`, ...), never `checkpoint:`."""
    embedding_size: int
    step: int
    """Steps of the plan that the weights have seen."""
    fingerprint: str
    """Fingerprint of what the weights were made from: settings, plan, parent."""
    parent: str | None = None
    """Fingerprint of the checkpoint that training began with."""
    plan: str | None = None
    """Fingerprint of the plan."""
    config: dict[str, Any] = field(default_factory=dict)
    """The run's whole configuration."""
    collapse: dict[str, Any] = field(default_factory=dict)
    """State of the collapse guard."""
    images: dict[str, Any] = field(default_factory=dict)
    """Images that its steps have read, those of them that could not be, and the steps that learned from any; the recent
    steps (number, images, unreadable ones) where one missed an image."""
    window: dict[str, Any] = field(default_factory=dict)
    """Its last steps that no line of metrics.jsonl has yet, summed, as `LineWindow.state` has it; empty in older
    checkpoints and in finished ones."""
    arithmetic: dict[str, Any] = field(default_factory=dict)
    """What the settings came to on the device that trained: `device`, `precision`, `channels_last`."""
    scaler: dict[str, Any] = field(default_factory=dict)
    """State of the loss scale of fp16 training."""
    input: dict[str, Any] = field(default_factory=dict)
    """What its images become, as `ImageInput.to_json` has it; empty in older checkpoints: what the network says of itself."""
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file of tensors, by name, and a hash of all else in meta.json; empty in older checkpoints."""
    code: str = ""
    """SHA-256 of the file with the function of a `python:` network; not in older checkpoints, nor in those of others."""
    created_by: str = CREATED_BY

    def to_json(self) -> str:
        """The text of `meta.json`, with its own hash among `files`."""
        values = json.loads(json.dumps(asdict(self)))  # keys and tuples as a reader will find them
        if not self.code:
            del values["code"]
        values["files"] = {**self.files, META: _own_hash(values)}
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

    def other_arithmetic(self, now: dict[str, Any]) -> str:
        """In words what was otherwise in this training than it is `now`; empty where nothing was."""
        then = self.arithmetic
        changed = [f"{name} was {then[name]}" for name in now if name in then and then[name] != now[name]]
        return f"; on {then.get('device', 'another device')} before, {', '.join(changed)}" if changed else ""


class _Collapse(Document):
    level: NonNegativeInt = 0
    collapses: NonNegativeInt = 0
    peak: float = 0.0
    sound_step: NonNegativeInt = 0
    softened_step: NonNegativeInt = 0
    window_step: NonNegativeInt = 0
    losses: list[float | None] = Field(default=[])
    distances: list[float | None] = Field(default=[])


class _Images(Document):
    read: NonNegativeInt = 0
    unreadable: NonNegativeInt = 0
    learned: NonNegativeInt = 0
    recent: list[Annotated[list[NonNegativeInt], Field(min_length=3, max_length=3)]] = Field(default=[])


class _Window(Document):
    steps: NonNegativeInt = 0
    sums: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(default={})
    counts: dict[str, NonNegativeInt] = Field(default={})
    seconds: float = Field(default=0.0, ge=0)
    phases: dict[str, Annotated[float, Field(ge=0)]] = Field(default={})


class _Meta(Document):
    spec: str = Field(min_length=1)
    embedding_size: int = Field(ge=1, lt=1 << 31)
    step: NonNegativeInt
    fingerprint: str
    parent: str | None = None
    plan: str | None = None
    config: dict[str, Any] = Field(default={})
    collapse: _Collapse = Field(default=_Collapse())
    images: _Images = Field(default=_Images())
    window: _Window = Field(default=_Window())
    arithmetic: dict[str, str | bool] = Field(default={})
    scaler: dict[str, float] = Field(default={})
    input: dict[str, Any] = Field(default={})
    files: dict[str, str] = Field(default={})
    code: str = ""
    created_by: str = ""


def read_meta(folder: Path) -> CheckpointMeta:
    """Read `meta.json` of a checkpoint.

    Raises:
        InputError: no checkpoint there.
        DamagedFileError: a meta.json that is damaged, or not ours.
    """
    path = folder / META
    if not path.is_file():
        raise InputError(f"{folder} is not a checkpoint (it has no meta.json)")
    values = read_document(path, _Meta)
    try:
        return CheckpointMeta(**values)
    except TypeError as error:
        raise damaged_file(path, f"it was not written by this program: {error}") from error


def read_meta_as_written(folder: Path) -> CheckpointMeta:
    """Read `meta.json` of a checkpoint from which a training goes on: its step and fingerprint decide what is kept.

    `read_meta` takes one that somebody has edited, such as the module of a `python:` network.

    Raises:
        InputError: no checkpoint there.
        DamagedFileError: damaged, or another than was written; older ones do not say what was written.
    """
    meta = read_meta(folder)
    values = read_document(folder / META, _Meta)
    if (written := meta.files.get(META)) is not None and written != _own_hash(values):
        raise damaged_file(folder / META, "it is not as it was written")
    return meta


def _own_hash(values: dict[str, Any]) -> str:
    """The hash of all but itself, whatever the order and the spaces."""
    return fingerprint_of(
        {**values, "files": {name: of for name, of in values["files"].items() if name != META}}
    )
