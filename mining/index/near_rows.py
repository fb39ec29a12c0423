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
from typing import Any

import faiss
import numpy as np

from ..randomness import generator
from .exact_search import BLOCK_BYTES, NOWHERE, Nearest, exact_nearest, scored_again
from .kinds import ChosenKind, Kind

LINKS, BUILDING_BREADTH = 32, 80
"""Links of each row of an HNSW graph; rows that are looked at to place one."""
TRAINING_ROWS, TRAINING_TURNS, CODED_ROWS = 40, 10, 100_000
"""Rows for each list that its centroids are fitted on, turns of k-means, and rows that the codes are fitted on."""
WIDE = 192
"""Numbers in a row above which four of them share a code of four bits, else two."""
CANDIDATES, FEWEST_CANDIDATES = 2, 100
"""How many times more rows IVF is asked for than are wanted, since codes are coarse; and at least so many."""
WANTED = 0.99
"""The share of trial queries whose nearest row an index must find."""
Track = Callable[[int], None]
"""Told how many rows are done."""


@dataclass(frozen=True)
class Effort:
    """How far an index looks, and what it finds by that."""

    breadth: int
    """Lists that are probed, or rows of the graph that are kept in sight; 0: all rows are compared."""
    recall: float
    """Share of trial queries whose nearest row it finds, their own identity left out; 1 without an index."""


EXACT = Effort(0, 1.0)


@dataclass(frozen=True)
class NearRows:
    """Rows that can be asked for those nearest to a query.

    Example:
        >>> rows = NearRows(np.eye(3, dtype=np.float32))
        >>> rows.nearest(np.array([[0.6, 0.8, 0]], np.float32), 2)
        (array([[0.8, 0.6]], dtype=float32), array([[1, 0]]))
    """

    rows: np.ndarray
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
        if self.index is None or exact or k >= len(self.rows):
            return exact_nearest(queries_qD, self.rows, k)
        row_qw = _candidates(self.index, queries_qD, k, self.effort.breadth)
        if row_qw.max(initial=NOWHERE) >= len(self.rows):
            raise ValueError(f"its index names row {row_qw.max():,} of {len(self.rows):,}")
        return scored_again(queries_qD, self.rows, row_qw, k)


def build_index(
    rows_nD: np.ndarray,
    chosen: ChosenKind,
    seed: int,
    track: Track = lambda rows: None,
    trained: faiss.Index | None = None,
) -> faiss.Index | None:
    """An index over rows; None where all are compared. The same for the same rows, seed and thread count.

    IVF holds codes of four bits (product quantisation of what is left of a row without its centroid: Jégou et al. 2011),
    compared in registers (André et al. 2015). Memory: IVF D / 4 + 8 bytes a row, HNSW 4 (D + 64).

    Args:
        track: told how many rows were compared with the centroids of lists that are fitted, `rows_fitted` in all, and then
            how many were added.
        trained: an earlier IVF index of as many lists, whose centroids and codes are taken.
    """
    if chosen.kind == "flat":
        return None
    n, D = rows_nD.shape
    if chosen.kind == "hnsw":
        index = faiss.IndexHNSWFlat(D, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = BUILDING_BREADTH
    elif isinstance(trained, faiss.IndexIVFPQFastScan) and trained.nlist == chosen.lists:
        index = faiss.clone_index(trained)
        index.reset()
    else:
        index = _trained_lists(rows_nD, chosen, seed, track)
    for start in range(0, n, at_a_time := max(1, BLOCK_BYTES // (4 * D))):
        block = rows_nD[start : start + at_a_time]
        index.add(_as_wide(block, index.d))
        track(len(block))
    return index


def rows_fitted(rows: int, chosen: ChosenKind) -> int:
    """How many rows are compared with the centroids of lists while these are fitted, each in every turn."""
    return TRAINING_TURNS * min(rows, TRAINING_ROWS * chosen.lists)


def rows_sampled(rows: int, chosen: ChosenKind) -> int:
    """How many rows are drawn to fit lists and codes on."""
    return min(rows, max(TRAINING_ROWS * chosen.lists, CODED_ROWS))


def _trained_lists(
    rows_nD: np.ndarray, chosen: ChosenKind, seed: int, track: Track
) -> faiss.IndexIVFPQFastScan:
    (n, D), lists = rows_nD.shape, chosen.lists
    numbers = 2 if D <= WIDE else 4
    wide = -(-D // numbers) * numbers
    centroids = faiss.IndexFlatIP(wide)
    index = faiss.IndexIVFPQFastScan(centroids, wide, lists, wide // numbers, 4, faiss.METRIC_INNER_PRODUCT)
    centroids.this.disown()  # pyright: ignore[reportAttributeAccessIssue]  # the index frees them
    index.own_fields = True
    index.by_residual = True
    drawn = np.sort(generator(seed, "index training rows").choice(n, rows_sampled(n, chosen), replace=False))
    index.pq.cp.niter, index.pq.cp.seed, index.pq.cp.min_points_per_centroid = TRAINING_TURNS, seed + 1, 1
    sample = _as_wide(rows_nD[drawn], wide)
    centroids.add(_fitted_centroids(sample, lists, seed, track))
    index.train(sample)  # the codes alone: the centroids are there
    return index


def _fitted_centroids(sample_sD: np.ndarray, lists: int, seed: int, track: Track) -> np.ndarray:
    """Spherical k-means of FAISS, a turn at a time, so that it is seen how far it is: float32[lists, D]."""
    kmeans = faiss.Clustering(sample_sD.shape[1], lists)
    kmeans.niter, kmeans.seed, kmeans.spherical = 1, seed + 1, True
    kmeans.min_points_per_centroid, kmeans.max_points_per_centroid = 1, TRAINING_ROWS
    for _ in range(TRAINING_TURNS):
        kmeans.train(
            sample_sD, faiss.IndexFlatIP(sample_sD.shape[1])
        )  # goes on from the centroids that it has
        track(min(len(sample_sD), TRAINING_ROWS * lists))
    return faiss.vector_to_array(kmeans.centroids).reshape(lists, -1)


def settle_effort(
    rows_nD: np.ndarray, index: faiss.Index | None, queries_qD: np.ndarray, own_q: np.ndarray
) -> Effort:
    """The least breadth by which an index finds the nearest row of nearly all queries; it is doubled until it does.

    Where it never does, as in a graph of which many equal rows are an island, the least that finds as many as any.

    Args:
        queries_qD: images of the gallery.
        own_q: int64[q], the row of each query's own identity, which does not count: a mean is nearer to its own images than
            to new ones.
    """
    if index is None or len(rows_nD) < 2:
        return EXACT
    nearest_q = _nearest_other(exact_nearest(queries_qD, rows_nD, 2), own_q)
    most = index.nlist if isinstance(index, faiss.IndexIVF) else len(rows_nD)
    breadth = 1 if isinstance(index, faiss.IndexIVF) else 16
    best = Effort(breadth, -1.0)
    while True:
        candidates = _candidates(index, queries_qD, 2, breadth)
        found_q = _nearest_other(scored_again(queries_qD, rows_nD, candidates, 2), own_q)
        recall = float((found_q >= nearest_q).mean())
        best = max(best, Effort(breadth, recall), key=lambda effort: effort.recall)
        if recall >= WANTED or breadth == most:
            return best
        breadth = min(2 * breadth, most)


def _nearest_other(two: Nearest, own_q: np.ndarray) -> np.ndarray:
    """Similarity of each query to the nearer of two rows that is not its own, float[q].

    Not the row: of a hundred that are the same to the bit, an index finds any.
    """
    similarity_q2, row_q2 = two
    return np.where(row_q2[:, 0] == own_q, similarity_q2[:, 1], similarity_q2[:, 0])


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
    """An index in a file; what FAISS can map of it stays there.

    Raises:
        ValueError: it is damaged, or of other rows.
    """
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    except RuntimeError as error:
        raise ValueError("FAISS cannot read it") from error
    wanted = faiss.IndexIVFPQFastScan if kind == "ivf" else faiss.IndexHNSWFlat
    if not isinstance(index, wanted) or index.ntotal != rows or not 0 <= index.d - dimensions < 4:
        raise ValueError(f"it is {type(index).__name__} of {index.ntotal:,} rows of {index.d}")
    return index


def _candidates(index: faiss.Index, queries_qD: np.ndarray, k: int, breadth: int) -> np.ndarray:
    """Rows that may be the k nearest of each query, int64[q, w]; -1 where there are fewer.

    How much is searched is set on the index: `search` takes no `params` once `faiss.contrib.torch_utils` is imported,
    as pytorch-metric-learning does.
    """
    queries = _as_wide(queries_qD, index.d)
    if isinstance(index, faiss.IndexIVF):
        w = min(max(CANDIDATES * k, FEWEST_CANDIDATES), index.ntotal)
        index.nprobe = breadth
        return index.search(queries, w)[1]
    graph: Any = index
    graph.hnsw.efSearch = max(breadth, k)
    return index.search(queries, k)[1]


def _as_wide(rows_nD: np.ndarray, wide: int) -> np.ndarray:
    """Rows as float32, filled with zeros where an index has a few numbers more."""
    lacking = wide - rows_nD.shape[1]
    return np.ascontiguousarray(np.pad(rows_nD, ((0, 0), (0, lacking))) if lacking else rows_nD, np.float32)
