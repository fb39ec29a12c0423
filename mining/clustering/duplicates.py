"""Suspected duplicates: one person under two names, found by means that are as close as two halves of one identity.

How close the means of two samples of one identity are follows from how its images scatter, so the threshold
comes from the data, pair by pair. With n unit embeddings x_i whose mean vector has length R = 1 - spread, two
images have the expected cosine r² = (n R² - 1) / (n - 1), and a mean of n the expected squared length R². So
the means of two independent samples a and b of one identity have the cosine

    c_ab = (r_a / R_a) (r_b / R_b),

and a pair of identities is suspected where its means are nearly that close: 1 - cos <= within · (1 - c_ab).

Measured on glyphs cut in two: c_ab is the median cosine of the halves within 0.007, and `within` = 1.5 finds five
of six, with a barely trained network as with a good one (BENCHMARKS.md).

Shapes: I identities, D numbers in a mean, k neighbours, p pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import InputError
from .duplicate_trust import most_pairs
from .neighbors import neighbors_by_subspace

ROUNDING = 1e-6
"""Rounding of a cosine in float32: exact copies are found."""
DTYPES = (np.int32, np.int32, np.float32, np.float32)
NEIGHBORS = 10
"""Nearest identities that are looked at: more names than that for one person are found in the next round."""


@dataclass(frozen=True)
class Duplicates:
    """Pairs of identities that may be one, the surest first.

    Example:
        >>> import numpy as np
        >>> from subspace.mining import suspected_duplicates
        >>> means = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
        >>> found = suspected_duplicates(means, np.full(3, 0.1), np.full(3, 4), np.zeros(3, int))
        >>> len(found), found.a.tolist(), found.b.tolist()
        (1, [0], [2])
    """

    a: np.ndarray
    """int32[p], row number of the identity that comes first."""
    b: np.ndarray
    """int32[p], greater than `a`."""
    similarity: np.ndarray
    """float32[p], cosine of the two means."""
    expected: np.ndarray
    """float32[p], the cosine c_ab that two samples of one identity would have."""

    def __len__(self) -> int:
        return len(self.a)


def suspected_duplicates(
    means_ID: np.ndarray,
    spread: np.ndarray,
    images: np.ndarray,
    subspace_id: np.ndarray,
    *,
    within: float = 1.5,
    device: str | torch.device = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Duplicates:
    """Compare every identity with its nearest ones of the same subspace; exact, I·n·D multiply-adds.

    An identity of one image says nothing of its scatter and takes the median of the others; one that scatters
    more than nine of ten is taken for the tenth, so that no identity is the duplicate of all others. Duplicates that a
    border between subspaces divides are not seen; another round cuts elsewhere. Of more than `most_pairs(I)` the most similar are
    kept: so many are of a network that cannot tell identities apart yet.

    Args:
        means_ID: float32[I, D], unit length.
        spread: float32[I], mean cosine distance of the images to the mean.
        images: int[I].
        subspace_id: int[I].
        within: how much farther than c_ab may be; 1 finds about half of all duplicates, 1.5 five of six.
        device: what searches, such as 'cpu' or 'cuda'.
        progress: called with the number of identities of each subspace as it has been searched, at most I in all.

    Raises:
        InputError: `within` is not above 0.

    Example:
        >>> import numpy as np
        >>> from subspace.mining import suspected_duplicates
        >>> means = np.array([[1, 0], [0, 1], [1, 0]], np.float32)  # the first and the last are one person
        >>> found = suspected_duplicates(means, np.full(3, 0.1), np.full(3, 4), subspace_id=np.zeros(3, int))
        >>> list(zip(found.a.tolist(), found.b.tolist()))
        [(0, 2)]
    """
    if not within > 0:
        raise InputError(f"within={within} must be above 0")
    closeness = _closeness(spread.astype(np.float64), images.astype(np.float64))
    most, found, pairs = most_pairs(len(means_ID)), [], 0
    by_subspace = neighbors_by_subspace(means_ID, subspace_id, NEIGHBORS, device=device, progress=progress)
    for members, neighbor_nk, similarity_nk in by_subspace:
        a, b = np.broadcast_to(members[:, None], neighbor_nk.shape).ravel(), neighbor_nk.ravel()
        similarity, expected = similarity_nk.ravel(), closeness[a] * closeness[b]
        suspected = 1 - similarity <= within * (1 - expected) + ROUNDING
        first, second = np.minimum(a, b)[suspected], np.maximum(a, b)[suspected]
        _, once = np.unique(first.astype(np.int64) * len(means_ID) + second, return_index=True)
        columns = first, second, similarity[suspected], expected[suspected]
        found.append(tuple(column[once].astype(dtype) for column, dtype in zip(columns, DTYPES, strict=True)))
        pairs += len(once)
        if pairs > 2 * most:
            found, pairs = [_surest(found, most)], most
    return Duplicates(*_surest(found, most))


def _surest(found: list[tuple[np.ndarray, ...]], most: int) -> tuple[np.ndarray, ...]:
    """The most similar pairs of all, at most so many, in order."""
    none = tuple(np.empty(0, dtype) for dtype in DTYPES)
    first, second, similarity, expected = (
        np.concatenate(column) for column in zip(none, *found, strict=True)
    )
    order = np.lexsort((second, first, -similarity))[:most]
    return first[order], second[order], similarity[order], expected[order]


def _closeness(spread: np.ndarray, images: np.ndarray) -> np.ndarray:
    """r / R of every identity, 0 to 1: the cosine of its mean to the direction that its images scatter about."""
    length = np.clip(1 - spread, 1e-6, 1)
    same = np.clip((images * length**2 - 1) / np.maximum(1, images - 1), 0, 1)
    several = (images > 1) & (same > 0)
    if not several.any():
        return np.ones(len(spread))
    closeness = np.sqrt(np.maximum(same, np.quantile(same[several], 0.1))) / length
    closeness[~several] = np.sqrt(np.median(same[several]))
    return np.minimum(closeness, 1)
