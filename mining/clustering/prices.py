"""Equal subspaces from unequal demand: prices on subspaces, then the cheapest moves that meet the bound.

Shapes: N identities, M subspaces, c candidates of an identity. Candidates are `id_Nc`, int32, and
`similarity_Nc`, float32; an empty place has similarity -inf.

An identity picks argmax over its candidates j of `similarity_j - price_j`. Prices are the multipliers of
"at most `high`, at least `low` identities in subspace j", so at the right prices the choice is the best
partition within those bounds among the candidates (linear programming duality; Bertsekas' auction
and semi-discrete optimal transport find the same numbers). A step costs N·c; nothing is N × M.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

ROWS_PER_STEP = 32_768
"""Identities that are priced at a time: their candidates stay in the cache."""
FIRST_STEP, WIDEST_STEP = 0.002, 0.1
"""Changes of a price, in cosine."""


@dataclass(frozen=True)
class Bound:
    """The sizes that every subspace must have."""

    low: int
    high: int

    @classmethod
    def around(cls, N: int, M: int, tolerance: float) -> Bound:
        """From N/M · (1 - tolerance) to N/M · (1 + tolerance), and always wide enough for whole identities."""
        low, high = int(np.ceil(N / M * (1 - tolerance))), int(N / M * (1 + tolerance))
        return cls(max(1, min(N // M, low)), min(N, max(-(-N // M), high)))

    def excess(self, sizes: np.ndarray) -> np.ndarray:
        """How many too many (positive) or too few (negative) there are in each subspace."""
        return sizes - np.clip(sizes, self.low, self.high)


def choose(id_Nc: np.ndarray, similarity_Nc: np.ndarray, price_M: np.ndarray) -> np.ndarray:
    """Return the place in its list of every identity's best candidate at these prices: int64[N]."""
    ids, similarity, price = map(torch.from_numpy, (id_Nc, similarity_Nc, price_M))
    place = torch.empty(len(ids), dtype=torch.int64)
    for start in range(0, len(ids), ROWS_PER_STEP):
        rows = slice(start, start + ROWS_PER_STEP)
        asked = price.index_select(0, ids[rows].reshape(-1)).view(-1, ids.shape[1])
        torch.argmax(similarity[rows] - asked, dim=1, out=place[rows])
    return place.numpy()


def find_prices(
    id_Nc: np.ndarray,
    similarity_Nc: np.ndarray,
    bound: Bound,
    price_M: np.ndarray,
    *,
    steps: int,
    share: float = 1.0,
) -> np.ndarray:
    """Return prices at which fewer identities are in the wrong place: float32[M].

    Every price has a step of its own (Rprop, Riedmiller & Braun 1993): it grows by half while the
    subspace stays too full or too empty, and halves when that turns round. So there is no learning rate
    to set, whatever the spread of the similarities is. The best prices met on the way are returned.

    Args:
        price_M: where to begin, float32[M].
        steps: at most so many; it ends early when the bound is met.
        share: the share of all identities that these rows are, when they are a sample.
    """
    M = len(price_M)
    price, best, fewest, before = price_M.copy(), price_M, np.inf, np.zeros(M)
    step = np.full(M, FIRST_STEP, np.float32)
    for _ in range(steps):
        chosen = id_Nc[np.arange(len(id_Nc)), choose(id_Nc, similarity_Nc, price)]
        sizes = np.bincount(chosen, minlength=M)
        excess = sizes - np.clip(sizes, bound.low * share, bound.high * share)
        wrong = np.abs(excess).sum()
        if wrong < fewest:
            best, fewest = price.copy(), wrong
        if wrong == 0:
            break
        turn = np.sign(excess) * before
        step = np.minimum(step * np.where(turn > 0, 1.5, np.where(turn < 0, 0.5, 1.0)), WIDEST_STEP)
        price = (price + np.sign(excess) * step).astype(np.float32)
        before = np.where(excess == 0, before, np.sign(excess))
    return best
