"""How good a partition of identities is: similarity inside against between, and how much of the last one it keeps.

Neighbour recall, the figure that matters most, is in `neighbors.py`.

Shapes: N identities, M subspaces, D numbers in a mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch

from .on_device import blocks_on, sums_by_group


class Similarity(NamedTuple):
    """Mean cosine of two different identities."""

    inside: float
    """Mean cosine of two identities of one subspace; NaN where no subspace has two identities."""
    between: float
    """Mean cosine of two identities of different subspaces; NaN where there is only one."""


def subspace_similarity(
    blocks: Iterable[np.ndarray], subspace_id: np.ndarray, *, device: str | torch.device = "cpu"
) -> Similarity:
    """Mean cosine over all pairs of identities inside subspaces, and over all pairs between them.

    Exact in one pass: with S the sum of n unit vectors, the n (n-1) ordered pairs sum to |S|² - Σ|x|².
    Memory is float64[M, D] and one block.

    Args:
        blocks: float32[n, D] unit vectors (or zeros), N in all, in the order of `subspace_id`.
        subspace_id: int[N].
        device: what adds, such as 'cpu' or 'cuda'.
    """
    sizes = np.bincount(subspace_id).astype(np.float64)
    where, M = torch.device(device), len(sizes)
    ids_N = torch.from_numpy(subspace_id.astype(np.int64)).to(where)
    sums_MD: torch.Tensor | None = None
    squares, start = torch.zeros((), dtype=torch.float64, device=where), 0
    for _, block in blocks_on(enumerate(blocks), where):
        if sums_MD is None:
            sums_MD = torch.zeros(M, block.shape[1], dtype=torch.float64, device=where)
        sums_MD += sums_by_group(block, ids_N[start : start + len(block)], M)
        squares += block.square().sum(dtype=torch.float64)
        start += len(block)
    if sums_MD is None:
        return Similarity(np.nan, np.nan)
    inside_sum = float(sums_MD.square().sum())
    everything = float(sums_MD.sum(dim=0).square().sum())
    inside_pairs = float((sizes * (sizes - 1)).sum())
    between_pairs = float(sizes.sum() ** 2 - (sizes**2).sum())
    return Similarity(
        (inside_sum - float(squares)) / inside_pairs if inside_pairs else np.nan,
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
