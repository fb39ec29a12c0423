"""Look-alikes inside subspaces, for a look at them: nearest identities of some, and the hardest pairs; NumPy alone.

Shapes: I identities, D numbers in a mean, Q of the identities, k neighbours, p pairs. All means are unit vectors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BLOCK = 512
"""Identities whose similarities to their whole subspace are held at a time: 20 MB where it has 10,000."""


class Nearest(NamedTuple):
    """The nearest identities of some."""

    row: np.ndarray
    """int64[Q, k], nearest first; -1 where a subspace has not so many."""
    similarity: np.ndarray
    """float32[Q, k], cosines; -inf there."""


def nearest_of_some(means_ID: np.ndarray, subspace_id: np.ndarray, rows: np.ndarray, k: int) -> Nearest:
    """The k nearest others of some identities among all of their own subspace; exact, Q·n·D multiply-adds.

    Args:
        means_ID: float32[I, D].
        subspace_id: int[I].
        rows: int[Q], row numbers into `means_ID`.

    Example:
        >>> angle = np.array([0, 0.1, 0.3, 0.4])
        >>> means = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        >>> nearest_of_some(means, np.array([0, 1, 1, 1]), np.array([1, 0]), k=2).row.tolist()
        [[2, 3], [-1, -1]]
    """
    row = np.full((len(rows), k), -1, np.int64)
    similarity = np.full((len(rows), k), -np.inf, np.float32)
    for subspace in np.unique(subspace_id[rows]):
        members = np.flatnonzero(subspace_id == subspace)
        asked = np.flatnonzero(subspace_id[rows] == subspace)
        most = min(k, len(members) - 1)
        if not most:
            continue
        means_nD = means_ID[members]
        for start in range(0, len(asked), BLOCK):
            some = asked[start : start + BLOCK]
            similarity_qn = means_ID[rows[some]] @ means_nD.T
            similarity_qn[np.arange(len(some)), np.searchsorted(members, rows[some])] = -np.inf
            kept = np.argpartition(-similarity_qn, most - 1, axis=1)[:, :most]
            cosine = np.take_along_axis(similarity_qn, kept, axis=1)
            order = np.lexsort((kept, -cosine), axis=1)
            row[some, :most] = members[np.take_along_axis(kept, order, axis=1)]
            similarity[some, :most] = np.take_along_axis(cosine, order, axis=1)
    return Nearest(row, similarity)


class HardestPairs(NamedTuple):
    """Pairs of identities, the most alike first."""

    a: np.ndarray
    """int64[p], row numbers; the smaller of each pair."""
    b: np.ndarray
    """int64[p]."""
    similarity: np.ndarray
    """float32[p], cosine of the two means."""


def hardest_pairs(rows: np.ndarray, nearest: Nearest, count: int) -> HardestPairs:
    """The most similar pairs of an identity and its nearest other, each identity in one pair at most.

    Args:
        rows: int64[Q], and `nearest` of them.
        count: fewer where there are not so many.

    Example:
        >>> found = Nearest(np.array([[1], [0], [1]]), np.array([[0.9], [0.9], [0.8]], np.float32))
        >>> hardest_pairs(np.arange(3), found, 5).b.tolist()
        [1]
    """
    first, second = np.minimum(rows, nearest.row[:, 0]), np.maximum(rows, nearest.row[:, 0])
    cosine = nearest.similarity[:, 0]
    taken: set[int] = set()
    chosen: list[int] = []
    for place in np.lexsort((second, first, -cosine)).tolist():
        pair = {int(first[place]), int(second[place])}
        if len(chosen) == count or first[place] < 0:
            break
        if not pair & taken:
            taken |= pair
            chosen.append(place)
    return HardestPairs(first[chosen], second[chosen], cosine[chosen])
