"""Settings of the clustering; neither torch nor FAISS."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..settings import Settings

SAMPLE_BYTES = 2**30
"""Memory that a sample of identity means takes at most."""
SAMPLED_TIMES = 4
"""The sample is so many times what an iteration sees, cut to `SAMPLE_BYTES`; fresh rows cost nothing."""
MOVES_PER_ITERATION = 2
"""Times that the centroids move in an iteration with prices, each time by half of what it sees."""


class SubspaceConfig(Settings):
    """How identities are cut into subspaces.

    Example:
        >>> from subspace.mining import SubspaceConfig
        >>> SubspaceConfig(ids_per_subspace=5000).tolerance
        0.02
    """

    ids_per_subspace: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        default=10_000,
        description="identities in a subspace, on average; 'all' for one subspace",
    )
    tolerance: float = Field(
        default=0.02, ge=0, description="a subspace may be this share larger or smaller than the average"
    )
    balance: Literal["prices", "none"] = Field(
        default="prices", description="prices: equal subspaces; none: plain k-means, however uneven"
    )
    overlap: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of identities, those nearest to a border, that also belong to the subspace behind it",
    )
    niter: int = Field(default=20, ge=1, description="k-means iterations")
    max_points_per_centroid: int = Field(
        default=256,
        ge=1,
        description="identities per subspace that an iteration sees; 64 takes a quarter of the fit's time and keeps "
        "somewhat fewer neighbours together",
    )
    flat_up_to: int = Field(
        default=2048,
        ge=1,
        description="with more subspaces than this, an identity is compared only with those of its nearest cells",
    )
    recall_queries: int = Field(
        default=1000, ge=1, description="identities sampled to measure neighbour recall"
    )
    duplicates_within: float | None = Field(
        default=1.5,
        gt=0,
        description="list pairs of identities whose means are at most this many times as far apart as those of two "
        "halves of one identity (duplicates.parquet); null: do not look",
    )


def subspace_count(N: int, ids_per_subspace: int | Literal["all"]) -> int:
    """M, for N identities."""
    return 1 if ids_per_subspace == "all" else max(1, round(N / ids_per_subspace))


def sample_size(N: int, M: int, D: int, max_points_per_centroid: int) -> int:
    """S, the identities that M centroids of D numbers are fitted on: at least M of N."""
    return min(N, max(M, min(SAMPLED_TIMES * max_points_per_centroid * M, SAMPLE_BYTES // (4 * D))))


def unpriced_iterations(niter: int) -> int:
    """Iterations of plain k-means that a fit with prices begins with: a quarter of all."""
    return -(-niter // 4)


def rows_of_fit(settings: SubspaceConfig, N: int, D: int) -> int:
    """How many identities the fit compares with the centroids, each as often as it is; about so many in two levels.

    A move of the centroids has half of what an iteration sees, or all of a sample that is smaller than that: twice in an
    iteration then.

    >>> config = SubspaceConfig(ids_per_subspace=100, niter=4)
    >>> rows_of_fit(config, N=1500, D=8), rows_of_fit(config.model_copy(update={"balance": "none"}), N=1500, D=8)
    (10500, 6000)
    """
    M = subspace_count(N, settings.ids_per_subspace)
    if M == 1:
        return 0
    seen, S = settings.max_points_per_centroid * M, sample_size(N, M, D, settings.max_points_per_centroid)
    unpriced = settings.niter if settings.balance == "none" else unpriced_iterations(settings.niter)
    moves = MOVES_PER_ITERATION * (settings.niter - unpriced) * (S > M)
    return unpriced * min(seen, S) + moves * min(-(-seen // MOVES_PER_ITERATION), S)
