"""Equal subspaces from unequal demand: prices on subspaces at which about as many want each.

Shapes: N identities, M subspaces, n identities that have a choice, c candidates of such a one. Candidates are `id_nc`,
int32, and `similarity_nc`, float32; an empty place has similarity -inf.

An identity picks argmax over its candidates j of `similarity_j - price_j`. Prices are the multipliers of
"at most `high`, at least `low` identities in subspace j", so at the right prices the choice is the best
partition within those bounds among the candidates (linear programming duality; Bertsekas' auction
and semi-discrete optimal transport find the same numbers). A step costs n·c; nothing is N × M.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .on_device import counts_by_group, on_host

ROWS_PER_STEP = 32_768
"""Identities that the host prices at a time: their candidates stay in the cache."""
FIRST_STEP, WIDEST_STEP = 0.002, 0.1
"""Changes of a price, in cosine."""
WHILE_LISTS_HOLD = 0.1
"""So far may a price go, in cosine, before identities are asked again for their candidates. A subspace that is on fewer
lists than it must have identities would else get cheaper without end, and all would want it when they are asked again."""


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


def choose(id_nc: torch.Tensor, similarity_nc: torch.Tensor, price_M: torch.Tensor) -> torch.Tensor:
    """Return the place in its list of every identity's best candidate at these prices: int64[n]."""
    place = torch.empty(len(id_nc), dtype=torch.int64, device=id_nc.device)
    at_a_time = ROWS_PER_STEP if on_host(id_nc) else max(1, len(id_nc))
    for start in range(0, len(id_nc), at_a_time):
        rows = slice(start, start + at_a_time)
        asked = price_M.index_select(0, id_nc[rows].reshape(-1)).view(-1, id_nc.shape[1])
        torch.argmax(similarity_nc[rows] - asked, dim=1, out=place[rows])
    return place


def find_prices(
    id_nc: torch.Tensor,
    similarity_nc: torch.Tensor,
    bound: Bound,
    price_M: torch.Tensor,
    *,
    steps: int,
    settled_M: torch.Tensor | None = None,
    share: float = 1.0,
    within: float = np.inf,
) -> torch.Tensor:
    """Return prices at which fewer identities are in the wrong place: float32[M], where the candidates are.

    Every price has a step of its own (Rprop, Riedmiller & Braun 1993): it grows by half while the
    subspace stays too full or too empty, and halves when that turns round. So there is no learning rate
    to set, whatever the spread of the similarities is. The best prices met on the way are returned.
    On a GPU the host never waits for a step, and all steps are taken.

    Args:
        price_M: where to begin, float32[M].
        steps: at most so many; on the CPU it ends early when the bound is met.
        settled_M: int64[M], identities of each subspace that have no choice.
        share: the share of all identities with a choice that these rows are, when they are a sample.
        within: no price goes farther than this from where it begins; `WHILE_LISTS_HOLD` where candidates will be asked
            for again at the prices found.
    """
    M, lowest, highest = len(price_M), price_M - within, price_M + within
    settled = price_M.new_zeros(M) if settled_M is None else settled_M * share
    price, best = price_M, price_M
    fewest, before = price_M.new_full((), torch.inf), price_M.new_zeros(M)
    step = torch.full_like(price_M, FIRST_STEP)
    for _ in range(steps):
        chosen = id_nc.gather(1, choose(id_nc, similarity_nc, price)[:, None])[:, 0]
        sizes = counts_by_group(chosen, M) + settled
        excess = sizes - sizes.clamp(bound.low * share, bound.high * share)
        wrong = excess.abs().sum()
        better = wrong < fewest
        best, fewest = torch.where(better, price, best), torch.where(better, wrong, fewest)
        if on_host(wrong) and not wrong:
            break
        sign = excess.sign()
        turn = sign * before
        step = (step * torch.where(turn > 0, 1.5, torch.where(turn < 0, 0.5, 1.0))).clamp(max=WIDEST_STEP)
        price = (price + sign * step).clamp(lowest, highest)
        before = torch.where(excess == 0, before, sign)
    return best
