"""Rows with an index over them, or none: built, opened, and asked for the nearest.

An index of FAISS names candidates; their similarities are computed again from the rows themselves, so that no kind of
index changes a similarity, only which rows are found. How far it looks (lists that are probed, breadth of the walk
through the graph) is settled when it is built, by searches whose answers are known.

Shapes: q queries, n rows, D numbers in each, k neighbours. All are unit vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from ..randomness import generator
from .exact_search import BLOCK_BYTES, Nearest, exact_nearest, scored_again
from .kinds import ChosenKind, Kind

LINKS, BUILDING_BREADTH = 32, 80
"""Of each row of an HNSW graph; rows that are looked at to place one."""
TRAINING_ROWS, TRAINING_TURNS = 40, 10
"""Rows for each list that its centroids are fitted on, and turns of k-means."""
TRIED, NEAREST, WANTED = 500, 10, 0.995
"""Queries that an index is tried with, the nearest rows of each that it must find, and the share of them."""
Track = Callable[[int], None]
"""Told how many rows were added."""


@dataclass(frozen=True)
class Effort:
    """How far an index looks, and what it finds by that."""

    breadth: int
    """Lists that are probed, or rows of the graph that are kept in sight; 0: all rows are compared."""
    recall: float
    """Share of the ten nearest rows that it finds, on rows of its own drawn at random and disturbed; 1 without an index."""


EXACT = Effort(0, 1.0)


@dataclass(frozen=True)
class NearRows:
    """Rows that can be asked for those nearest to a query.

    Example:
        >>> rows = NearRows(np.eye(3, dtype=np.float32))
        >>> rows.nearest(np.array([[0.6, 0.8, 0]], np.float32), 2)
        (array([[0.8, 0.6]], dtype=float32), array([[1, 0]]))
    """

    rows_nD: np.ndarray
    """float32 or float16, in memory or mapped."""
    index: faiss.Index | None = None
    """None: flat, all rows are compared."""
    effort: Effort = EXACT

    def nearest(self, queries_qD: np.ndarray, k: int, *, exact: bool = False) -> Nearest:
        """The k nearest rows of every query, the most similar first, of equally similar ones the lower row first.

        Args:
            k: where fewer are found, the rest is -inf and -1.
            exact: compare all rows, whatever index there is.
        """
        if self.index is None or exact or k >= len(self.rows_nD):
            return exact_nearest(queries_qD, self.rows_nD, k)
        parameters = _parameters(self.index, max(self.effort.breadth, 1), k)
        _, row_qk = self.index.search(np.ascontiguousarray(queries_qD, np.float32), k, params=parameters)
        if row_qk.max(initial=-1) >= len(self.rows_nD):
            raise ValueError(f"its index names row {row_qk.max():,} of {len(self.rows_nD):,}")
        return scored_again(queries_qD, self.rows_nD, row_qk, k)


def build_index(
    rows_nD: np.ndarray, chosen: ChosenKind, seed: int, track: Track = lambda rows: None
) -> faiss.Index | None:
    """An index over rows; None where all are compared. The same for the same rows and seed.

    Memory: IVF the rows as float32, HNSW 4 (D + 2 · 32) bytes more a row.
    """
    if chosen.kind == "flat":
        return None
    n, D = rows_nD.shape
    if chosen.kind == "hnsw":
        index = faiss.IndexHNSWFlat(D, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = BUILDING_BREADTH
    else:
        index = _trained_lists(rows_nD, chosen.lists, seed)
    for start in range(0, n, at_a_time := max(1, BLOCK_BYTES // (4 * D))):
        block = np.ascontiguousarray(rows_nD[start : start + at_a_time], np.float32)
        index.add(block)
        track(len(block))
    return index


def _trained_lists(rows_nD: np.ndarray, lists: int, seed: int) -> faiss.IndexIVFFlat:
    n, D = rows_nD.shape
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(D), D, lists, faiss.METRIC_INNER_PRODUCT)
    index.own_fields = True
    index.quantizer.this.disown()
    wanted = min(n, max(lists, TRAINING_ROWS * lists))
    drawn = np.sort(generator(seed, "index training rows").choice(n, wanted, replace=False))
    index.cp.niter, index.cp.spherical, index.cp.seed = TRAINING_TURNS, True, seed + 1
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, TRAINING_ROWS
    index.train(np.ascontiguousarray(rows_nD[drawn], np.float32))
    return index


def settle_effort(rows_nD: np.ndarray, index: faiss.Index | None, seed: int) -> Effort:
    """The least breadth by which an index finds nearly all of the ten nearest rows; it is doubled until it does.

    Queries are rows, each disturbed so that its cosine to itself is 0.8, as that of an image to its identity.
    """
    if index is None:
        return EXACT
    n, D = rows_nD.shape
    random = generator(seed, "index trials")
    queries_qD = rows_nD[np.sort(random.choice(n, min(TRIED, n), replace=False))].astype(np.float32)
    noise_qD = random.standard_normal(queries_qD.shape).astype(np.float32)
    noise_qD -= np.einsum("qd,qd->q", noise_qD, queries_qD)[:, None] * queries_qD
    queries_qD = 0.8 * queries_qD + 0.6 * noise_qD / np.maximum(
        np.linalg.norm(noise_qD, axis=1, keepdims=True), 1e-12
    )
    k = min(NEAREST, n)
    _, true_qk = exact_nearest(queries_qD, rows_nD, k)
    most = index.nlist if isinstance(index, faiss.IndexIVF) else n
    breadth = 1 if isinstance(index, faiss.IndexIVF) else 16
    while True:
        breadth = min(breadth, most)
        _, row_qk = index.search(queries_qD, k, params=_parameters(index, breadth, k))
        found = (row_qk[:, :, None] == true_qk[:, None, :]).any(axis=1)
        recall = float(found.mean())
        if recall >= WANTED or breadth == most:
            return Effort(breadth, recall)
        breadth *= 2


def write_index(index: faiss.Index, path: Path) -> None:
    """Write an index to a file.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise OSError(28, "FAISS cannot write it (disk full?)", str(path)) from error


def open_index(path: Path, kind: Kind, rows: int, dimensions: int) -> faiss.Index:
    """An index in a file: the lists of IVF stay there, mapped; a graph is read into memory.

    Raises:
        ValueError: it is damaged, or of other rows.
    """
    flags = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY if kind == "ivf" else 0
    try:
        index = faiss.read_index(str(path), flags)
    except RuntimeError as error:
        raise ValueError("FAISS cannot read it") from error
    wanted = faiss.IndexIVFFlat if kind == "ivf" else faiss.IndexHNSWFlat
    if not isinstance(index, wanted) or (index.d, index.ntotal) != (dimensions, rows):
        raise ValueError(f"it is {type(index).__name__} of {index.ntotal:,} rows of {index.d}")
    return index


def _parameters(index: faiss.Index, breadth: int, k: int) -> faiss.SearchParameters:
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(nprobe=breadth)
    return faiss.SearchParametersHNSW(efSearch=max(breadth, k))
