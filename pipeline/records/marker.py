"""done/STAGE.json: a stage has ended, what it was made from, and what it says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from ...mining.json_documents import Document, damaged, read_document


class _Summary(Document):
    """What a stage says of itself."""


class _Training(_Summary):
    steps: NonNegativeInt
    loss: float | None = None
    active_fraction: float | None = None
    active_images: float | None = None
    seconds: NonNegativeFloat | None = None
    images_per_second: NonNegativeFloat | None = None
    network_files: dict[str, dict[str, Any]] = Field(default={})


class _Extract(_Summary):
    identities: NonNegativeInt | None = None
    quarantined: NonNegativeInt | None = None
    seconds: NonNegativeFloat | None = None
    images_per_second: NonNegativeFloat | None = None


class _Cluster(_Summary):
    subspaces: NonNegativeInt | None = None
    smallest: NonNegativeInt | None = None
    largest: NonNegativeInt | None = None
    recall_queries: NonNegativeInt | None = None
    recall_at_10: float | None = Field(default=None, alias="recall@10")
    kept: float | None = None
    duplicates: NonNegativeInt | None = None
    in_duplicates: NonNegativeInt | None = None
    """Identities with a suspected partner."""
    identities: NonNegativeInt | None = None


class _Plan(_Summary):
    batches: NonNegativeInt | None = None
    singletons: NonNegativeInt | None = None
    hardness: float | None = None
    random_hardness: float | None = None


class _Figures(_Summary):
    __pydantic_extra__: dict[str, float | None]  # pyright: ignore[reportIncompatibleVariableOverride]


SUMMARIES: dict[str, type[_Summary]] = {
    "pretrain": _Training,
    "extract": _Extract,
    "cluster": _Cluster,
    "plan": _Plan,
    "train": _Training,
    "validate": _Figures,
    "eval": _Figures,
}
"""What the marker of each stage keeps of it."""


class Marker(Document):
    """A completion marker."""

    stage: str | None = None
    """None in those of the first version."""
    fingerprint: str = Field(min_length=1)
    seconds: NonNegativeFloat
    finished: str
    summary: dict[str, Any]
    fields: dict[str, Any] = Field(default={})


def read_marker(path: Path, stage: str, remedy: str) -> dict[str, Any]:
    """The completion marker of a stage.

    Raises:
        InputError: there is none.
        StaleArtifactError: damaged, or of another stage; the message ends with `remedy`.
    """
    marker = read_document(path, marker_kind(stage), remedy)
    if marker.get("stage") not in (None, stage):
        raise damaged(path, f"it is of {marker['stage']}", remedy)
    return marker


_KINDS: dict[str, type[Marker]] = {}


def marker_kind(stage: str) -> type[Marker]:
    """The model of a stage's marker, its summary included."""
    if stage not in SUMMARIES:
        return Marker
    if stage not in _KINDS:
        summary = SUMMARIES[stage]
        _KINDS[stage] = type(f"_{stage}", (Marker,), {"__annotations__": {"summary": summary}})
    return _KINDS[stage]
