"""Moves that bring every subspace within the bound, those that lose least first; and second memberships.

Shapes: N identities, M subspaces, c candidates of an identity, as in `balance.py`. Prices leave few
identities to move, so this is cheap; and it ends with the bound met whatever the prices were, also when all means
are equal and when nobody's candidates have room.
"""

from __future__ import annotations

import numpy as np

from .prices import Bound


class Assignment:
    """Who is where, and how similar to its centroid; moved in place.

    Args:
        id_Nc: int32[N, c], candidates.
        similarity_Nc: float32[N, c]; -inf for an empty place.
        place_N: int[N], the candidate that each identity begins with.
        centroids: float32[M, D], to find the subspace next to a full one.
    """

    def __init__(
        self, id_Nc: np.ndarray, similarity_Nc: np.ndarray, place_N: np.ndarray, centroids: np.ndarray
    ) -> None:
        self.id_Nc, self.similarity_Nc, self.centroids = id_Nc, similarity_Nc, centroids
        self.subspace_id = np.take_along_axis(id_Nc, place_N[:, None], 1)[:, 0]
        self.similarity = np.take_along_axis(similarity_Nc, place_N[:, None], 1)[:, 0]
        self.sizes = np.bincount(self.subspace_id, minlength=len(centroids))
        self.strangers = np.zeros(len(id_Nc), bool)
        """Identities in a subspace that is none of their candidates: `similarity` is not theirs."""

    def repair(self, bound: Bound) -> None:
        """Move identities until every size is within the bound."""
        while (self.sizes > bound.high).any() and self._move(
            give=self.sizes - bound.high, take=bound.high - self.sizes
        ):
            pass
        self._push(bound)
        while (self.sizes < bound.low).any() and self._move(
            give=self.sizes - bound.low, take=bound.low - self.sizes
        ):
            pass
        self._pull(bound)

    def _move(self, *, give: np.ndarray, take: np.ndarray) -> int:
        """Move identities to a candidate, smallest regret first; at most `give` leave and `take` come to each."""
        rows = np.flatnonzero((give > 0)[self.subspace_id])
        asked = self.id_Nc[rows]
        regret = self.similarity[rows, None] - np.where(
            (take > 0)[asked] & (asked != self.subspace_id[rows, None]), self.similarity_Nc[rows], -np.inf
        )
        place = regret.argmin(1)
        regret = regret[np.arange(len(rows)), place]
        possible = np.isfinite(regret)
        rows, place, regret = rows[possible], place[possible], regret[possible]
        rows_to = self.id_Nc[rows, place]
        kept = first_of_each(self.subspace_id[rows], regret, give)
        kept = kept[first_of_each(rows_to[kept], regret[kept], take)]
        moved = rows[kept]
        self._place(moved, rows_to[kept])
        self.similarity[moved] = self.similarity_Nc[moved, place[kept]]
        self.strangers[moved] = False
        return len(moved)

    def _push(self, bound: Bound) -> None:
        """Send what is still too many, the least similar, to the subspaces with room next to theirs."""
        for full in np.flatnonzero(self.sizes > bound.high).tolist():
            members = np.flatnonzero(self.subspace_id == full)
            excess = len(members) - bound.high
            leaving = members[np.argsort(self.similarity[members], kind="stable")[:excess]]
            near = self._nearest_to(full, np.flatnonzero(self.sizes < bound.high))
            self._place(leaving, np.repeat(near, bound.high - self.sizes[near])[:excess])
            self.strangers[leaving] = True

    def _pull(self, bound: Bound) -> None:
        """Fill what is still too small with the least similar of the subspaces next to it."""
        for short in np.flatnonzero(self.sizes < bound.low).tolist():
            missing = bound.low - self.sizes[short]
            near = self._nearest_to(short, np.flatnonzero(self.sizes > bound.low))
            for giver in near[: 1 + int(np.searchsorted(np.cumsum(self.sizes[near] - bound.low), missing))]:
                members = np.flatnonzero(self.subspace_id == giver)
                given = min(len(members) - bound.low, bound.low - self.sizes[short])
                coming = members[np.argsort(self.similarity[members], kind="stable")[:given]]
                self._place(coming, np.full(given, short))
                self.strangers[coming] = True

    def _nearest_to(self, subspace: int, others: np.ndarray) -> np.ndarray:
        return others[np.argsort(-(self.centroids[others] @ self.centroids[subspace]), kind="stable")]

    def _place(self, rows: np.ndarray, subspaces: np.ndarray) -> None:
        M = len(self.sizes)
        self.sizes += np.bincount(subspaces, minlength=M) - np.bincount(self.subspace_id[rows], minlength=M)
        self.subspace_id[rows] = subspaces

    def second(self, share: float, room: np.ndarray) -> np.ndarray:
        """Return another subspace for the identities nearest to a border: int32[N], -1 for the others.

        Args:
            share: at most this share of all identities, those with the smallest gap between their own
                and their best other candidate; one whose best other is full may get the next.
            room: int[M], how many second members each subspace takes.
        """
        wanted, room = int(share * len(self.id_Nc)), room.copy()
        second = np.full(len(self.id_Nc), -1, np.int32)
        closed = self.id_Nc == self.subspace_id[:, None]
        while wanted and room.any():
            gap = self.similarity[:, None] - np.where(closed, -np.inf, self.similarity_Nc)
            place = gap.argmin(1)
            gap = gap[np.arange(len(gap)), place]
            rows = np.flatnonzero(np.isfinite(gap) & (second < 0))
            if not len(rows):
                break
            other = self.id_Nc[rows, place[rows]]
            kept = first_of_each(other, gap[rows], room)
            kept = kept[np.argsort(gap[rows[kept]], kind="stable")[:wanted]]
            second[rows[kept]] = other[kept]
            room -= np.bincount(other[kept], minlength=len(room))
            wanted -= len(kept)
            closed |= (room <= 0)[self.id_Nc]
        return second


def first_of_each(group: np.ndarray, cost: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Return the rows that are among the `limit[g]` cheapest of their group g, ascending; ties to the lower row."""
    order = np.lexsort((cost, group))
    sorted_group = group[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_group, sorted_group)
    return np.sort(order[rank < limit[sorted_group]])
