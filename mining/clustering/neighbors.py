"""Nearest identities, exactly: inside subspaces (for groups) and over all identities (for recall).

Shapes: I identities, D numbers in a mean, k neighbours. All means are unit vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from ..randomness import generator
from .mean_blocks import MeanBlocks


def nearest_in_subspace(means_ID: np.ndarray, subspace_id: np.ndarray, k: int) -> np.ndarray:
    """Return the k nearest other identities of every identity among its own subspace, nearest first.

    Exact, and cheap because subspaces are small: N·n·D multiply-adds instead of N²·D.

    Args:
        means_ID: float32[I, D].
        subspace_id: int32[I].
        k: neighbours wanted; a subspace of fewer than k + 1 identities pads with -1.

    Returns:
        int32[I, k], row numbers into `means_ID`.

    Example:
        >>> import numpy as np
        >>> from subspace.mining import nearest_in_subspace
        >>> angle = np.array([0, 0.1, 0.3, 0.4])
        >>> means = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        >>> nearest_in_subspace(means, np.array([0, 1, 1, 1]), k=2).tolist()
        [[-1, -1], [2, 3], [3, 1], [2, 1]]
    """
    neighbors_Ik = np.full((len(means_ID), k), -1, np.int32)
    for members, neighbor_nk, _ in neighbors_by_subspace(means_ID, subspace_id, k):
        neighbors_Ik[members, : neighbor_nk.shape[1]] = neighbor_nk
    return neighbors_Ik


def neighbors_by_subspace(
    means_ID: np.ndarray, subspace_id: np.ndarray, k: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the members of each subspace of two or more with their k nearest others among them.

    Exact; holds the means of one subspace, so `means_ID` may be a memory map. With one subspace for all it
    is the whole set's exact search, in blocks all the same.

    Yields:
        (int64[n] row numbers into `means_ID`, int64[n, min(k, n-1)] those of the neighbours, nearest first,
        float32[n, min(k, n-1)] their cosines).
    """
    order = np.argsort(subspace_id, kind="stable")
    borders = np.flatnonzero(np.diff(subspace_id[order])) + 1
    for members in np.split(order, borders):
        if len(members) > 1:
            means_nD = means_ID[members]
            yield members, *_nearest_others(members, members, means_nD, means_nD, k)


@dataclass(frozen=True)
class SampledNeighbors:
    """The k nearest identities of some, exactly: what subspaces are judged by."""

    sample: np.ndarray
    """int64[Q], row numbers, ascending."""
    found: np.ndarray
    """int64[Q, k], those of the nearest others."""

    def recall(self, subspace_id: np.ndarray, second_id: np.ndarray | None = None) -> float:
        """r@k: the share of the k nearest that share a subspace with the identity.

        Args:
            subspace_id: int[I].
            second_id: int[I], another subspace that an identity belongs to, -1 for none.
        """
        together = self._together(subspace_id, second_id)
        return float(together.mean()) if together.size else 1.0

    def gain(self, subspace_id: np.ndarray) -> float:
        """How many times as often an anchor meets one of its k nearest in a batch of its subspace as in a random one.

        Σ over anchors of the share that is in its subspace, times I / size: r·M where all M are equal. (Uneven
        subspaces have a higher r for no gain: the large ones hold much of everything.)
        """
        together = self._together(subspace_id, None)
        if not together.size:
            return 1.0
        size = np.bincount(subspace_id)[subspace_id[self.sample]]
        return float(np.mean(together.mean(axis=1) * len(subspace_id) / size))

    def _together(self, subspace_id: np.ndarray, second_id: np.ndarray | None) -> np.ndarray:
        homes = [subspace_id] if second_id is None else [subspace_id, second_id]
        together = np.zeros(self.found.shape, bool)
        for ours in homes:
            for theirs in homes:
                together |= (ours[self.sample][:, None] == theirs[self.found]) & (theirs[self.found] >= 0)
        return together


def sampled_neighbors(
    means: Any,
    *,
    k: int = 10,
    queries: int = 1000,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> SampledNeighbors:
    """Find the exact nearest identities of a seeded sample, in one pass over blocks: queries · I · D multiply-adds.

    Args:
        means: whatever `MeanBlocks` takes, of I unit vectors.
        k: fewer where there are not so many others.
        progress: called with the number of identities of each block as it has been searched.
    """
    blocks = MeanBlocks(means)
    total = blocks.shape[0]
    k = min(k, total - 1)
    sample = np.sort(generator(seed, "neighbor_recall").permutation(total)[:queries])
    asked = blocks.rows(sample)
    best = np.empty((len(sample), 0), np.float32)
    found = np.empty((len(sample), 0), np.int64)
    for start, rows in blocks if k else ():
        # Itself and k others are k + 1; so many of every block are enough.
        here = np.arange(start, start + len(rows))
        similarity, index = faiss.knn(asked, rows, min(k + 1, len(rows)), metric=faiss.METRIC_INNER_PRODUCT)
        similarity[here[index] == sample[:, None]] = -np.inf
        best, found = np.hstack((best, similarity)), np.hstack((found, here[index]))
        kept = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best, found = np.take_along_axis(best, kept, 1), np.take_along_axis(found, kept, 1)
        if progress:
            progress(len(rows))
    return SampledNeighbors(sample, found)


def neighbor_recall(
    means: Any, subspace_id: np.ndarray, *, k: int = 10, queries: int = 1000, seed: int = 0
) -> float:
    """Return r@k: the share of true k nearest identities that lie in the same subspace as the identity.

    Subspace batches meet an anchor's look-alikes r·M times more often than random batches do (M = number
    of equal subspaces). Exact neighbours over all I identities for a seeded sample of `queries`.

    Args:
        means: whatever `MeanBlocks` takes, of I unit vectors.
        subspace_id: int[I].

    Example:
        >>> import numpy as np
        >>> from subspace.mining import neighbor_recall
        >>> angle = np.array([0, 0.1, 0.3, 0.4])
        >>> means = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        >>> neighbor_recall(means, np.array([0, 0, 1, 1]), k=1), neighbor_recall(means, np.array([0, 1, 0, 1]), k=1)
        (1.0, 0.0)
    """
    return sampled_neighbors(means, k=k, queries=queries, seed=seed).recall(subspace_id)


def _nearest_others(
    query_id: np.ndarray, base_id: np.ndarray, queries: np.ndarray, base: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """k nearest of `base` for each query, itself left out, as entries of `base_id`: int[Q, min(k, n-1)], cosines."""
    wanted = min(k + 1, len(base))
    similarity, index = faiss.knn(
        np.ascontiguousarray(queries), np.ascontiguousarray(base), wanted, metric=faiss.METRIC_INNER_PRODUCT
    )
    found = base_id[index]
    # Drop the query itself; among exact duplicates it may be missing, then drop the farthest.
    itself = found == query_id[:, None]
    itself[~itself.any(axis=1), -1] = True
    shape = (len(found), wanted - 1)
    return found[~itself].reshape(shape), similarity[~itself].reshape(shape)
