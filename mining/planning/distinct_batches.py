"""No identity twice in a batch or beside a duplicate, none in a pass more often than allowed: others take the place.

Shapes: I identities, b batches, P identities in a batch.
"""

from __future__ import annotations

import numpy as np

from .pairs_apart import PairsApart
from .seed_turns import Members

TRIES = 16
"""Part of the function: changing it changes every plan."""


class DistinctBatches:
    """Settles who is in each batch of a pass.

    Args:
        members: the subspaces; others come from the same one while it has any.
        total: I.
        room: int32[I], appearances that each identity has left in this pass beside its own turns as a seed,
            used up as batches are settled; None: no limit.
        apart: identities that no batch may hold both of; None: there are none.
    """

    def __init__(
        self, members: Members, total: int, room: np.ndarray | None, apart: PairsApart | None
    ) -> None:
        self._members, self._total, self._room, self._apart = members, total, room, apart

    def settle(
        self,
        identity_bP: np.ndarray,
        own_bP: np.ndarray,
        subspace_b: np.ndarray,
        home: int,
        random: np.random.Generator,
    ) -> None:
        """Replace, in place, every repeat, every -1, whoever has no room left and whoever may not meet another there.

        An own turn stays, but the later one of two seeds that may not meet.

        Args:
            identity_bP: int64[b, P].
            own_bP: bool[b, P], True where a seed has its own turn; in place, False where it loses that.
            subspace_b: int32[b].
            home: the first so many columns belong to the batch's subspace, the others to all identities.
        """
        if self._apart is not None:
            seeds_bP = np.where(own_bP, identity_bP, -1)
            lost_bP = self._apart.clashes(seeds_bP, own_bP)
            identity_bP[lost_bP], own_bP[lost_bP] = -1, False
        for _ in range(TRIES):
            batch, column = np.nonzero(self._wrong(identity_bP, own_bP))
            if len(batch) == 0:
                break
            identity_bP[batch, column] = self._anyone(subspace_b[batch], column < home, random)
        wrong_bP = self._wrong(identity_bP, own_bP)
        self._spend(identity_bP[~(wrong_bP | own_bP)])
        # Chance does not settle it where the subspace is hardly larger than the batch, or has little room left.
        for batch in np.flatnonzero(wrong_bP.any(axis=1)):
            row, wrong = identity_bP[batch], wrong_bP[batch]
            near = self._members.of(subspace_b[batch])
            at_once = None if self._apart is None else 1  # each drawn one bars others
            while wrong.any():
                place = np.flatnonzero(wrong)[:at_once]
                row[place] = drawn = self._others(row[~wrong], near, len(place), random)
                wrong[place] = False
                self._spend(drawn)

    def _wrong(self, identity_bP: np.ndarray, own_bP: np.ndarray) -> np.ndarray:
        wrong_bP = repeats(identity_bP, own_bP)
        if self._apart is not None:
            wrong_bP |= self._apart.clashes(identity_bP, own_bP)
        if self._room is not None:
            entry = np.flatnonzero(~(wrong_bP | own_bP))
            owner = identity_bP.ravel()[entry]
            wrong_bP.ravel()[entry[_earlier(owner) >= self._room[owner]]] = True
        return wrong_bP

    def _spend(self, identity: np.ndarray) -> None:
        if self._room is not None:
            np.subtract.at(self._room, identity, 1)

    def _anyone(self, subspace: np.ndarray, at_home: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """A random identity for each entry, of its subspace or of all."""
        uniform = random.random(len(subspace))
        place = self._members.start[subspace] + (uniform * self._members.size[subspace]).astype(np.int64)
        return np.where(at_home, self._members.identity[place], (uniform * self._total).astype(np.int64))

    def _others(
        self, held: np.ndarray, near: np.ndarray, wanted: int, random: np.random.Generator
    ) -> np.ndarray:
        """`wanted` identities that are not `held`, may meet those and have room: of `near` while there are any, then of all."""
        barred = held if self._apart is None else np.concatenate((held, self._apart.partners(held)))
        drawn = random.permutation(self._with_room(np.setdiff1d(near, barred)))[:wanted]
        for attempt in range(TRIES + 1):
            if len(drawn) == wanted:
                return drawn
            last = attempt == TRIES  # chance has failed: look at all identities
            pool = np.arange(self._total) if last else random.integers(self._total, size=4 * wanted)
            more = self._with_room(np.setdiff1d(pool, np.concatenate((barred, drawn))))
            drawn = np.concatenate((drawn, random.permutation(more)[: wanted - len(drawn)]))
        # Everybody with room who may is in the batch already: limit and pairs yield, so that the batch is full.
        rest = np.setdiff1d(np.arange(self._total), np.concatenate((held, drawn)))
        return np.concatenate((drawn, random.permutation(rest)[: wanted - len(drawn)]))

    def _with_room(self, identity: np.ndarray) -> np.ndarray:
        return identity if self._room is None else identity[self._room[identity] > 0]


def repeats(identity_bP: np.ndarray, own_bP: np.ndarray) -> np.ndarray:
    """bool[b, P]: entries that are -1, or whose identity has a place already: as a seed, or further left."""
    repeat_bP = np.zeros(identity_bP.shape, bool)
    ranked = np.sort(identity_bP, axis=1)
    rows = np.flatnonzero((ranked[:, 1:] == ranked[:, :-1]).any(axis=1) | (ranked[:, 0] < 0))
    if len(rows):  # most batches have none: the exact places are sought only where there are some
        rank = np.where(own_bP[rows], 0, 1 + np.arange(identity_bP.shape[1]))
        order = np.lexsort((rank, identity_bP[rows]), axis=1)
        ranked = ranked[rows]
        repeat = np.zeros(ranked.shape, bool)
        np.put_along_axis(repeat, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
        repeat_bP[rows] = repeat | (identity_bP[rows] < 0)
    return repeat_bP


def _earlier(values: np.ndarray) -> np.ndarray:
    """How often each value stood further left already: int64[n]."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    begins = np.concatenate(([True], ranked[1:] != ranked[:-1])) if len(values) else np.empty(0, bool)
    place = np.arange(len(values))
    earlier = np.empty(len(values), np.int64)
    earlier[order] = place - np.maximum.accumulate(np.where(begins, place, 0))
    return earlier
