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

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import faiss
import numpy as np
import torch

from ..randomness import derived_seed
from .prices import Bound, choose, find_prices

ROWS_PER_PRODUCT = 4096
"""Rows of one matrix product: its similarities to 1,000 centroids, 16 MB, stay in the last-level cache."""
ROWS_PER_BID = 5
"""Prices move after so many identities per centroid."""
FIRST_BID, LAST_BID = 0.08, 0.01
"""Change of price, in cosine, of a subspace that gets nothing or twice its share; shrinks over the iterations."""
MOVES_PER_ITERATION = 2
"""Times that the centroids move in an iteration."""
CELLS_ASKED = 8
"""Nearest cells whose centroids are candidates."""
SETTLING_MOVES = 5
"""Moves of the centroids of all cells together."""

Candidates = tuple[np.ndarray, np.ndarray]
"""`id_nc` int32 and `similarity_nc` float32, best bid first."""


@dataclass(frozen=True)
class Flat:
    """M centroids that every identity is compared with."""

    centroids: np.ndarray
    """float32[M, D], unit length."""
    price: np.ndarray
    """float32[M], what the sample bid for them."""

    def candidates(self, rows: np.ndarray, c: int, device: str) -> Candidates:
        """Return the c best centroids by similarity less price of each row, float32[n, D]."""
        centroids, price = (torch.from_numpy(array).to(device) for array in (self.centroids, self.price))
        bid, ids = _search(_tensor(rows).to(device), centroids, price, min(c, len(price)))
        return ids.to(torch.int32).cpu().numpy(), (bid + price[ids]).cpu().numpy()


@dataclass(frozen=True)
class TwoLevel:
    """M centroids in cells; an identity is compared with those of its nearest cells."""

    cells: np.ndarray
    """float32[C, D], unit length."""
    parts: list[Flat]
    """The centroids of each cell; numbered through in this order."""

    @property
    def centroids(self) -> np.ndarray:
        """float32[M, D], unit length."""
        return np.concatenate([part.centroids for part in self.parts])

    @property
    def price(self) -> np.ndarray:
        """float32[M]."""
        return np.concatenate([part.price for part in self.parts])

    def moved(self, centroids: np.ndarray, price: np.ndarray) -> TwoLevel:
        """The same cells with other centroids and prices."""
        ends = np.cumsum([len(part.price) for part in self.parts])[:-1]
        parts = zip(np.split(centroids, ends), np.split(price, ends), strict=True)
        return TwoLevel(self.cells, [Flat(*part) for part in parts])

    def candidates(self, rows: np.ndarray, c: int, device: str) -> Candidates:
        """Return the c best centroids by similarity less price, of the nearest cells of each row."""
        asked = min(CELLS_ASKED, len(self.cells))
        cell_nk, _ = Flat(self.cells, np.zeros(len(self.cells), np.float32)).candidates(rows, asked, device)
        first = np.cumsum([0, *(len(part.price) for part in self.parts)])
        ids = np.zeros((len(rows), asked * c), np.int32)
        similarity = np.full(ids.shape, -np.inf, np.float32)
        bids = similarity.copy()
        for cell, part in enumerate(self.parts):
            row, place = np.nonzero(cell_nk == cell)
            if len(row):
                found_id, found = part.candidates(rows[row], c, device)
                columns = place[:, None] * c + np.arange(found.shape[1])
                ids[row[:, None], columns] = found_id + first[cell]
                similarity[row[:, None], columns] = found
                bids[row[:, None], columns] = found - part.price[found_id]
        best = torch.from_numpy(bids).topk(min(c, int(first[-1])), dim=1).indices.numpy()
        return np.take_along_axis(ids, best, 1), np.take_along_axis(similarity, best, 1)


def _search(
    rows_nD: torch.Tensor, centroids_MD: torch.Tensor, price_M: torch.Tensor, c: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the c highest of similarity less price, `bid_nc`, and whose they are, `id_nc`; all on one device.

    On the CPU by FAISS, to which the price is one more dimension of the centroids, with a 1 on every row: it
    keeps the best as the product is made, which beats a product and `topk` over it.
    """
    if rows_nD.device.type != "cpu":
        found = [
            (part @ centroids_MD.T).sub_(price_M).topk(c, dim=1) for part in rows_nD.split(ROWS_PER_PRODUCT)
        ]
        bid, ids = (torch.cat(column) for column in zip(*found, strict=True))
        return bid, ids
    rows = torch.cat((rows_nD, torch.ones(len(rows_nD), 1)), dim=1)
    goods = torch.cat((centroids_MD, -price_M[:, None]), dim=1)
    bid, ids = map(torch.from_numpy, faiss.knn(rows.numpy(), goods.numpy(), c, faiss.METRIC_INNER_PRODUCT))
    return bid.masked_fill(ids < 0, torch.nan), ids  # a row that holds NaN finds nothing


def fit_flat(sample_SD: np.ndarray, M: int, *, niter: int, points: int, seed: int, device: str) -> Flat:
    """Fit M unit centroids: a quarter of the iterations by FAISS's k-means, the others priced.

    An iteration sees `points` · M rows, as one of FAISS's does, and the centroids move twice in it, each
    time by fresh rows of the sample (mini-batch k-means, Sculley 2010, with large batches): for the same
    work that ends with more neighbours together than few moves by many rows. The last move is by the whole sample.

    Args:
        sample_SD: float32[S, D], S >= M, in random order.
    """
    sample = _tensor(sample_SD).to(device)
    unpriced = -(-niter // 4)
    start = fit_plain(sample_SD, M, niter=unpriced, points=points, seed=seed, device=device)
    centroids, price = (torch.from_numpy(array).to(device) for array in (start.centroids, start.price))
    parts, turns = sample.split(max(ROWS_PER_PRODUCT, ROWS_PER_BID * M)), 0
    moves = MOVES_PER_ITERATION * (niter - unpriced) if len(sample) > M else 0
    for move, bid in enumerate(np.geomspace(FIRST_BID, LAST_BID, moves).tolist() if moves else ()):
        sums, seen = torch.zeros_like(centroids), 0
        enough = points * M / MOVES_PER_ITERATION if move + 1 < moves else len(sample)
        while seen < min(enough, len(sample)):
            part, turns = parts[turns % len(parts)], turns + 1
            chosen = _bid(part @ centroids.T, price, bid)
            sums.index_add_(0, chosen, part)
            seen += len(part)
        chosen_by_none = sums.norm(dim=1, keepdim=True) < 1e-6
        centroids = torch.where(chosen_by_none, centroids, _unit(sums))
    return Flat(centroids.cpu().numpy(), (price - price.mean()).cpu().numpy())


def _bid(similarity_nM: torch.Tensor, price_M: torch.Tensor, bid: float) -> torch.Tensor:
    """Let rows choose, a few at a time, and move the prices in place after each few: int64[n]."""
    M, chosen = len(price_M), []
    for rows in similarity_nM.split(ROWS_PER_BID * M):
        chosen.append((rows - price_M).argmax(1))
        share = len(rows) / M
        price_M += bid * (torch.bincount(chosen[-1], minlength=M) / share - 1).clamp(-1, 1)
    return torch.cat(chosen)


def fit_plain(sample_SD: np.ndarray, M: int, *, niter: int, points: int, seed: int, device: str) -> Flat:
    """Fit M unit centroids by FAISS's spherical k-means, on all GPUs when `device` is 'cuda' and FAISS has them."""
    kmeans = faiss.Kmeans(
        sample_SD.shape[1],
        M,
        niter=niter,
        spherical=True,
        seed=derived_seed(seed, "kmeans"),
        gpu=device == "cuda" and getattr(faiss, "get_num_gpus", int)() > 0,
        min_points_per_centroid=1,  # small sets are meant; the user sees sizes and recall printed
        max_points_per_centroid=points,
    )
    kmeans.train(sample_SD)
    centroids = np.asarray(kmeans.centroids, np.float32).reshape(M, -1)
    return Flat(centroids.copy(), np.zeros(M, np.float32))


def fit_two_level(
    sample_SD: np.ndarray,
    M: int,
    *,
    fit: Callable[..., Flat],
    niter: int,
    points: int,
    seed: int,
    device: str,
) -> TwoLevel:
    """Fit about sqrt(M) cells, and in each a share of the M centroids in proportion to its population.

    Args:
        fit: `fit_flat` or `fit_plain`, for the centroids inside a cell.
    """
    cells = fit_plain(sample_SD, round(M**0.5), niter=niter, points=points, seed=seed, device=device)
    cell_S = cells.candidates(sample_SD, 1, device)[0][:, 0]
    used, cell_S = np.unique(cell_S, return_inverse=True)
    sizes = np.bincount(cell_S)
    counts = _in_proportion(sizes, M)
    order = np.argsort(cell_S, kind="stable")
    parts = [
        fit(
            sample_SD[members],
            int(count),
            niter=niter,
            points=points,
            seed=derived_seed(seed, "cell", cell),
            device=device,
        )
        for cell, (members, count) in enumerate(
            zip(np.split(order, np.cumsum(sizes)[:-1]), counts, strict=True)
        )
    ]
    fitted = TwoLevel(cells.centroids[used].copy(), parts)
    return _settled(fitted, sample_SD, device) if fit is fit_flat else fitted


def _settled(fitted: TwoLevel, sample_SD: np.ndarray, device: str) -> TwoLevel:
    """Let cells trade with each other: a few moves with prices that are found for all cells together.

    Each cell was fitted alone, so the same price means more in one than in another, and who lives at the
    border of a cell was never asked about the next.
    """
    M, sample = len(fitted.price), _tensor(sample_SD)
    bound = Bound.around(len(sample), M, 0.02)
    for _ in range(SETTLING_MOVES):
        asked = [fitted.candidates(rows.numpy(), 8, device) for rows in sample.split(16_384)]
        ids, similarity = (np.concatenate(column) for column in zip(*asked, strict=True))
        price = find_prices(ids, similarity, bound, fitted.price, steps=20)
        chosen = ids[np.arange(len(ids)), choose(ids, similarity, price)].astype(np.int64)
        sums = torch.zeros(fitted.centroids.shape).index_add_(0, torch.from_numpy(chosen), sample)
        chosen_by_none = sums.norm(dim=1, keepdim=True) < 1e-6
        centroids = torch.where(chosen_by_none, torch.from_numpy(fitted.centroids), _unit(sums))
        fitted = fitted.moved(centroids.numpy(), price)
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


def _unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _tensor(array: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():  # torch warns of arrays that are not writable; nobody writes here
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
