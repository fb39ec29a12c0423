"""How good a partition of identities is: similarity inside against between, and how much of the last one it keeps.

Neighbour recall, the figure that matters most, is in `neighbors.py`.

Shapes: N identities, M subspaces, D numbers in a mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Similarity(NamedTuple):
    """Mean cosine of two different identities."""

    inside: float
    """Mean cosine of two identities of one subspace; NaN where no subspace has two identities."""
    between: float
    """Mean cosine of two identities of different subspaces; NaN where there is only one."""


def subspace_similarity(blocks: Iterable[np.ndarray], subspace_id: np.ndarray) -> Similarity:
    """Mean cosine over all pairs of identities inside subspaces, and over all pairs between them.

    Exact in one pass: with S the sum of n unit vectors, the n (n-1) ordered pairs sum to |S|² - Σ|x|².
    Memory is float64[M, D] and one block.

    Args:
        blocks: float32[n, D] unit vectors (or zeros), N in all, in the order of `subspace_id`.
        subspace_id: int[N].
    """
    sizes = np.bincount(subspace_id).astype(np.float64)
    sums_MD: np.ndarray | None = None
    squares, start = 0.0, 0
    for block in blocks:
        if sums_MD is None:
            sums_MD = np.zeros((len(sizes), block.shape[1]))
        ids = subspace_id[start : start + len(block)]
        order = np.argsort(ids, kind="stable")
        present, first = np.unique(ids[order], return_index=True)
        if len(present):
            sums_MD[present] += np.add.reduceat(block[order], first, axis=0, dtype=np.float64)
        squares += float(np.einsum("nd,nd->", block, block, dtype=np.float64))
        start += len(block)
    if sums_MD is None:
        return Similarity(np.nan, np.nan)
    inside_sum = float((sums_MD**2).sum())
    everything = float((sums_MD.sum(axis=0) ** 2).sum())
    inside_pairs = float((sizes * (sizes - 1)).sum())
    between_pairs = float(sizes.sum() ** 2 - (sizes**2).sum())
    return Similarity(
        (inside_sum - squares) / inside_pairs if inside_pairs else np.nan,
        (everything - inside_sum) / between_pairs if between_pairs else np.nan,
    )


def adjusted_rand_index(a: np.ndarray, b: np.ndarray) -> float:
    """Agreement of two partitions, corrected for chance: 1 equal, 0 as by chance (Hubert, Arabie 1985).

    Churn from one round to the next is 1 minus this. O(N log N).

    Args:
        a: int[N], not negative.
        b: int[N], not negative.
    """

    def pairs(counts: np.ndarray) -> float:
        wide = counts.astype(np.float64)
        return float((wide * (wide - 1) / 2).sum())

    joint = a.astype(np.int64) * (int(b.max(initial=0)) + 1) + b
    together = pairs(np.unique(joint, return_counts=True)[1])
    in_a, in_b = pairs(np.bincount(a)), pairs(np.bincount(b))
    expected = in_a * in_b / max(1.0, len(a) * (len(a) - 1) / 2)
    most = (in_a + in_b) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)
