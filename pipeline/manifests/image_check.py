"""`subspace inspect MANIFEST --check`: every image of a manifest, or a sample, opened as training opens it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...mining.errors import InputError
from ...mining.manifest import Manifest
from ...mining.parquet_tables import write_parquet
from ...mining.randomness import generator
from ...mining.remote import in_words
from ...mining.schemas import QUARANTINE
from ..console import aligned
from ..output_file import check_output, table_of
from ..sources.ingest import NO_BARS, Bars

SIZE = 112
"""Pixels a side to which images are decoded: large enough that all of a file is read."""
_BATCH = 64
_SHOWN = 12


@dataclass(frozen=True)
class CheckedImages:
    """Which images of a manifest cannot be decoded, and why."""

    path: str
    images: int
    """That the manifest has."""
    checked: int
    bad: pa.Table
    """A row of QUARANTINE for each."""

    def reasons(self) -> list[tuple[str, int, str]]:
        """Each reason without the names and numbers in it, how often it came, and the first image; most frequent first."""
        first: dict[str, str] = {}
        counts: Counter[str] = Counter()
        for row in self.bad.to_pylist():
            reason = _general(row["reason"], row["uri"])
            counts[reason] += 1
            first.setdefault(reason, row["uri"] or f"image {row['image_id']}")
        return [(reason, count, first[reason]) for reason, count in counts.most_common()]

    def lines(self) -> list[str]:
        """The result for a person."""
        tried = f"{self.checked:,} images"
        if self.checked < self.images:
            tried = f"{self.checked:,} of {self.images:,} images, drawn at random,"
        if not self.bad.num_rows:
            return [f"{self.path}: all {tried} can be decoded"]
        reasons = self.reasons()
        rows = [[reason, f"{count:,}", uri] for reason, count, uri in reasons[:_SHOWN]]
        table = aligned([["reason", "images", "the first"], *rows], (0, 2)).splitlines()
        more = len(reasons) - _SHOWN
        return [
            f"{self.path}: {self.bad.num_rows:,} of {tried} cannot be decoded",
            *(f"  {line}" for line in table),
            *([f"  and {more:,} other reasons"] if more > 0 else []),
        ]

    def to_json(self) -> dict[str, Any]:
        """The result for a program."""
        reasons = [{"reason": r, "images": count, "first": first} for r, count, first in self.reasons()]
        return {
            "path": self.path,
            "images": self.images,
            "checked": self.checked,
            "bad": self.bad.num_rows,
            "reasons": reasons,
        }


def check_images(
    path: Path,
    bars: Bars = NO_BARS,
    *,
    sample: int | None = None,
    num_workers: int = 0,
    out: Path | None = None,
) -> CheckedImages:
    """Decode the images of the manifest `path`, or `sample` of them drawn with seed 0; list what fails.

    Args:
        out: where the bad images are written, as a quarantine table; where all are good there is none afterwards.

    Raises:
        InputError: no manifest, none of its images can be decoded, or `out` may not be replaced.
    """
    from ...train.data.batches import DecodedBatches, ImageChunks, load_batches
    from ...train.data.images import ImageStore

    if out is not None:
        check_output(out, table_of(QUARANTINE.name), [path])
    manifest = Manifest.open(path)
    image_id = np.arange(len(manifest))
    if sample is not None and sample < len(image_id):
        image_id = np.sort(generator(0, "check images").choice(image_id, sample, replace=False))
    chunks = ImageChunks(image_id, _BATCH)
    bad: list[tuple[int, str]] = []
    with bars("check", len(image_id), "images") as progress:
        for batch in load_batches(
            DecodedBatches(ImageStore(manifest), chunks, SIZE), range(len(chunks)), num_workers
        ):
            bad += [(image.image_id, image.reason) for image in batch.bad]
            progress.update(len(batch.image_id) + len(batch.bad), f"{len(bad):,} bad")
    checked = CheckedImages(in_words(path), len(manifest), len(image_id), _quarantine(manifest, bad))
    if out is not None and bad:
        write_parquet(out, QUARANTINE, checked.bad, manifest.fingerprint)
    elif out is not None:
        out.unlink(missing_ok=True)  # of an earlier check
    if len(bad) == len(image_id):
        reason, _, first = checked.reasons()[0]
        raise InputError(
            f"{checked.path}: none of the {len(bad):,} images can be decoded, the first is {first}: {reason}"
        )
    return checked


def _quarantine(manifest: Manifest, bad: list[tuple[int, str]]) -> pa.Table:
    image_id = pa.array([number for number, _ in bad], pa.int64())
    rows = manifest.table.select(["identity", "uri"]).take(image_id)
    columns = {"image_id": image_id, "identity": rows["identity"], "uri": rows["uri"].cast(pa.string())}
    return pa.table({**columns, "reason": [reason for _, reason in bad]}).cast(QUARANTINE.columns)


def _general(reason: str, uri: str | None) -> str:
    """A reason without what differs from image to image: the file's name and numbers.

    Example:
        >>> _general("[Errno 2] No such file or directory: '/photos/7.jpg'", "/photos/7.jpg")
        'No such file or directory'
    """
    reason = re.sub(r"^\[Errno \d+\] ", "", reason)
    for name in filter(None, (uri, uri and uri.rpartition("/")[2])):
        reason = re.sub(rf"'?\S*{re.escape(name)}'?", "", reason)
    return re.sub(r"\d+", "N", reason).strip(" :")
