"""What an index will take to make: time, memory and disk, said before.

Its time is that of its parts, each timed here on a few made-up rows, by the processor time of this thread.

Shapes: n images, I identities, D numbers in an embedding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...mining.index.kinds import ChosenKind, choose_kind
from ...mining.machine import memory_with
from ..console import about, amount
from ..estimates.estimate import of_memory

if TYPE_CHECKING:
    from ...mining.embedding_table import EmbeddingTable
    from ...mining.manifest import Manifest

TIMED_ROWS, COPIED_ROWS = 2_000, 16_384
"""Rows of a graph, or of a list's codes, that are timed; and rows that are scaled, copied and averaged."""
COPIES = 1.5
"""What reading and writing rows and their names adds to scaling, copying and averaging them, as measured of Parquet files."""
GRAPH_GROWTH = 0.48
"""To place a row in a graph takes longer by this power of its rows, as measured from 2,000 to 50,000: more are looked at, and they lie
farther from the processor.
"""
MADE_UP = 32
"""Dimensions in which made-up rows lie, about as many as embeddings of one kind of things really have."""
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
    seconds = n * COPIES * _copy_seconds(n, D, dtype) + sum(
        _building(chosen, rows, D) for chosen, rows in built
    )
    return (
        f"index: {n:,} images of {identities:,} identities, {about(seconds)}, {of_memory(memory_with(memory))}, "
        f"{amount(disk)} of disk"
    )


def _bytes_of_row(chosen: ChosenKind, D: int) -> float:
    return {"flat": 0, "ivf": D / 4 + 8, "hnsw": 4 * (D + 64)}[chosen.kind]


def _copy_seconds(n: int, D: int, dtype: str) -> float:
    """Seconds of a row that is scaled, put in its place and averaged with the others of its identity."""
    from ...mining.index.identity_rows import means_of_rows
    from .row_sources import at_unit_length

    some = max(2, min(COPIED_ROWS, n) // 2 * 2)
    rows_nD = _made_up(some, D)
    place, offset = np.empty(rows_nD.shape, dtype), np.arange(0, some + 1, 2)

    def copy() -> None:
        place[:] = at_unit_length(rows_nD)
        for _ in means_of_rows(place, offset):
            pass

    return _seconds(copy) / some


def _building(chosen: ChosenKind, rows: int, D: int) -> float:
    """Seconds until an index over `rows` is built and its effort settled."""
    import faiss

    from ...mining.index.exact_search import exact_nearest
    from ...mining.index.near_rows import build_index, rows_fitted, rows_sampled

    if chosen.kind == "flat":
        return 0
    some_nD = _made_up(min(TIMED_ROWS, rows), D)
    trials = _seconds(lambda: exact_nearest(some_nD[:TRIALS], some_nD, 2)) * rows / len(some_nD)
    if chosen.kind == "hnsw":
        placed = _seconds(lambda: build_index(some_nD, chosen, 0)) / len(some_nD)
        return rows * placed * max(1.0, rows / len(some_nD)) ** GRAPH_GROWTH + trials
    lists = faiss.IndexFlatIP(D)
    lists.add(_made_up(chosen.lists, D))
    compared = _seconds(lambda: lists.search(some_nD, 1)) / len(some_nD)
    few = build_index(some_nD, choose_kind(len(some_nD), "ivf"), 0)
    assert few is not None
    coded = _seconds(lambda: build_index(some_nD, choose_kind(len(some_nD), "ivf"), 0, trained=few)) / len(
        some_nD
    )
    return (
        (rows_fitted(rows, chosen) + rows_sampled(rows, chosen)) * compared
        + rows * (compared + coded)
        + trials
    )


def _made_up(n: int, D: int) -> np.ndarray:
    """Unit rows, float32[n, D]."""
    random, inside = np.random.default_rng(0), min(D, MADE_UP)
    rows_nD = random.standard_normal((n, inside), np.float32) @ random.standard_normal(
        (inside, D), np.float32
    )
    return rows_nD / np.linalg.norm(rows_nD, axis=1, keepdims=True)


def _seconds(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began
