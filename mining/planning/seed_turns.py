"""A pass over all identities: who seeds which batch, and in what order the batches come.

Shapes: I identities, M subspaces, b batches, S seeds in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np


@dataclass(frozen=True)
class Members:
    """Identities by subspace, in compressed rows: subspace m holds `identity[start[m]:start[m+1]]`."""

    identity: np.ndarray
    """int32[I], ascending in a subspace; longer where subspaces overlap."""
    start: np.ndarray
    """int64[M+1]."""

    @property
    def size(self) -> np.ndarray:
        """Identities in each subspace, int64[M]."""
        return np.diff(self.start)

    def of(self, subspace: int) -> np.ndarray:
        """The identities of one subspace."""
        return self.identity[self.start[subspace] : self.start[subspace + 1]]


def members_of(subspace_id: np.ndarray, second_subspace: np.ndarray | None = None) -> Members:
    """Group identities by subspace.

    Args:
        subspace_id: int32[I].
        second_subspace: int32[I], another subspace whose member the identity is as well; -1 for none.
    """
    identity, home = None, subspace_id
    if second_subspace is not None:
        twice = np.flatnonzero((second_subspace >= 0) & (second_subspace != subspace_id))
        identity = np.concatenate((np.arange(len(subspace_id)), twice)).astype(np.int32)
        by_identity = np.argsort(identity, kind="stable")
        identity = identity[by_identity]
        home = np.concatenate((subspace_id, second_subspace[twice]))[by_identity]
    subspaces = int(home.max()) + 1
    # NumPy sorts 16-bit integers by radix, five times faster.
    order = np.argsort(home.astype(np.uint16) if subspaces <= 2**16 else home, kind="stable").astype(np.int32)
    start = np.concatenate(([0], np.cumsum(np.bincount(home, minlength=subspaces))))
    return Members(order if identity is None else identity[order], start)


class Turns(NamedTuple):
    """Seeds of consecutive batches."""

    subspace: np.ndarray
    """int32[b]."""
    seed: np.ndarray
    """int64[b, S], identities."""
    own: np.ndarray
    """bool[b, S]: the identity's turn; False where a subspace's last batch is filled up from its first."""


class SeedTurns:
    """One pass: each subspace's members are shuffled and cut into batches of S seeds, the last one filled up.

    Args:
        window: shuffle the members only within stretches of this many, so that batches follow the manifest's
            order (and with it the order of its shards), from a random member on; None: shuffle all.
    """

    def __init__(
        self,
        members: Members,
        seeds: int,
        order: Literal["interleaved", "sequential"],
        window: int | None,
        random: np.random.Generator,
    ) -> None:
        self._members, self._seeds = members, seeds
        self._identity = members.identity.copy()
        for first, last in pairwise(members.start.tolist()):
            if last - first > 1:
                _shuffle(self._identity[first:last], window, random)
        batches = batches_of(members, seeds)
        subspace = np.repeat(np.arange(len(batches), dtype=np.int32), batches)
        number = np.arange(len(subspace), dtype=np.int32) - np.repeat(
            (np.cumsum(batches) - batches).astype(np.int32), batches
        )
        if order == "interleaved":
            turn = random.permutation(np.arange(len(subspace), dtype=np.int32))
        else:
            turn = np.argsort(random.permutation(len(batches))[subspace], kind="stable")
        self._subspace, self._number = subspace[turn], number[turn]

    def __len__(self) -> int:
        return len(self._subspace)

    def __getitem__(self, batches: slice) -> Turns:
        subspace, number = self._subspace[batches], self._number[batches].astype(np.int64)
        size = self._members.size[subspace][:, None]
        turn_bS = number[:, None] * self._seeds + np.arange(self._seeds)
        place_bS = self._members.start[subspace][:, None] + turn_bS % size
        return Turns(subspace, self._identity[place_bS].astype(np.int64), turn_bS < size)


def batches_of(members: Members, seeds: int) -> np.ndarray:
    """Batches that a pass has in each subspace, int64[M]: as many as its members fill."""
    return -(-members.size // seeds)


def _shuffle(identity: np.ndarray, window: int | None, random: np.random.Generator) -> None:
    if window is None:
        random.shuffle(identity)
        return
    identity[:] = np.roll(identity, random.integers(len(identity)))
    for first in range(0, len(identity), window):
        random.shuffle(identity[first : first + window])
