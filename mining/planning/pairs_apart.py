"""Pairs of identities that no batch may hold both of, such as one person under two names.

Shapes: I identities, p pairs, b batches, P identities in a batch, k neighbours.
"""

from __future__ import annotations

import numpy as np


class PairsApart:
    """Looks up which identities must not meet.

    Args:
        pairs_p2: int[p, 2], row numbers of identities; either order, any order.
        total: I.
    """

    def __init__(self, pairs_p2: np.ndarray, total: int) -> None:
        both = np.concatenate((pairs_p2, pairs_p2[:, ::-1])).astype(np.int64)
        self._total = total
        self._pair = np.unique(both[:, 0] * total + both[:, 1])
        """int64, identity · I + partner, ascending: the partners of an identity lie together."""
        self._partner = self._pair % total
        self._count = np.bincount(self._pair // total, minlength=total)
        self._start = np.cumsum(self._count) - self._count

    def partners(self, identity: np.ndarray) -> np.ndarray:
        """Identities that none of these may meet: int64[*], those of the first, then of the next, and so on."""
        return self._partner[_stretches(self._start[identity], self._count[identity])]

    def clashes(self, identity_bP: np.ndarray, own_bP: np.ndarray) -> np.ndarray:
        """bool[b, P]: entries that may not meet one with an own turn, or else one further left, of their batch.

        Args:
            identity_bP: int64[b, P], -1 for no identity.
            own_bP: bool[b, P], True where a seed has its own turn; of two of these the one further right clashes.
        """
        clash_bP = np.zeros(identity_bP.shape, bool)
        P = identity_bP.shape[1]
        entry = np.flatnonzero((identity_bP.ravel() >= 0) & (self._count[identity_bP.ravel()] > 0))
        batch, column = np.divmod(entry, P)
        identity, home = identity_bP.ravel()[entry], batch * self._total
        rank = np.where(own_bP.ravel()[entry], column, P + column)
        # One number for (batch, identity, rank): the first one from (batch, partner, 0) on is the partner's, if it is there.
        present = np.sort((home + identity) * 2 * P + rank)

        count = self._count[identity]
        partner = (np.repeat(home, count) + self.partners(identity)) * 2 * P
        first = np.append(present, -1)[np.searchsorted(present, partner)]
        met = (first >= partner) & (first < partner + np.repeat(rank, count))
        clash_bP.ravel()[np.repeat(entry, count)[met]] = True
        return clash_bP

    def nearest_apart(self, neighbor_Ik: np.ndarray, size: int) -> np.ndarray:
        """The nearest neighbours of each identity that may meet it and each other: int32[I, size], -1 for none.

        Args:
            neighbor_Ik: int32[I, k] of all I identities, nearest first, -1 for none; k beyond `size` are spare.
            size: neighbours wanted.
        """
        apart_Is = neighbor_Ik[:, :size].copy()
        listed = np.append(self._count > 0, False)  # the last one stands for -1, no identity
        # Two who may not meet are both listed: the nearest stay where fewer than two are.
        rows = np.flatnonzero(listed[:-1].astype(np.int8) + listed[apart_Is].sum(axis=1) > 1)
        candidate_rk, taken = neighbor_Ik[rows], np.zeros(len(rows), np.int64)
        chosen_rs = np.full((len(rows), size), -1, np.int32)
        for candidate in candidate_rk.T:
            good = (candidate >= 0) & (taken < size) & ~self._meet(rows, candidate)
            for chosen in chosen_rs.T:
                good &= ~self._meet(chosen, candidate)
            chosen_rs[good, taken[good]] = candidate[good]
            taken += good
        apart_Is[rows] = chosen_rs
        return apart_Is

    def _meet(self, identity: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Which of these couples are pairs; -1 is in none: bool[*]."""
        couple = np.where((identity < 0) | (other < 0), -1, identity.astype(np.int64) * self._total + other)
        found = np.minimum(np.searchsorted(self._pair, couple), max(0, len(self._pair) - 1))
        return self._pair[found] == couple if len(self._pair) else np.zeros(len(couple), bool)


def _stretches(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """start[0], start[0] + 1, ..., then those of start[1]: int64[sum of count]."""
    begins = np.cumsum(count) - count
    return np.repeat(start - begins, count) + np.arange(count.sum())
