"""The parts of an embedding: which there are, where they lie, which are missing, which images are in them.

A part is a row group of the list of images. It appears whole, the images that it could not read before its embeddings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...mining.artifacts import write_json
from ...mining.errors import DamagedFileError, StaleArtifactError
from ...mining.fingerprints import fingerprint_of
from ...mining.parquet_tables import fingerprint_in, read_parquet
from ...mining.schemas import IMAGE_EMBEDDINGS, QUARANTINE
from ..stages.parts import Shard
from .listed_images import PART_IMAGES

if TYPE_CHECKING:
    from ...train.data.images import BadImage


class EmbeddingParts:
    """Runs of `PART_IMAGES` images of a list, each embedded to files of its own.

    Args:
        folder: where they lie.
        rows: images of the list.
        fields: all that the embeddings depend on; a part of other fields is not finished.

    >>> parts = EmbeddingParts(Path("photos.parquet.parts"), 40_000, {"network": "n"})
    >>> len(parts), parts.images([0, 2]), parts.of(Shard(1, 2))
    (3, 23616, [1])
    """

    def __init__(self, folder: Path, rows: int, fields: Mapping[str, Any]) -> None:
        self.folder, self.rows, self.fields = folder, rows, dict(fields)
        self.fingerprint = fingerprint_of(self.fields)
        self._begun = folder / "begun.json"

    def __len__(self) -> int:
        return -(-self.rows // PART_IMAGES)

    def __getitem__(self, part: int) -> np.ndarray:
        """The numbers of its images in the list, int64[n]."""
        return np.arange(part * PART_IMAGES, min(self.rows, (part + 1) * PART_IMAGES))

    def begin(self, again: str) -> None:
        """Note what the parts depend on, or find that those which are there depend on the same.

        Raises:
            StaleArtifactError: they do not; `again` is the option that drops them.
        """
        if self._begun.exists():
            try:
                before = json.loads(self._begun.read_text())
            except (OSError, ValueError) as error:
                raise StaleArtifactError(f"{self._begun} is damaged; begin again: {again}") from error
            changed = change(before if isinstance(before, dict) else {}, self.fields)
            if changed:
                raise StaleArtifactError(
                    f"{self.folder} was begun with {changed}; finish it as it was, or begin again: {again}",
                    change=changed,
                )
            return
        write_json(self._begun, self.fields)

    def of(self, shard: Shard) -> list[int]:
        """The parts that a shard makes."""
        return list(range(shard.index, len(self), shard.count))

    def missing(self, shard: Shard | None = None) -> list[int]:
        """Those, of all or of a shard, that are not finished."""
        return [part for part in self.of(shard or Shard()) if not self.is_finished(part)]

    def is_finished(self, part: int) -> bool:
        """Whether a part is there, whole, and of these very fields."""
        try:
            return self.path(part).exists() and (
                fingerprint_in(self.path(part), IMAGE_EMBEDDINGS) == self.fingerprint
            )
        except (DamagedFileError, StaleArtifactError):
            return False

    def unreadable(self, part: int) -> list[BadImage]:
        """The images that a finished part could not read, by their numbers in the list."""
        from ...train.data.images import BadImage

        rows = read_parquet(self.path(part, "quarantine"), QUARANTINE, ["image_id", "reason"]).to_pylist()
        return [BadImage(row["image_id"], row["reason"]) for row in rows]

    def forget(self, part: int) -> None:
        """Make a part one that is not finished."""
        self.path(part).unlink(missing_ok=True)

    def images(self, parts: Iterable[int]) -> int:
        """How many images some parts have."""
        return sum(len(self[part]) for part in parts)

    def path(self, part: int, what: str = "embeddings") -> Path:
        """Where its embeddings lie, which say that it is finished; or its quarantine."""
        return self.folder / f"{what}-{part:05d}-of-{len(self):05d}.parquet"


class RowBatches:
    """The batches of some parts in one row, so that one set of loader processes makes them all: image ids by number.

    No batch holds images of two parts.

    >>> batches = RowBatches(EmbeddingParts(Path("p"), 16_390, {}), [0, 1], size=10_000)
    >>> len(batches), batches.of(0), len(batches(1)), batches(2).tolist()
    (3, 2, 6384, [16384, 16385, 16386, 16387, 16388, 16389])
    """

    def __init__(self, parts: EmbeddingParts, todo: Sequence[int], size: int) -> None:
        self._parts, self._todo, self._size = parts, list(todo), size
        counts = [-(-len(parts[part]) // size) for part in todo]
        self._first = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))

    def __len__(self) -> int:
        return int(self._first[-1])

    def of(self, place: int) -> int:
        """How many batches the part at that place has."""
        return int(self._first[place + 1] - self._first[place])

    def __call__(self, number: int) -> np.ndarray:
        place = int(np.searchsorted(self._first, number, side="right")) - 1
        start = (number - int(self._first[place])) * self._size
        return self._parts[self._todo[place]][start : start + self._size]


def change(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first field that differs, in words; empty where none does.

    >>> change({"flip": False}, {"flip": True})
    'flip=False, now it is True'
    """
    changed = next((key for key in (*now, *before) if before.get(key) != now.get(key)), None)
    if changed is None:
        return ""
    return f"{changed}={before.get(changed)}, now it is {now.get(changed)}"
