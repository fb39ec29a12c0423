"""Centroids of subspaces: fitted on a sample, then asked for the candidates of every identity.

Shapes: N identities, S of them in the sample, M centroids, D numbers in a mean, c candidates.

`fit_flat` is spherical k-means whose assignment is priced: an identity goes to argmax(similarity - price),
and prices follow the crowd, block by block of the sample, like bids. Plain k-means on people is badly
uneven, and balancing its result afterwards must tear groups of look-alikes apart; here the centroids move
to where equal shares are natural. An iteration costs what one of k-means does, S·M·D.

Above a few thousand centroids M·D per identity is too much, so `TwoLevel` asks in two steps, as FAISS's IVF
does: about sqrt(M) cells, then only the centroids of the nearest eight, about 9·sqrt(M)·D.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import normalize

from ..block_sizes import similarities_at_a_time
from ..randomness import derived_seed
from .candidates import Candidates
from .on_device import IN_A_CORES_CACHE, counts_by_group, sums_by_group
from .plain_kmeans import plain_centroids
from .prices import WHILE_LISTS_HOLD, Bound, choose, find_prices
from .settings import MOVES_PER_ITERATION, unpriced_iterations

ROWS_PER_PRODUCT = 4096
"""Rows of one matrix product: its similarities to 1,000 centroids, 16 MB, stay in the last-level cache."""
ROWS_PER_BID = 5
"""Prices move after so many identities per centroid."""
LEAST_ROWS_PER_BID = 128
"""And after no fewer than so many, or a few centroids would need thousands of small steps."""
FIRST_BID, LAST_BID = 0.08, 0.01
"""Change of price, in cosine, of a subspace that gets nothing or twice its share; shrinks over the iterations."""
CELLS_ASKED = 8
"""Nearest cells whose centroids are candidates."""
SETTLING_MOVES = 5
"""Moves of the centroids of all cells together."""


@dataclass(frozen=True)
class Flat:
    """M centroids that every identity is compared with; tensors of the device that compares."""

    centroids: torch.Tensor
    """float32[M, D], unit length."""
    price: torch.Tensor
    """float32[M], what the sample bid for them."""

    def candidates(self, rows_nD: torch.Tensor, c: int, margin: float = np.inf) -> Candidates:
        """Return the best centroid by similarity less price of each row, and the c best of those that have a choice.

        Args:
            margin: a row has a choice where the second best bid is at most so much lower; infinite: every row has.
        """
        c = min(c, len(self.price))
        at_a_time = max(
            ROWS_PER_PRODUCT, similarities_at_a_time(rows_nD.device, IN_A_CORES_CACHE) // len(self.price)
        )
        ask = self._all if margin == np.inf else self._those_near_a_border
        found = [
            (start, ask(rows_nD[start : start + at_a_time], c, margin))
            for start in range(0, len(rows_nD), at_a_time)
        ]
        return found[0][1] if len(found) == 1 else Candidates.joined(found)

    def _bids(self, rows_nD: torch.Tensor) -> torch.Tensor:
        """Similarities less prices, float32[n, M]; stored by centroid, a third quicker on the CPU where M is 30."""
        return torch.addmm(-self.price[:, None], self.centroids, rows_nD.T).T

    def _all(self, rows_nD: torch.Tensor, c: int, margin: float) -> Candidates:
        bid_nc, id_nc = self._bids(rows_nD).contiguous().topk(c, dim=1)
        return Candidates.of_all(id_nc.to(torch.int32), bid_nc + self.price[id_nc])

    def _those_near_a_border(self, rows_nD: torch.Tensor, c: int, margin: float) -> Candidates:
        bid_nM = self._bids(rows_nD)
        best, place = bid_nM.max(1)
        bid_nM.scatter_(1, place[:, None], -torch.inf)
        asked = (best - bid_nM.amax(1) <= margin).nonzero()[:, 0]
        bid_nM.scatter_(1, place[:, None], best[:, None])
        bid_nc, id_nc = bid_nM[asked].contiguous().topk(c, dim=1)
        similarity_nc = bid_nc + self.price[id_nc]
        return Candidates(
            place.to(torch.int32), best + self.price[place], asked, id_nc.to(torch.int32), similarity_nc
        )

    def moved(self, centroids: torch.Tensor, price: torch.Tensor) -> Flat:
        """Others in their place."""
        return Flat(centroids, price)


@dataclass(frozen=True)
class TwoLevel:
    """M centroids in cells; an identity is compared with those of its nearest cells."""

    cells: Flat
    """C of them."""
    parts: list[Flat]
    """The centroids of each cell; numbered through in this order."""

    @property
    def centroids(self) -> torch.Tensor:
        """float32[M, D], unit length."""
        return torch.cat([part.centroids for part in self.parts])

    @property
    def price(self) -> torch.Tensor:
        """float32[M]."""
        return torch.cat([part.price for part in self.parts])

    def moved(self, centroids: torch.Tensor, price: torch.Tensor) -> TwoLevel:
        """The same cells with other centroids and prices."""
        sizes = [len(part.price) for part in self.parts]
        parts = zip(centroids.split(sizes), price.split(sizes), strict=True)
        return TwoLevel(self.cells, [Flat(*part) for part in parts])

    def candidates(self, rows_nD: torch.Tensor, c: int, margin: float = np.inf) -> Candidates:
        """Return the c best centroids by similarity less price, of the nearest cells of each row; all have a choice."""
        n, asked = len(rows_nD), min(CELLS_ASKED, len(self.parts))
        cell_nk = self.cells.candidates(rows_nD, asked).id_nc
        cell, order = cell_nk.flatten().sort(stable=True)
        id_qc = torch.zeros(n * asked, c, dtype=torch.int32, device=rows_nD.device)
        similarity_qc = torch.full(id_qc.shape, -torch.inf, device=rows_nD.device)
        bid_qc = similarity_qc.clone()
        first = 0
        for part, questions in zip(self.parts, order.split(self._sizes(cell)), strict=True):
            if len(questions):
                found = part.candidates(rows_nD[questions // asked], c)
                wide = found.id_nc.shape[1]
                id_qc[questions, :wide] = found.id_nc + first
                similarity_qc[questions, :wide] = found.similarity_nc
                bid_qc[questions, :wide] = found.similarity_nc - part.price[found.id_nc]
            first += len(part.price)
        best = bid_qc.view(n, -1).topk(min(c, first), dim=1).indices
        return Candidates.of_all(id_qc.view(n, -1).gather(1, best), similarity_qc.view(n, -1).gather(1, best))

    def _sizes(self, cell: torch.Tensor) -> list[int]:
        return counts_by_group(cell, len(self.parts)).tolist()


Track = Callable[[int], object]
"""Told how many rows were compared with the centroids, `settings.rows_of_fit` in all; nothing waits for a GPU."""


def fit_flat(
    sample_SD: torch.Tensor, M: int, *, niter: int, points: int, seed: int, track: Track = lambda rows: None
) -> Flat:
    """Fit M unit centroids: a quarter of the iterations by plain k-means, the others priced.

    An iteration sees `points` · M rows, as one of FAISS's does, rounded up to whole products, and the centroids move twice in it, each
    time by fresh rows of the sample (mini-batch k-means, Sculley 2010, with large batches): for the same
    work that ends with more neighbours together than few moves by many rows. The last move is by the whole sample.

    Args:
        sample_SD: float32[S, D], S >= M, in random order, on the device that fits.
    """
    unpriced = unpriced_iterations(niter)
    centroids = plain_centroids(sample_SD, M, niter=unpriced, points=points, seed=seed)
    track(unpriced * min(points * M, len(sample_SD)))
    price, turns = centroids.new_zeros(M), 0
    rows_per_move = -(-points * M // MOVES_PER_ITERATION)
    parts = sample_SD.split(max(ROWS_PER_PRODUCT, ROWS_PER_BID * M))
    moves = MOVES_PER_ITERATION * (niter - unpriced) if len(sample_SD) > M else 0
    for move, bid in enumerate(np.geomspace(FIRST_BID, LAST_BID, moves).tolist() if moves else ()):
        sums, seen = torch.zeros_like(centroids), 0
        enough = rows_per_move if move + 1 < moves else len(sample_SD)
        while seen < min(enough, len(sample_SD)):
            part, turns = parts[turns % len(parts)], turns + 1
            chosen = _bid(part @ centroids.T, price, bid)
            sums += sums_by_group(part, chosen, M)
            seen += len(part)
        centroids = _moved(centroids, sums)
        price -= price.mean()
        track(min(rows_per_move, len(sample_SD)))
    return Flat(centroids, price)


def _bid(similarity_nM: torch.Tensor, price_M: torch.Tensor, bid: float) -> torch.Tensor:
    """Let rows choose, a few at a time, and move the prices in place after each few: int64[n]."""
    M, chosen = len(price_M), []
    for rows in similarity_nM.split(max(ROWS_PER_BID * M, LEAST_ROWS_PER_BID)):
        chosen.append((rows - price_M).argmax(1))
        share = len(rows) / M  # a price rises by bid · (count / share - 1), at most by bid
        price_M.add_(counts_by_group(chosen[-1], M).clamp(max=2 * share), alpha=bid / share).sub_(bid)
    return torch.cat(chosen)


def _moved(centroids: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
    """The directions of the sums; a centroid that nobody chose stays where it was."""
    return torch.where(sums.norm(dim=1, keepdim=True) < 1e-6, centroids, normalize(sums, dim=1))


def fit_plain(
    sample_SD: torch.Tensor, M: int, *, niter: int, points: int, seed: int, track: Track = lambda rows: None
) -> Flat:
    """Fit M unit centroids by plain k-means, for subspaces of any size."""
    centroids = plain_centroids(sample_SD, M, niter=niter, points=points, seed=seed)
    track(niter * min(points * M, len(sample_SD)))
    return Flat(centroids, centroids.new_zeros(M))


def fit_two_level(
    sample_SD: torch.Tensor,
    M: int,
    *,
    fit: Callable[..., Flat],
    niter: int,
    points: int,
    seed: int,
    track: Track = lambda rows: None,
) -> TwoLevel:
    """Fit about sqrt(M) cells, and in each a share of the M centroids in proportion to its population.

    Args:
        fit: `fit_flat` or `fit_plain`, for the centroids inside a cell.
    """
    cells = fit_plain(sample_SD, round(M**0.5), niter=niter, points=points, seed=seed)
    used, cell_S = cells.candidates(sample_SD, 1).id.unique(return_inverse=True)
    sizes = counts_by_group(cell_S, len(used)).cpu().numpy()
    counts = _in_proportion(sizes, M)
    order = cell_S.sort(stable=True).indices
    parts = [
        fit(
            sample_SD[members],
            count,
            niter=niter,
            points=points,
            seed=derived_seed(seed, "cell", cell),
            track=track,
        )
        for cell, (members, count) in enumerate(
            zip(order.split(sizes.tolist()), counts.tolist(), strict=True)
        )
    ]
    fitted = TwoLevel(Flat(cells.centroids[used], cells.price[used]), parts)
    return _settled(fitted, sample_SD) if fit is fit_flat else fitted


def _settled(fitted: TwoLevel, sample_SD: torch.Tensor) -> TwoLevel:
    """Let cells trade with each other: a few moves with prices that are found for all cells together.

    Each cell was fitted alone, so the same price means more in one than in another, and who lives at the
    border of a cell was never asked about the next.
    """
    M = len(fitted.price)
    bound = Bound.around(len(sample_SD), M, 0.02)
    for _ in range(SETTLING_MOVES):
        found = [fitted.candidates(rows, 8) for rows in sample_SD.split(16_384)]
        ids = torch.cat([part.id_nc for part in found])
        similarity = torch.cat([part.similarity_nc for part in found])
        price = find_prices(ids, similarity, bound, fitted.price, steps=20, within=WHILE_LISTS_HOLD)
        chosen = ids.gather(1, choose(ids, similarity, price)[:, None])[:, 0]
        fitted = fitted.moved(_moved(fitted.centroids, sums_by_group(sample_SD, chosen, M)), price)
    return fitted


def _in_proportion(sizes: np.ndarray, M: int) -> np.ndarray:
    """M shared out in proportion to sizes, at least 1 and at most all of each: int64[len(sizes)]."""
    counts = np.clip(sizes * M // sizes.sum(), 1, sizes)
    while counts.sum() != M:
        missing = sizes * M / sizes.sum() - counts
        if counts.sum() < M:
            order = np.argsort(np.where(counts < sizes, -missing, np.inf), kind="stable")
            counts[order[: min(M - counts.sum(), np.sum(counts < sizes))]] += 1
        else:
            order = np.argsort(np.where(counts > 1, missing, np.inf), kind="stable")
            counts[order[: min(counts.sum() - M, np.sum(counts > 1))]] -= 1
    return counts
