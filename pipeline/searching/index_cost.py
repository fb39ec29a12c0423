"""What an index will take to make: time, memory and disk, said before.

Shapes: n images, I identities, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...mining.clustering.product_speed import product_rate
from ...mining.index.kinds import ChosenKind, choose_kind
from ...mining.machine import memory_with
from ..console import about, amount

if TYPE_CHECKING:
    from ...mining.embedding_table import EmbeddingTable
    from ...mining.manifest import Manifest

COPY_RATE = 2e8
"""Bytes a second at which rows are read, scaled and written."""
OF_HNSW_ROW = 2_500
"""Rows that a row of a graph is compared with when it is placed, of which the processor fetches each from memory."""
TRIALS = 500
"""Images that an index is tried with."""
OF_NAME = 100
"""Bytes of the name of an image, where it is not known yet."""


@dataclass(frozen=True)
class IndexSize:
    """How much goes into an index."""

    images: int
    identities: int
    dimensions: int
    names: int
    """Bytes of the names of the images."""

    @classmethod
    def of(cls, sizes: Sequence[IndexSize]) -> IndexSize:
        """All together; an identity of two sources counts twice.

        >>> IndexSize.of([IndexSize(3, 2, 8, 30), IndexSize(1, 1, 8, 10)])
        IndexSize(images=4, identities=3, dimensions=8, names=40)
        """
        return cls(
            sum(size.images for size in sizes),
            sum(size.identities for size in sizes),
            sizes[0].dimensions,
            sum(size.names for size in sizes),
        )

    @classmethod
    def of_table(cls, table: EmbeddingTable) -> IndexSize:
        """The size of a file of embeddings."""
        identity, names = table.identity_id()
        image = table.column("image")
        nobody = int((identity < 0).sum())
        size = len(str(table.path)) * table.rows if image is None else image.nbytes
        return cls(table.rows, len(names) + nobody, table.dimensions, size)

    @classmethod
    def of_manifest(cls, manifest: Manifest, dimensions: int) -> IndexSize:
        """The size of a manifest whose images a network embeds to so many numbers."""
        kept = manifest.table["keep"].to_numpy()
        identities = len(np.unique(manifest.identity_id[kept]))
        return cls(int(kept.sum()), identities, dimensions, OF_NAME * int(kept.sum()))


def cost_of_index(size: IndexSize, kind: str, dtype: str, *, over_images: bool) -> str:
    """One line: rows, time, memory and disk.

    Args:
        kind: as it was asked for: auto, flat, ivf or hnsw.
        over_images: an index over the images, too.
    """
    n, identities, D = size.images, size.identities, size.dimensions
    built = [(choose_kind(identities, kind), identities)]
    if over_images:
        built.append((choose_kind(n, kind), n))
    indexes = sum(_bytes_of_row(chosen, D) * rows for chosen, rows in built)
    lists = max(chosen.lists for chosen, _ in built)
    memory = 48 * n + 200 * identities + 2 * size.names + indexes + 40 * D * 4 * lists
    disk = n * D * np.dtype(dtype).itemsize + 4 * identities * D + size.names + indexes
    seconds = (2 * disk) / COPY_RATE + sum(_building(chosen, rows, D) for chosen, rows in built)
    return (
        f"index: {n:,} images of {identities:,} identities, {about(seconds)}, {amount(memory_with(memory))} of memory, "
        f"{amount(disk)} of disk"
    )


def _bytes_of_row(chosen: ChosenKind, D: int) -> float:
    return {"flat": 0, "ivf": D / 4 + 8, "hnsw": 4 * (D + 64)}[chosen.kind]


def _building(chosen: ChosenKind, rows: int, D: int) -> float:
    """Seconds until an index over `rows` is built and its effort settled."""
    from ...mining.index.near_rows import TRAINING_ROWS, TRAINING_TURNS

    if chosen.kind == "flat":
        return 0
    rate = product_rate()
    trials = TRIALS * rows * D * 2
    if chosen.kind == "hnsw":
        return (rows * OF_HNSW_ROW * 2 * D + trials) / rate
    fitted = TRAINING_TURNS * min(rows, TRAINING_ROWS * chosen.lists)
    return ((fitted + rows) * chosen.lists * 2 * D + trials) / rate
