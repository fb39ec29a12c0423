"""Equal subspaces of look-alike identities: priced k-means over identity means, whatever their number.

Shapes: N identities, M subspaces, D numbers in a mean, c candidates of an identity.

Fit on a sample, then one pass over all means that keeps for each identity its c best subspaces
(8 bytes each, 0.48 GB at 10 million), then everything else happens on those lists: prices, repair, overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ..errors import InputError
from ..randomness import generator
from .assignment import Assignment
from .candidates import Candidates
from .centroids import Flat, TwoLevel, fit_flat, fit_plain, fit_two_level
from .mean_blocks import ROWS_PER_BLOCK, MeanBlocks
from .on_device import as_tensor, blocks_on, counts_by_group, on_host
from .prices import WHILE_LISTS_HOLD, Bound, choose, find_prices
from .settings import sample_size, subspace_count

CANDIDATES = 6
"""Subspaces that an identity may be sent to."""
WITH_A_CHOICE = 0.1
"""Share of the identities, those nearest to a border, that may be sent elsewhere at all (on the CPU)."""
ROWS_PER_PRICE = 512
"""Rows of the sample, per subspace, that prices are found on; they know a size to 4 %."""
STEPS_ON_ALL = 20
"""Steps of the prices on all identities, most of which need far fewer."""


@dataclass(frozen=True)
class Subspaces:
    """A partition of identities, and perhaps second memberships.

    Example:
        >>> import numpy as np
        >>> from subspace.mining import cluster_identities
        >>> subspaces = cluster_identities(np.eye(6, dtype=np.float32), ids_per_subspace=3)
        >>> subspaces.sizes.tolist(), subspaces.centroids.shape
        ([3, 3], (2, 6))
    """

    subspace_id: np.ndarray
    """int32[N], 0..M-1, every subspace non-empty."""
    similarity: np.ndarray
    """float32[N], cosine to the own centroid; distortion is 1 - its mean."""
    centroids: np.ndarray
    """float32[M, D], unit length."""
    second_id: np.ndarray
    """int32[N], the other subspace of an identity at a border, -1 for none."""
    plain_similarity: float
    """Mean cosine to the nearest candidate: what `similarity.mean()` would be without balance."""

    @property
    def sizes(self) -> np.ndarray:
        """Identities in each subspace, second members not counted, int64[M]."""
        return np.bincount(self.subspace_id, minlength=len(self.centroids))


def cluster_identities(
    means: Any,
    *,
    ids_per_subspace: int | Literal["all"],
    tolerance: float = 0.02,
    balance: Literal["prices", "none"] = "prices",
    overlap: float = 0.0,
    niter: int = 20,
    max_points_per_centroid: int = 256,
    flat_up_to: int = 2048,
    seed: int = 0,
    device: str | torch.device | None = None,
    gpu: bool | None = None,
    progress: Callable[[int], None] | None = None,
) -> Subspaces:
    """Partition identities into M = round(N / ids_per_subspace) equal subspaces of look-alikes.

    Every size is within N/M · (1 ± tolerance), widened to whole identities, whatever the means are.
    Cost: niter · max_points_per_centroid · M² · D for the fit, N · M · D for the pass.

    Args:
        means: float32, unit length: an array or memmap [N, D], an iterable of blocks [n_i, D], an iterator of
            blocks (copied to a temporary file); see `MeanBlocks`. How they are cut makes no difference.
        ids_per_subspace: average size; 'all' or anything >= N gives one subspace.
        tolerance: 0 for sizes that differ by one at most.
        balance: 'none' sends every identity to the nearest centroid of FAISS's k-means; a centroid with no
            identity (fewer distinct means than subspaces) is then dropped, so M may be smaller.
        overlap: share of identities with a second subspace; no subspace then has more than
            (1 + overlap) · (1 + tolerance) · N/M members, rounded up, unless balance is 'none'.
        flat_up_to: largest M at which an identity is compared with all centroids.
        seed: same means, seed and threads, same result.
        device: such as 'cpu' or 'cuda:1'; None: 'cuda' where torch sees a GPU. Another device, other rounding.
        gpu: the older way to say so: True for 'cuda', False for 'cpu'.
        progress: called with how many identities were compared with the centroids: `settings.rows_of_fit` in the fit,
            then each as it is assigned.

    Raises:
        InputError: no identities, NaN in the means, or a setting out of its range.

    Example:
        >>> import numpy as np
        >>> from subspace.mining import cluster_identities
        >>> angle = np.concatenate((np.linspace(0, 1, 50), np.linspace(3, 4, 50)))  # two groups on a circle
        >>> means = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        >>> subspaces = cluster_identities(means, ids_per_subspace=50, seed=0)
        >>> subspaces.sizes.tolist(), len(set(subspaces.subspace_id[:50].tolist()))
        ([50, 50], 1)
    """
    _check(ids_per_subspace, tolerance, balance, overlap)
    blocks, where = MeanBlocks(means), _device(device, gpu)
    N, D = blocks.shape
    M = subspace_count(N, ids_per_subspace)
    priced = balance == "prices"
    margin = np.inf if priced or overlap else -np.inf
    if M == 1:
        fitted: Flat | TwoLevel = _one_centroid(blocks, where)
    else:
        most = sample_size(N, M, D, max_points_per_centroid)
        sample, fit = as_tensor(_sample(blocks, most, seed)).to(where), fit_flat if priced else fit_plain
        how: dict[str, Any] = {"niter": niter, "points": max_points_per_centroid, "seed": seed}
        how["track"] = progress or (lambda identities: None)
        fitted = fit(sample, M, **how) if flat_up_to >= M else fit_two_level(sample, M, fit=fit, **how)
        if priced:
            fitted, lead = _priced(fitted, sample[: ROWS_PER_PRICE * M], Bound.around(N, M, tolerance), N)
            margin = np.inf if overlap or not on_host(sample) else lead
        del sample

    found, plain = _candidates(blocks, fitted, min(M, CANDIDATES), margin, where, progress)
    place, bound = torch.zeros_like(found.asked), Bound.around(N, M, tolerance)
    if priced and M > 1:
        place = choose(found.id_nc, found.similarity_nc, _prices(found, bound, fitted.price))

    assigned = Assignment(found, place, fitted.centroids)
    if priced:
        assigned.repair(bound)
    _measure_strangers(blocks, assigned)
    full = int(np.ceil((1 + overlap) * (1 + tolerance) * N / M - 1e-9)) if priced else N
    second = assigned.second(overlap, full - assigned.sizes).cpu().numpy()
    used = np.flatnonzero(assigned.sizes.cpu().numpy())
    dense = np.full(M + 1, -1, np.int32)  # the last is for -1
    dense[used] = np.arange(len(used))
    second = np.where(np.isin(second, used), second, M)
    return Subspaces(
        dense[assigned.subspace_id.cpu().numpy()],
        assigned.similarity.cpu().numpy(),
        fitted.centroids.cpu().numpy()[used],
        dense[second],
        plain,
    )


def _check(ids_per_subspace: int | str, tolerance: float, balance: str, overlap: float) -> None:
    if ids_per_subspace != "all" and (isinstance(ids_per_subspace, str) or ids_per_subspace < 1):
        raise InputError(f"ids_per_subspace={ids_per_subspace} must be at least 1, or 'all'")
    if not tolerance >= 0:
        raise InputError(f"tolerance={tolerance} must be at least 0, e.g. 0.02")
    if balance not in ("prices", "none"):
        raise InputError(f"balance={balance} must be 'prices' or 'none'")
    if not 0 <= overlap < 1:
        raise InputError(f"overlap={overlap} must be at least 0 and less than 1, e.g. 0.1")


def _device(device: str | torch.device | None, gpu: bool | None) -> torch.device:
    on_gpu = torch.cuda.is_available() if gpu is None else gpu
    return torch.device(device or ("cuda" if on_gpu else "cpu"))


def _one_centroid(blocks: MeanBlocks, device: torch.device) -> Flat:
    total = np.sum([rows.sum(axis=0, dtype=np.float64) for _, rows in blocks], axis=0)
    if not np.isfinite(total).all():
        _refuse(blocks)
    centroid = total / max(float(np.linalg.norm(total)), 1e-12)
    return Flat(torch.from_numpy(centroid.astype(np.float32)[None]).to(device), torch.zeros(1, device=device))


def _sample(blocks: MeanBlocks, most: int, seed: int) -> np.ndarray:
    """Draw at most so many rows, in random order: float32[S, D].

    Beyond 64 blocks they come from every k-th block only, k as large as leaves twice the rows
    needed, so that a file on disk is read but in part and no stretch of it is left out.
    """
    N, random = blocks.shape[0], generator(seed, "sample")
    every = max(1, min(N // (2 * most), len(blocks) // 64))
    numbers = np.arange(int(random.integers(every)), len(blocks), every)
    rows = (numbers[:, None] * ROWS_PER_BLOCK + np.arange(ROWS_PER_BLOCK)).ravel()
    sample = blocks.rows(random.permutation(rows[rows < N])[:most])
    if not np.isfinite(sample).all():
        _refuse(blocks)
    return sample


def _candidates(
    blocks: MeanBlocks,
    fitted: Flat | TwoLevel,
    c: int,
    margin: float,
    device: torch.device,
    progress: Callable[[int], None] | None,
) -> tuple[Candidates, float]:
    """The pass over all identities: their candidates, and the mean similarity to the nearest of them."""
    found = []
    for start, rows in blocks_on(blocks, device):
        found.append((start, fitted.candidates(rows, c, margin)))
        if progress:
            progress(len(rows))
    joined = Candidates.joined(found)
    nearest = joined.nearest().double().mean().item()
    if not np.isfinite(nearest):
        _refuse(blocks)
    return joined, nearest


def _priced(
    fitted: Flat | TwoLevel, some_sD: torch.Tensor, bound: Bound, N: int
) -> tuple[Flat | TwoLevel, float]:
    """Prices that suit these rows, and the lead of the best bid that `WITH_A_CHOICE` of them have at most."""
    M, share = len(fitted.price), len(some_sD) / N
    found = Candidates.joined(
        [
            (place * ROWS_PER_BLOCK, fitted.candidates(rows, min(M, CANDIDATES)))
            for place, rows in enumerate(some_sD.split(ROWS_PER_BLOCK))
        ]
    )
    how: dict[str, Any] = {"steps": 60, "share": share, "within": WHILE_LISTS_HOLD}
    price = find_prices(found.id_nc, found.similarity_nc, bound, fitted.price, **how)
    bid_s2 = (found.similarity_nc - price[found.id_nc]).topk(2, dim=1).values
    lead = (bid_s2[:, 0] - bid_s2[:, 1]).sort().values
    return fitted.moved(fitted.centroids, price), float(lead[int(WITH_A_CHOICE * (len(lead) - 1))])


def _prices(found: Candidates, bound: Bound, price_M: torch.Tensor) -> torch.Tensor:
    """Prices that bring the sizes of all within the bound, or near it."""
    M = len(price_M)
    settled = counts_by_group(found.id, M) - counts_by_group(found.id[found.asked], M)
    return find_prices(
        found.id_nc, found.similarity_nc, bound, price_M, steps=STEPS_ON_ALL, settled_M=settled
    )


def _measure_strangers(blocks: MeanBlocks, assigned: Assignment) -> None:
    """Look up the means of identities that were sent to none of their candidates, for their similarity."""
    strangers = assigned.strangers.nonzero()[:, 0]
    for numbers in strangers.split(ROWS_PER_BLOCK):
        own = assigned.centroids[assigned.subspace_id[numbers]]
        rows = torch.from_numpy(blocks.rows(numbers.cpu().numpy())).to(own.device)
        assigned.similarity[numbers] = torch.einsum("nd,nd->n", rows, own)


def _refuse(blocks: MeanBlocks) -> None:
    bad = sum(int(np.sum(~np.isfinite(rows).all(axis=1))) for _, rows in blocks)
    raise InputError(
        f"{bad} of {blocks.shape[0]} identity means hold NaN or infinity; run `subspace extract` again"
    )
