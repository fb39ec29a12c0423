"""The nearest rows by a scan in blocks, and exact similarities of rows that are named.

Shapes: q queries, n rows, D numbers in each, k neighbours. All are unit vectors; rows may be float16 and mapped from disk.
"""

from __future__ import annotations

import faiss
import numpy as np

BLOCK_BYTES = 1 << 25
"""Float32 rows that are compared at a time."""
NOWHERE = -1
"""In the place of a row that there is none of."""

Nearest = tuple[np.ndarray, np.ndarray]
"""`similarity_qk` float32 and `row_qk` int64, the most similar first."""


def exact_nearest(queries_qD: np.ndarray, rows_nD: np.ndarray, k: int) -> Nearest:
    """The k nearest rows of every query; of equally near ones the lower row comes first.

    Args:
        k: where there are fewer rows, the rest is -inf and -1.

    Example:
        >>> rows = np.eye(3, dtype=np.float16)
        >>> exact_nearest(np.array([[0.6, 0.8, 0]], np.float32), rows, 2)[1]
        array([[1, 0]])
    """
    q, D = queries_qD.shape
    similarity_qw, row_qw = np.full((q, 0), -np.inf, np.float32), np.full((q, 0), NOWHERE, np.int64)
    at_a_time = max(1, BLOCK_BYTES // (4 * D))
    queries_qD = np.ascontiguousarray(queries_qD, np.float32)
    for start in range(0, len(rows_nD), at_a_time):
        part = np.ascontiguousarray(rows_nD[start : start + at_a_time], np.float32)
        found, place = faiss.knn(queries_qD, part, min(k, len(part)), metric=faiss.METRIC_INNER_PRODUCT)
        similarity_qw = np.concatenate((similarity_qw, found), axis=1)
        row_qw = np.concatenate((row_qw, place + start), axis=1)
        similarity_qw, row_qw = in_order(similarity_qw, row_qw, k)
    return scored_again(queries_qD, rows_nD, row_qw, k)


def scored_again(queries_qD: np.ndarray, rows_nD: np.ndarray, row_qw: np.ndarray, k: int) -> Nearest:
    """The k best of the rows that are named for each query, by their exact similarity; -1 names none."""
    similarity_qw = np.full(row_qw.shape, -np.inf, np.float32)
    for query, row_w, similarity_w in zip(queries_qD, row_qw, similarity_qw, strict=True):
        there = row_w >= 0
        similarity_w[there] = similarities(query, rows_nD, row_w[there])
    return in_order(similarity_qw, row_qw, k)


def similarities(query_D: np.ndarray, rows_nD: np.ndarray, row_w: np.ndarray) -> np.ndarray:
    """Similarities of one query to the rows that are named, float32[w].

    The same row and query give the same number, whatever stands beside it: FAISS's own differ in their last digits.
    """
    vectors_wD = rows_nD.take(row_w, axis=0).astype(np.float32, copy=False)
    return np.einsum("wd,d->w", vectors_wD, query_D)


def in_order(similarity_qw: np.ndarray, row_qw: np.ndarray, k: int) -> Nearest:
    """The k best of what was found, of equally similar ones the lower row first; padded where there are fewer."""
    if (lacking := k - row_qw.shape[1]) > 0:
        similarity_qw = np.pad(similarity_qw, ((0, 0), (0, lacking)), constant_values=-np.inf)
        row_qw = np.pad(row_qw, ((0, 0), (0, lacking)), constant_values=NOWHERE)
    order = np.lexsort((row_qw, -similarity_qw), axis=1)[:, :k]
    return np.take_along_axis(similarity_qw, order, axis=1), np.take_along_axis(row_qw, order, axis=1)
