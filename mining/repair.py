"""Moves that bring every subspace within the bound, those that lose least first; and second memberships.

Shapes: N identities, M subspaces, c candidates of an identity, as in `balance.py`. Prices leave few
identities to move, so this is cheap; and it ends with the bound met whatever the prices were, also when all means
are equal and when nobody's candidates have room.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .balance import ROWS_PER_STEP, Bound

PASSES = 32
"""At most so many rounds of moves through full subspaces; what is then left goes where its centroid is nearest."""


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
        self._pass_on(bound)
        self._push(bound)
        while (self.sizes < bound.low).any() and self._move(
            give=self.sizes - bound.low, take=bound.low - self.sizes
        ):
            pass
        self._pass_back(bound)
        self._pull(bound)

    def _pass_on(self, bound: Bound) -> None:
        """Let what is still too many go to full subspaces, each of which sends on as many of its own, to where room is.

        The nearer a subspace is to room, counted in such moves, the lower it lies, and identities only move down
        (push-relabel; Goldberg and Tarjan 1988).
        """
        for _ in range(PASSES):
            room = bound.high - self.sizes
            if (room >= 0).all():
                return
            height = self._heights(room > 0, self._moves_out)
            if not self._move(give=-room, take=np.where(room > 0, room, len(self.id_Nc)), height=height):
                return

    def _pass_back(self, bound: Bound) -> None:
        """Let what is still too small take from subspaces that have none to give, which take in turn from others."""
        for _ in range(PASSES):
            spare = self.sizes - bound.low
            if (spare >= 0).all():
                return
            height = -self._heights(spare > 0, self._moves_in)
            if not self._move(give=np.where(spare > 0, spare, len(self.id_Nc)), take=-spare, height=height):
                return

    def _heights(
        self, bottom: np.ndarray, moves: Callable[[slice], tuple[np.ndarray, np.ndarray]]
    ) -> np.ndarray:
        """Fewest moves between each subspace and one of `bottom`; M, more than any, where no moves connect them."""
        M = len(self.sizes)
        height, before = np.where(bottom, 0, M), None
        while before is None or (height != before).any():
            before = height.copy()
            for start in range(0, len(self.id_Nc), ROWS_PER_STEP):
                upper, lower = moves(slice(start, start + ROWS_PER_STEP))
                np.minimum.at(height, upper, before[lower] + 1)
        return height

    def _moves_out(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Every possible move of these identities: subspaces that they leave, and come to."""
        possible = np.isfinite(self.similarity_Nc[rows])
        return np.repeat(self.subspace_id[rows], possible.sum(axis=1)), self.id_Nc[rows][possible]

    def _moves_in(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """The same, the other way round."""
        left, reached = self._moves_out(rows)
        return reached, left

    def _move(self, *, give: np.ndarray, take: np.ndarray, height: np.ndarray | None = None) -> int:
        """Move identities to a candidate, smallest regret first; at most `give` leave and `take` come to each.

        Where subspaces have a height, only downwards.
        """
        rows = np.flatnonzero((give > 0)[self.subspace_id])
        asked = self.id_Nc[rows]
        allowed = (take > 0)[asked] & (asked != self.subspace_id[rows, None])
        if height is not None:
            allowed &= height[asked] < height[self.subspace_id[rows], None]
        regret = self.similarity[rows, None] - np.where(allowed, self.similarity_Nc[rows], -np.inf)
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
