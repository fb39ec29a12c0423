"""Moves that bring every subspace within the bound, those that lose least first; and second memberships.

Shapes: N identities, M subspaces, n identities that have a choice, c candidates of such a one, as in `prices.py`. Prices
leave few identities to move, so this is cheap; and it ends with the bound met whatever the prices were, also when all
means are equal and when nobody's candidates have room.
"""

from __future__ import annotations

import torch

from .candidates import Candidates
from .on_device import counts_by_group
from .prices import Bound


class Assignment:
    """Who is where, and how similar to its centroid; moved in place, all on the device of the candidates.

    Args:
        found: candidates of those who have a choice, and where the others are.
        place_n: int64[n], the candidate that each identity with a choice begins with.
        centroids: float32[M, D], to find the subspace next to a full one.
    """

    def __init__(self, found: Candidates, place_n: torch.Tensor, centroids: torch.Tensor) -> None:
        self.asked, self.id_nc, self.similarity_nc = found.asked, found.id_nc, found.similarity_nc
        self.centroids = centroids
        self.subspace_id, self.similarity = found.id.clone(), found.similarity.clone()
        self.subspace_id[self.asked] = self.id_nc.gather(1, place_n[:, None])[:, 0]
        self.similarity[self.asked] = self.similarity_nc.gather(1, place_n[:, None])[:, 0]
        self.sizes = counts_by_group(self.subspace_id, len(centroids))
        self.strangers = torch.zeros_like(self.subspace_id, dtype=torch.bool)
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

    def _move(self, *, give: torch.Tensor, take: torch.Tensor) -> int:
        """Move identities to a candidate, smallest regret first; at most `give` leave and `take` come to each."""
        own = self.subspace_id[self.asked]
        able = (give > 0)[own].nonzero()[:, 0]
        rows, own, asked = self.asked[able], own[able], self.id_nc[able]
        open_to = (take > 0)[asked] & (asked != own[:, None])
        similarity, place = torch.where(open_to, self.similarity_nc[able], -torch.inf).max(1)
        possible = similarity.isfinite().nonzero()[:, 0]
        rows, own, similarity = rows[possible], own[possible], similarity[possible]
        to = asked[possible].gather(1, place[possible, None])[:, 0]
        regret = self.similarity[rows] - similarity
        kept = first_of_each(own, regret, give)
        kept = kept[first_of_each(to[kept], regret[kept], take)]
        self._place(rows[kept], to[kept])
        self.similarity[rows[kept]] = similarity[kept]
        self.strangers[rows[kept]] = False
        return len(kept)

    def _push(self, bound: Bound) -> None:
        """Send what is still too many, the least similar, to the subspaces with room next to theirs."""
        for full in (self.sizes > bound.high).nonzero()[:, 0].tolist():
            excess = int(self.sizes[full]) - bound.high
            leaving = self._least_similar(full, excess)
            near = self._nearest_to(full, (self.sizes < bound.high).nonzero()[:, 0])
            self._place(leaving, near.repeat_interleave(bound.high - self.sizes[near])[:excess])
            self.strangers[leaving] = True

    def _pull(self, bound: Bound) -> None:
        """Fill what is still too small with the least similar of the subspaces next to it."""
        for short in (self.sizes < bound.low).nonzero()[:, 0].tolist():
            near = self._nearest_to(short, (self.sizes > bound.low).nonzero()[:, 0])
            for giver in near.tolist():
                given = min(int(self.sizes[giver]) - bound.low, bound.low - int(self.sizes[short]))
                if given <= 0:
                    break
                coming = self._least_similar(giver, given)
                self._place(coming, torch.full_like(coming, short))
                self.strangers[coming] = True

    def _least_similar(self, subspace: int, count: int) -> torch.Tensor:
        members = (self.subspace_id == subspace).nonzero()[:, 0]
        return members[self.similarity[members].sort(stable=True).indices[:count]]

    def _nearest_to(self, subspace: int, others: torch.Tensor) -> torch.Tensor:
        near = self.centroids[others] @ self.centroids[subspace]
        return others[near.sort(stable=True, descending=True).indices]

    def _place(self, rows: torch.Tensor, subspaces: torch.Tensor) -> None:
        M = len(self.sizes)
        self.sizes += counts_by_group(subspaces, M) - counts_by_group(self.subspace_id[rows], M)
        self.subspace_id[rows] = subspaces.to(self.subspace_id.dtype)

    def second(self, share: float, room: torch.Tensor) -> torch.Tensor:
        """Return another subspace for the identities nearest to a border: int32[N], -1 for the others.

        Args:
            share: at most this share of all identities, those with the smallest gap between their own
                and their best other candidate; one whose best other is full may get the next.
            room: int64[M], how many second members each subspace takes.
        """
        wanted, room = int(share * len(self.subspace_id)), room.clone()
        second = torch.full_like(self.subspace_id, -1)
        own = self.subspace_id[self.asked]
        free = torch.ones_like(own, dtype=torch.bool)
        closed = self.id_nc == own[:, None]
        while wanted and (room > 0).any():
            other_similarity, place = torch.where(closed, -torch.inf, self.similarity_nc).max(1)
            gap = self.similarity[self.asked] - other_similarity
            able = (gap.isfinite() & free).nonzero()[:, 0]
            if not len(able):
                break
            other = self.id_nc[able].gather(1, place[able, None])[:, 0]
            kept = first_of_each(other, gap[able], room)
            kept = kept[gap[able[kept]].sort(stable=True).indices[:wanted]]
            second[self.asked[able[kept]]] = other[kept]
            free[able[kept]] = False
            room -= counts_by_group(other[kept], len(room))
            wanted -= len(kept)
            closed |= (room <= 0)[self.id_nc]
        return second


def first_of_each(group: torch.Tensor, cost: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """Return the rows that are among the `limit[g]` cheapest of their group g, ascending; ties to the lower row."""
    order = cost.sort(stable=True).indices
    sorted_group, by_group = group[order].sort(stable=True)
    rank = torch.arange(len(order), device=order.device) - torch.searchsorted(sorted_group, sorted_group)
    return order[by_group[rank < limit[sorted_group]]].sort().values
