"""What an ingest made: how much of a manifest each split has, what was left out, and what may surprise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SplitCount:
    """How much of a manifest one split has."""

    split: str
    identities: int
    images: int


@dataclass(frozen=True)
class IngestSummary:
    """What a manifest holds, and what was left out of it."""

    out: Path
    fingerprint: str
    images: int
    identities: int
    singletons: int
    """Identities with one image."""
    splits: tuple[SplitCount, ...]
    """In the order train, pretrain, val, test, then any others."""
    quarantined: int
    """Images that are missing or broken, and so not in the manifest."""
    reading: str
    """What the source was read as: which part of it is the identity, the path, the split."""
    notes: tuple[str, ...]
    """What may surprise: where the splits are from, fewer held out than asked for, identities left out."""

    repeats: int = 0
    """Images left out, as another of their identity is the same."""
    shared_held_out: int = 0
    """Held-out images that are another identity's too: in the manifest with `keep` false."""
    shared_training: int = 0
    """Training images that are another identity's too, which stay."""

    def to_json(self) -> dict[str, Any]:
        """The summary for a program."""
        return {**asdict(self), "out": str(self.out)}

    def lines(self) -> list[str]:
        """The summary for a person."""
        return [
            f"read as {self.reading}",
            f"{self.out}: {self.images:,} images of {self.identities:,} identities, {self.singletons:,} with one image",
            *(f"  {s.split:<9}{s.identities:>11,} identities{s.images:>13,} images" for s in self.splits),
            *(f"  {note}" for note in self.notes),
        ]
