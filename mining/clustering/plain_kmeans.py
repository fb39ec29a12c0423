"""Plain spherical k-means: FAISS's, on the GPU too where it was built for one; else the same in torch there.

Shapes: S identities in a sample, M centroids, D numbers in a mean.

FAISS only searches on a GPU and moves the centroids on the CPU, in a set order.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import faiss
import numpy as np
import torch
from torch.nn.functional import normalize

from ..block_sizes import similarities_at_a_time
from ..randomness import derived_seed
from .idle_gpus import faiss_gpus
from .on_device import IN_A_CORES_CACHE, counts_by_group, on_host, sums_by_group

SPLIT = 1 / 1024
"""How far the two halves of a split group begin from its centroid, as in FAISS."""


def plain_centroids(sample_SD: torch.Tensor, M: int, *, niter: int, points: int, seed: int) -> torch.Tensor:
    """Fit M unit centroids where the sample is: float32[M, D].

    Args:
        sample_SD: float32[S, D], S >= M, in random order.
        niter: passes over at most `points` · M rows.
    """
    if not on_host(sample_SD) and not faiss_gpus():
        return _by_torch(sample_SD[: points * M], M, niter)
    kmeans = faiss.Kmeans(
        sample_SD.shape[1],
        M,
        niter=niter,
        spherical=True,
        seed=derived_seed(seed, "kmeans"),
        min_points_per_centroid=1,  # small sets are meant; the user sees sizes and recall printed
        max_points_per_centroid=points,
    )
    if not on_host(sample_SD):  # this GPU and no other; FAISS's own `gpu` takes all
        kmeans.index = faiss.index_cpu_to_gpu(_resources(), sample_SD.device.index or 0, kmeans.index)
    kmeans.train(sample_SD.cpu().numpy())
    centroids = np.array(kmeans.centroids, np.float32).reshape(M, -1)
    return torch.from_numpy(centroids).to(sample_SD.device)


@cache
def _resources() -> Any:
    """Memory that FAISS takes on a GPU for its work, once in a process."""
    return faiss.StandardGpuResources()


def _by_torch(rows_SD: torch.Tensor, M: int, niter: int) -> torch.Tensor:
    """Begin at the first M rows, which are random ones."""
    centroids = normalize(rows_SD[:M], dim=1)
    at_a_time = max(1, similarities_at_a_time(rows_SD.device, IN_A_CORES_CACHE) // M)
    for _ in range(niter):
        nearest = torch.cat([(rows @ centroids.T).argmax(1) for rows in rows_SD.split(at_a_time)])
        sizes = counts_by_group(nearest, M)
        sums = sums_by_group(rows_SD, nearest, M)
        gone = sums.norm(dim=1, keepdim=True) < 1e-6
        centroids = _split(torch.where(gone, centroids, normalize(sums, dim=1)), sizes)
    return centroids


def _split(centroids_MD: torch.Tensor, sizes_M: torch.Tensor) -> torch.Tensor:
    """Give every empty group half of a large one, the largest first; the host waits for nothing."""
    M, D = centroids_MD.shape
    order = sizes_M.sort(descending=True, stable=True).indices
    rank = order.argsort()  # of each group by its size
    empty = sizes_M == 0
    splits = torch.minimum(empty.sum(), (sizes_M > 1).sum())
    turn = M - 1 - rank  # the empty ones come last: 0, 1, ... from the end
    taking = empty & (turn < splits)
    apart = SPLIT * (1 - 2 * (torch.arange(D, device=sizes_M.device) % 2))
    giver = order[torch.where(taking, turn, rank)]
    sign = taking.float() - (rank < splits).float()
    return normalize(centroids_MD[giver] * (1 + sign[:, None] * apart), dim=1)
