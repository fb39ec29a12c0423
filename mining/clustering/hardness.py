"""How hard batches are: the cosine of an identity's mean to the nearest other mean of its batch.

Shapes: I identities, D numbers in a mean, b batches, P identities in a batch. All means are unit vectors.
"""

from __future__ import annotations

import numpy as np

from ..randomness import generator

HARDNESS_BATCHES = 64
"""Batches that a figure of hardness is averaged over."""


def batch_hardness(means_ID: np.ndarray, batches_bP: np.ndarray) -> float:
    """Return the mean cosine of an identity's mean to the nearest other identity of its batch.

    Args:
        means_ID: float32[I, D].
        batches_bP: int[b, P], row numbers into `means_ID`.

    Example:
        >>> import numpy as np
        >>> from subspace.mining import batch_hardness
        >>> means = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
        >>> print(round(batch_hardness(means, np.array([[0, 1]])), 2), round(batch_hardness(means, np.array([[0, 2]])), 2))
        0.8 0.0
    """
    return mean_hardness(nearest_in_batches(means_ID, batches_bP))


def mean_hardness(nearest_bP: np.ndarray) -> float:
    """One figure of what `nearest_in_batches` finds."""
    return float(np.mean([batch.mean() for batch in nearest_bP]))


def nearest_in_batches(means_ID: np.ndarray, batches_bP: np.ndarray) -> np.ndarray:
    """The cosine of each identity's mean to the nearest other of its batch: float32[b, P], arguments as above."""
    nearest_bP = np.empty(batches_bP.shape, np.float32)
    for nearest_P, batch in zip(nearest_bP, batches_bP, strict=True):
        similarity_PP = means_ID[batch] @ means_ID[batch].T
        np.fill_diagonal(similarity_PP, -1.0)
        similarity_PP.max(axis=1, out=nearest_P)
    return nearest_bP


def random_batches(identities: int, count: int, P: int, *, seed: int = 0) -> np.ndarray:
    """Draw `count` batches of P distinct identities each, to compare planned ones with: int[count, P]."""
    random = generator(seed, "random batches")
    return np.stack([random.choice(identities, P, replace=False) for _ in range(count)])
