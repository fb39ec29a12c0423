"""The parts of an embedding: which there are, where they lie, which are missing, which images are in them.

A part is a row group of the list of images. It appears whole, the images that it could not read before its embeddings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...mining.errors import DamagedFileError, StaleArtifactError
from ...mining.fingerprints import fingerprint_of
from ...mining.parquet_tables import fingerprint_in
from ...mining.schemas import IMAGE_EMBEDDINGS
from ..records.begun_parts import BEGUN, BegunParts
from ..stages.parts import BatchesOfParts, Parts
from .listed_images import PART_IMAGES

LISTED = "images.parquet"
"""The list of the images of the parts."""
OURS = (".", BEGUN, "images.", "embeddings-", "quarantine-")
"""What the names in a folder of parts begin with; those with a dot are of unfinished files, or the lock."""


class EmbeddingParts(Parts):
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
        BegunParts(self.folder, self.fields, again).begin()

    def is_finished(self, part: int) -> bool:
        """Whether a part is there, whole, and of these very fields."""
        try:
            return self.path(part).exists() and (
                fingerprint_in(self.path(part), IMAGE_EMBEDDINGS) == self.fingerprint
            )
        except (DamagedFileError, StaleArtifactError):
            return False

    def images(self, parts: Iterable[int]) -> int:
        """How many images some parts have."""
        return sum(len(self[part]) for part in parts)

    def path(self, part: int, what: str = "") -> Path:
        """Where its embeddings lie, which say that it is finished; or its quarantine."""
        return self.folder / f"{what or 'embeddings'}-{part:05d}-of-{len(self):05d}.parquet"


class RowBatches(BatchesOfParts):
    """The batches of an embedding: images by their numbers in the list.

    >>> batches = RowBatches(EmbeddingParts(Path("p"), 16_390, {}), [0, 1], 10_000)
    >>> len(batches), batches.of(0), len(batches(1)), batches(2).tolist()
    (3, 2, 6384, [16384, 16385, 16386, 16387, 16388, 16389])
    """

    def __init__(self, parts: EmbeddingParts, todo: Sequence[int], batch_size: int) -> None:
        super().__init__(parts, todo, batch_size)
        self._parts = parts

    def _images(self, part: int) -> np.ndarray:
        return self._parts[part]
