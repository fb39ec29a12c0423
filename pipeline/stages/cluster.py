"""`subspace cluster`: identity means to subspaces of look-alikes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ...mining.clustering.duplicate_trust import judge_duplicates
from ...mining.clustering.mean_blocks import ROWS_PER_BLOCK, MeanBlocks
from ...mining.clustering.mean_table import IN_MEMORY, MeanTable
from ...mining.clustering.product_speed import compared_seconds, nearest_seconds
from ...mining.clustering.settings import rows_of_fit, sample_size, subspace_count
from ...mining.machine import memory_with
from ...mining.parquet_tables import read_parquet, write_parquet
from ...mining.randomness import derived_seed
from ...mining.schemas import CENTROIDS, DUPLICATES, SUBSPACES, vector
from ..configuration.config import RunConfig
from ..console import amount, counted
from ..estimates.estimate import Estimate, of_memory
from ..estimates.imports import torch_seconds
from ..estimates.row_speed import row_seconds
from ..stage_words import duplicates_in_words, one_subspace_in_words, span
from .context import Context
from .graph import row
from .round_tables import read_identities, validated_rank_1
from .stage import Stage, flat_fields, run_stage

if TYPE_CHECKING:
    import torch

    from ...mining.clustering.duplicates import Duplicates
    from ...mining.clustering.subspaces import Subspaces
    from ..options import Options

RECALL_AT = 10
NEIGHBORS = 11
"""Nearest others that are looked at for duplicates, and the identity itself."""
PASSES, LOOKS_FOR_PRICES, LOOKS_FOR_RECALL = 5, 1.5, 2.0
"""What the estimate counts: readings of all means, and what is done with a similarity (`compared_seconds`)."""
LARGEST_SEARCHED = 200_000
"""Identities of a subspace up to which each is compared with all others for duplicates."""
BYTES_OF_PAIRS, DISK_OF_PAIRS = 300, 32
"""Memory and disk of suspected duplicates for each identity, where there are as many as are kept."""


def cluster_fields(context: Context) -> dict[str, Any]:
    """What the subspaces depend on, besides the identity means."""
    return {
        "seed": context.config.seed,
        "round": context.round_index,
        **flat_fields("cluster", context.config.cluster.model_dump(), without=("recall_queries",)),
    }


def cluster_means(context: Context) -> dict[str, Any]:
    """Cluster the identity means of a round; write subspaces, centroids and suspected duplicates."""
    stage, settings, options = row("cluster").stage(context), context.config.cluster, context.options
    folder = stage.folder

    def estimate() -> Estimate:
        table = MeanTable(folder.identities)
        N, D = table.shape
        M = subspace_count(N, settings.ids_per_subspace)
        seconds = compared_seconds(
            (rows_of_fit(settings, N, D) + N) * min(M, settings.flat_up_to), D, LOOKS_FOR_PRICES
        )
        seconds += compared_seconds(settings.recall_queries * N, D, LOOKS_FOR_RECALL)
        searched = settings.duplicates_within is not None and N // M <= LARGEST_SEARCHED
        if searched:
            seconds += nearest_seconds(N, N / M, D, NEIGHBORS)
        seconds += torch_seconds() + PASSES * N * row_seconds(lambda rows: table[rows], N)
        sample = 8 * D * sample_size(N, M, D, settings.max_points_per_centroid)
        memory = memory_with(
            240 * N + 3 * table.group_bytes  # names, candidates and prices; a row group while it is read
            + max(
                sample,
                8 * settings.recall_queries * ROWS_PER_BLOCK,
                searched * (min(table.nbytes, IN_MEMORY) + BYTES_OF_PAIRS * N),
            ),
            torch_comes=True,
        )  # fmt: skip
        return Estimate(
            f"{N:,} identity means into {counted(M, 'subspace')}",
            seconds,
            f" on the CPU, {of_memory(memory)}, {amount(N * (12 + searched * DISK_OF_PAIRS) + M * D * 4)} of disk",
        )

    def work() -> dict[str, Any]:
        from ...mining.clustering.neighbors import sampled_neighbors
        from ...mining.clustering.quality import subspace_similarity
        from ...mining.clustering.subspaces import cluster_identities

        device = clustering_device(options)
        identities = read_identities(folder, ["identity_id", "identity", "images", "spread"])
        means = MeanTable(folder.identities)
        passes = 3 * len(means) + rows_of_fit(settings, *means.shape)
        with options.console.progress("cluster", passes, "means") as progress:
            found = cluster_identities(
                means,
                ids_per_subspace=settings.ids_per_subspace,
                tolerance=settings.tolerance,
                balance=settings.balance,
                overlap=settings.overlap,
                niter=settings.niter,
                max_points_per_centroid=settings.max_points_per_centroid,
                flat_up_to=settings.flat_up_to,
                seed=derived_seed(context.config.seed, "cluster", context.round_index),
                device=device,
                progress=progress.update,
            )
            neighbors = sampled_neighbors(
                means,
                k=RECALL_AT,
                queries=settings.recall_queries,
                seed=recall_seed(context.config, context.round_index),
                device=device,
                progress=progress.update,
            )
            inside, between = subspace_similarity(
                _counted(MeanBlocks(means), progress.update), found.subspace_id, device=device
            )
        kept = _kept(context, identities["identity_id"].to_numpy(), found.subspace_id)
        duplicates = _duplicates(context, stage, means, identities, found.subspace_id, device)
        _write(stage, identities, found, duplicates)
        trust = None if duplicates is None else judge_duplicates(duplicates.a, duplicates.b, len(identities))
        sizes = found.sizes
        summary = {
            "subspaces": len(sizes),
            "recall_queries": settings.recall_queries,
            "smallest": int(sizes.min()),
            "largest": int(sizes.max()),
            f"recall@{RECALL_AT}": neighbors.recall(found.subspace_id),
            "overlapping_recall": neighbors.recall(found.subspace_id, found.second_id),
            "gain": neighbors.gain(found.subspace_id),
            "similarity": float(found.similarity.mean()),
            "plain_similarity": found.plain_similarity,
            "inside": None if np.isnan(inside) else inside,
            "between": None if np.isnan(between) else between,
            "kept": kept,
            "identities": len(identities),
            "duplicates": None if duplicates is None else len(duplicates),
            "in_duplicates": None if trust is None else trust.involved,
        }
        for words in (f"clustered on {device}", *_in_words(summary, sizes, context.config)):
            context.say(f"{stage.label}: {words}")
        if trust is not None and trust.pairs:
            words = duplicates_in_words(trust, validated_rank_1(context.before))
            context.say(
                f"{stage.label}: {words}; the most similar come first in {stage.folder.duplicates.name}"
            )
        return summary

    return run_stage(stage, options, estimate, work)


def clustering_device(options: Options) -> torch.device:
    """The device that clusters and searches: a GPU of CUDA, or the CPU.

    Raises:
        InputError: there is no device of the name given.
    """
    from ...train.devices import pick_device

    device = pick_device(options.device)
    if device.type != "cuda":
        return pick_device("cpu")
    import torch

    from ...mining.clustering.idle_gpus import warn_of_idle_gpus

    warn_of_idle_gpus(torch.cuda.device_count())
    return device


def _counted(blocks: MeanBlocks, progress: Callable[[int], None]) -> Iterator[np.ndarray]:
    for _, rows in blocks:
        yield rows
        progress(len(rows))


def _kept(context: Context, identity_id: np.ndarray, subspace_id: np.ndarray) -> float | None:
    """Adjusted Rand index against the round before, over the identities of both; None in the first round."""
    from ...mining.clustering.quality import adjusted_rand_index

    if not context.before.subspaces.exists():
        return None
    before = read_parquet(context.before.subspaces, SUBSPACES, ["identity_id", "subspace_id"])
    _, now, then = np.intersect1d(identity_id, before["identity_id"].to_numpy(), return_indices=True)
    return adjusted_rand_index(subspace_id[now], before["subspace_id"].to_numpy()[then])


def _duplicates(
    context: Context,
    stage: Stage,
    means: MeanTable,
    identities: pa.Table,
    subspace_id: np.ndarray,
    device: torch.device,
) -> Duplicates | None:
    """Suspected duplicates; None where they were not asked for, or one huge subspace would mean all against all."""
    from ...mining.clustering.duplicates import suspected_duplicates

    within = context.config.cluster.duplicates_within
    if within is None:
        return None
    if np.bincount(subspace_id).max() > LARGEST_SEARCHED:
        context.say(
            f"{stage.label}: a subspace of more than {LARGEST_SEARCHED:,} identities is not searched "
            f"for duplicates"
        )
        return None
    with context.options.console.progress("cluster: duplicates", len(means), "means") as progress:
        return suspected_duplicates(
            means.as_array(stage.folder.path),
            identities["spread"].to_numpy(),
            identities["images"].to_numpy(),
            subspace_id,
            within=within,
            device=device,
            progress=progress.update,
        )


def recall_seed(config: RunConfig, round_index: int) -> int:
    """Decides which identities neighbour recall is measured on."""
    return derived_seed(config.seed, "recall", round_index)


def _in_words(summary: dict[str, Any], sizes: np.ndarray, config: RunConfig) -> list[str]:
    lines = [f"one subspace holds all identities: {one_subspace_in_words(config.plan)}"]
    if len(sizes) > 1:
        recall, own, plain = (
            summary[key] for key in (f"recall@{RECALL_AT}", "similarity", "plain_similarity")
        )
        second = f", {summary['overlapping_recall']:.3f} with the overlap" if config.cluster.overlap else ""
        lines = [
            f"{len(sizes):,} subspaces of {span(sizes.min(), sizes.max())} identities (median "
            f"{np.median(sizes):,.0f}), r@{RECALL_AT} = {recall:.3f}{second}: an anchor's look-alikes are in its "
            f"batch {summary['gain']:,.1f} times as often as in a random one"
        ]
        quality = [f"distortion {1 - own:.4f}"]
        if config.cluster.balance != "none":
            quality[0] += f" ({1 - plain:.4f} by the nearest centroid)"
        if summary["inside"] is not None:
            quality.append(
                f"cosine {summary['inside']:.3f} inside, {summary['between']:.3f} between subspaces"
            )
        if summary["kept"] is not None:
            quality.append(f"adjusted Rand index {summary['kept']:.2f} to the round before")
        lines.append("; ".join(quality))
    return lines


def _write(stage: Stage, identities: pa.Table, found: Subspaces, duplicates: Duplicates | None) -> None:
    M, D = found.centroids.shape
    centroids = pa.table(
        {
            "subspace_id": pa.array(np.arange(M), pa.int32()),
            "size": pa.array(found.sizes, pa.int32()),
            "centroid": pa.FixedSizeListArray.from_arrays(pa.array(found.centroids.ravel()), type=vector(D)),
        }
    )
    write_parquet(stage.folder.centroids, CENTROIDS, centroids, stage.fingerprint)
    if duplicates is None:  # those of a command that was killed before its end are of other settings
        stage.folder.duplicates.unlink(missing_ok=True)
    else:
        write_parquet(stage.folder.duplicates, DUPLICATES, _pairs(identities, duplicates), stage.fingerprint)
    members = pa.table(
        {
            "identity_id": identities["identity_id"],
            "subspace_id": pa.array(found.subspace_id, pa.int32()),
            "similarity": pa.array(found.similarity, pa.float32()),
        }
    )
    if (found.second_id >= 0).any():
        second = pa.array(found.second_id, pa.int32(), mask=found.second_id < 0)
        members = members.append_column("second_subspace_id", second)
    write_parquet(stage.folder.subspaces, SUBSPACES, members, stage.fingerprint)


def _pairs(identities: pa.Table, duplicates: Duplicates) -> pa.Table:
    columns: dict[str, Any] = {}
    for side, rows in (("a", duplicates.a), ("b", duplicates.b)):
        of_side = identities.take(pa.array(rows))
        for name in ("identity_id", "identity", "images"):
            columns[f"{name}_{side}"] = of_side[name]
    return pa.table(
        {
            **columns,
            "similarity": pa.array(duplicates.similarity),
            "expected": pa.array(duplicates.expected),
        }
    )
