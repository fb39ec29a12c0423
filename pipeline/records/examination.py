"""validation.json and evaluation.json: figures of a network on held-out identities, with their intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeInt, field_validator

from ...mining.json_documents import Document, read_document


class _Figure(Document):
    value: float | None
    low: float | None
    high: float | None
    threshold: float | None = None


class Examination(Document):
    """Metrics by name, and how much data is behind them."""

    fingerprint: str = Field(min_length=1)
    metrics: dict[str, _Figure]
    identities: NonNegativeInt
    probes: NonNegativeInt | None = None
    gallery: NonNegativeInt | None = None
    distractors: NonNegativeInt | None = None
    genuine_pairs: NonNegativeInt | None = None
    impostor_pairs: NonNegativeInt | None = None

    @field_validator("metrics")
    @classmethod
    def _some(cls, metrics: dict[str, _Figure]) -> dict[str, _Figure]:
        if not metrics:
            raise ValueError("there is no metric in it")
        return metrics


def read_examination(path: Path, remedy: str) -> dict[str, Any]:
    """A validation.json or evaluation.json.

    Raises:
        InputError: there is none.
        StaleArtifactError: damaged; the message ends with `remedy`.
    """
    return read_document(path, Examination, remedy)
