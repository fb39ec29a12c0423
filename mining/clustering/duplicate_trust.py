"""When suspected duplicates can be trusted, and which of them are shown; no torch, no FAISS.

One person under two names is an error of the data, and rare. A network that cannot yet tell identities apart suspects
nearly all of them. So the list itself says what it is worth: where at most one identity in ten has a suspected
partner, the list is trusted; where more have one, most of them are look-alikes. (If duplicates were as many as one
identity in ten and two in ten are listed, every other listed one is somebody else.) Seen: 4 % with the start of the
demo, 0.2 % when trained, where five of six true ones are found; 39 % with a network that does not know the script
(40 true pairs among 986); all of them with an emoji network of Rank-1 10 %.

A list is shown by its mutual pairs, each the other's nearest, the most similar first: a crowd of look-alikes makes
many pairs, and at most a few of them mutual.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MOST_WITH_PARTNER = 0.1
"""Share of identities with a suspected partner up to which the list is trusted."""
FEWEST = 2
"""One pair is never too many, however few the identities."""
LISTED = 100
"""Pairs that are shown at most, whatever shows them."""


FEW_PAIRS = 100_000
"""Pairs that are kept in any case."""


def most_pairs(identities: int) -> int:
    """How many pairs are kept of so many identities; more are of a network that cannot tell identities apart yet.

    >>> most_pairs(2_000), most_pairs(1_000_000)
    (100000, 1000000)
    """
    return max(FEW_PAIRS, identities)


class DuplicateTrust(NamedTuple):
    """How much a list of suspected duplicates is worth.

    Example:
        >>> DuplicateTrust(pairs=21_633, involved=2_726, identities=2_726).reliable
        False
        >>> DuplicateTrust(pairs=33, involved=50, identities=1_200).reliable
        True
    """

    pairs: int
    involved: int
    """Identities with a suspected partner."""
    identities: int
    """All that were compared."""

    @property
    def share(self) -> float:
        """Identities with a suspected partner among all, 0 to 1."""
        return self.involved / max(1, self.identities)

    @property
    def reliable(self) -> bool:
        """Whether they are few enough to be errors of the data."""
        return self.involved <= max(FEWEST, MOST_WITH_PARTNER * self.identities)


def judge_duplicates(a: np.ndarray, b: np.ndarray, identities: int) -> DuplicateTrust:
    """Judge a list of pairs.

    Args:
        a, b: int[p], the two identities of each pair, by any number.
        identities: how many were compared.

    Example:
        >>> judge_duplicates(np.array([0, 0, 1]), np.array([1, 2, 2]), identities=40)
        DuplicateTrust(pairs=3, involved=3, identities=40)
    """
    return DuplicateTrust(len(a), len(np.union1d(a, b)), identities)


def mutual_pairs(a: np.ndarray, b: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """Pairs in which each is the nearest of the other, the most similar first: int64[m], places in the list.

    Args:
        a, b: int[p], the two identities of each pair, by any number that is not negative.
        similarity: float[p].

    Example:
        >>> a, b, similarity = np.array([0, 0, 3]), np.array([1, 2, 4]), np.array([0.8, 0.9, 0.95])
        >>> mutual_pairs(a, b, similarity).tolist()  # 1 is nearest to 0, but 0 is nearest to 2
        [2, 1]
    """
    if not len(a):
        return np.empty(0, np.int64)
    identity, place = np.unique(np.concatenate([a, b]), return_inverse=True)
    nearest = np.full(len(identity), -np.inf)
    np.maximum.at(nearest, place, np.tile(similarity, 2))
    side_a, side_b = place[: len(a)], place[len(a) :]
    mutual = np.flatnonzero((similarity >= nearest[side_a]) & (similarity >= nearest[side_b]))
    return mutual[np.argsort(-similarity[mutual], kind="stable")]
