"""Subspaces of look-alike identities: spherical k-means over identity means, by FAISS.

Shapes: N identities, M subspaces, D numbers in a mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import faiss
import numpy as np
from pydantic import Field

from .errors import InputError
from .randomness import derived_seed
from .settings import Settings


class SubspaceConfig(Settings):
    """How identities are cut into subspaces."""

    ids_per_subspace: int | Literal["all"] = Field(
        default=10_000,
        description="identities in a subspace, on average; 'all' for one subspace (random batches)",
    )
    niter: int = Field(default=20, ge=1, description="k-means iterations")
    max_points_per_centroid: int = Field(
        default=256,
        ge=1,
        description="k-means fits on at most this many identities per subspace, then assigns all",
    )
    recall_queries: int = Field(
        default=1000, ge=1, description="identities sampled to measure neighbour recall"
    )


@dataclass(frozen=True)
class Subspaces:
    """A partition of identities."""

    subspace_id: np.ndarray
    """int32[N], 0..M-1, every subspace non-empty."""
    similarity: np.ndarray
    """float32[N], cosine to the own centroid."""
    centroids: np.ndarray
    """float32[M, D], unit length."""

    @property
    def sizes(self) -> np.ndarray:
        """Identities in each subspace, int64[M]."""
        return np.bincount(self.subspace_id, minlength=len(self.centroids))


def cluster_identities(
    means: np.ndarray,
    *,
    ids_per_subspace: int | Literal["all"],
    niter: int = 20,
    max_points_per_centroid: int = 256,
    seed: int = 0,
    gpu: bool | None = None,
) -> Subspaces:
    """Partition identities into round(N / ids_per_subspace) subspaces of look-alikes.

    Spherical k-means (unit centroids, cosine), fitted on a sample when N is large, then every identity
    goes to its nearest centroid. A centroid that ends up with no identity (fewer distinct means than
    subspaces) is dropped, so M may be smaller than asked for.

    Args:
        means: float32[N, D], unit length.
        ids_per_subspace: average size; 'all' or anything >= N gives one subspace.
        seed: same seed and threads, same result.
        gpu: use FAISS's GPU k-means; None uses it when FAISS sees a GPU.

    Raises:
        InputError: no identities, or NaN in the means.
    """
    means = np.ascontiguousarray(means, np.float32)
    if means.ndim != 2 or len(means) == 0:
        raise InputError(f"means must be a non-empty [N, D] array, got shape {means.shape}")
    bad = int(np.sum(~np.isfinite(means).all(axis=1)))
    if bad:
        raise InputError(
            f"{bad} of {len(means)} identity means hold NaN or infinity; run `subspace extract` again"
        )
    if ids_per_subspace != "all" and ids_per_subspace < 1:
        raise InputError(f"ids_per_subspace={ids_per_subspace} must be at least 1, or 'all'")

    count = 1 if ids_per_subspace == "all" else max(1, round(len(means) / ids_per_subspace))
    if count == 1:
        centroid = means.astype(np.float64).mean(axis=0)
        centroids = (centroid / max(float(np.linalg.norm(centroid)), 1e-12)).astype(np.float32)[None]
        subspace_id, similarity = np.zeros(len(means), np.int64), means @ centroids[0]
    else:
        kmeans = faiss.Kmeans(
            means.shape[1],
            count,
            niter=niter,
            spherical=True,
            seed=derived_seed(seed, "kmeans"),
            gpu=faiss.get_num_gpus() > 0 if gpu is None else gpu,
            min_points_per_centroid=1,  # small sets are meant; the user sees sizes and recall printed
            max_points_per_centroid=max_points_per_centroid,
        )
        kmeans.train(means)
        similarity, subspace_id = kmeans.assign(means)
        centroids = np.asarray(kmeans.centroids).reshape(count, -1)

    used, dense = np.unique(subspace_id, return_inverse=True)
    return Subspaces(dense.astype(np.int32), np.asarray(similarity, np.float32), centroids[used].copy())
