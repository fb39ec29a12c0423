"""`subspace cluster`: identity means to subspaces of look-alikes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from ...mining.artifacts import read_parquet, write_parquet
from ...mining.clustering.duplicates import Duplicates, suspected_duplicates
from ...mining.clustering.mean_blocks import MeanBlocks
from ...mining.clustering.mean_table import MeanTable
from ...mining.clustering.neighbors import sampled_neighbors
from ...mining.clustering.quality import adjusted_rand_index, subspace_similarity
from ...mining.clustering.settings import SubspaceConfig
from ...mining.clustering.subspaces import SAMPLE_BYTES, Subspaces, cluster_identities, subspace_count
from ...mining.randomness import derived_seed
from ...mining.schemas import CENTROIDS, DUPLICATES, SUBSPACES, vector
from ..config import RunConfig
from ..console import amount
from ..run_directory import RunDirectory
from .round_tables import read_identities
from .stage import Options, Stage, done_fingerprint, flat_fields, run_stage

RECALL_AT = 10
LARGEST_SEARCHED = 200_000
"""Identities of a subspace up to which each is compared with all others for duplicates."""


def cluster_stage(run: RunDirectory, config: RunConfig, round_index: int) -> Stage:
    """The stage, for this configuration and the identity means of the round."""
    folder = run.round(round_index)
    return Stage(
        "cluster",
        folder,
        {
            "identities": done_fingerprint(
                folder, "extract", f"subspace extract {run.path} --round {round_index}"
            ),
            "seed": config.seed,
            "round": round_index,
            **flat_fields("cluster", config.cluster.model_dump(), without=("recall_queries",)),
        },
        ("subspaces.parquet", "centroids.parquet", "duplicates.parquet"),
        f"subspace cluster {run.path} --round {round_index}",
    )


def cluster(run: RunDirectory, config: RunConfig, options: Options, *, round_index: int) -> dict[str, Any]:
    """Cluster the identity means of a round; write subspaces, centroids and suspected duplicates."""
    stage, settings = cluster_stage(run, config, round_index), config.cluster

    def estimate() -> str:
        N, D = MeanTable(stage.folder / "identities.parquet").shape
        M = subspace_count(N, settings.ids_per_subspace)
        products = (
            settings.niter * min(N, settings.max_points_per_centroid * M) + N
        ) * M + settings.recall_queries * N
        if settings.duplicates_within is not None and N // M <= LARGEST_SEARCHED:
            products += N * N // M
        return (
            f"{N:,} identity means into {M:,} subspace(s), about {max(1, 2 * D * products / _flops()):,.0f} s, "
            f"{amount(min(4 * N * D, SAMPLE_BYTES) + 80 * N)} of memory, {amount(N * 12 + M * D * 4)} of disk"
        )

    def work() -> dict[str, Any]:
        identities = read_identities(run, round_index, ["identity_id", "identity", "images", "spread"])
        means = MeanTable(stage.folder / "identities.parquet")
        with options.console.progress("cluster", 3 * len(means), "means") as progress:
            found = cluster_identities(
                means,
                ids_per_subspace=settings.ids_per_subspace,
                tolerance=settings.tolerance,
                balance=settings.balance,
                overlap=settings.overlap,
                niter=settings.niter,
                max_points_per_centroid=settings.max_points_per_centroid,
                flat_up_to=settings.flat_up_to,
                seed=derived_seed(config.seed, "cluster", round_index),
                progress=progress.update,
            )
            neighbors = sampled_neighbors(
                means,
                k=RECALL_AT,
                queries=settings.recall_queries,
                seed=recall_seed(config, round_index),
                progress=progress.update,
            )
            inside, between = subspace_similarity(
                _told(MeanBlocks(means), progress.update), found.subspace_id
            )
        kept = _kept(run, round_index, identities["identity_id"].to_numpy(), found.subspace_id)
        duplicates = _duplicates(stage, settings, means, identities, found.subspace_id, options)
        _write(stage, identities, found, duplicates)
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
            "duplicates": None if duplicates is None else len(duplicates),
        }
        for words in _in_words(summary, sizes, settings):
            options.console.say(f"{stage.folder.name}/cluster: {words}")
        return summary

    return run_stage(stage, options, estimate, work)


def _told(blocks: MeanBlocks, progress: Callable[[int], None]) -> Iterator[np.ndarray]:
    for _, rows in blocks:
        yield rows
        progress(len(rows))


def _kept(
    run: RunDirectory, round_index: int, identity_id: np.ndarray, subspace_id: np.ndarray
) -> float | None:
    """Adjusted Rand index against the round before, over the identities of both; None in the first round."""
    if round_index == 0 or not (run.round(round_index - 1) / "subspaces.parquet").exists():
        return None
    before = read_parquet(
        run.round(round_index - 1) / "subspaces.parquet", SUBSPACES, ["identity_id", "subspace_id"]
    )
    _, now, then = np.intersect1d(identity_id, before["identity_id"].to_numpy(), return_indices=True)
    return adjusted_rand_index(subspace_id[now], before["subspace_id"].to_numpy()[then])


def _duplicates(
    stage: Stage,
    settings: SubspaceConfig,
    means: MeanTable,
    identities: pa.Table,
    subspace_id: np.ndarray,
    options: Options,
) -> Duplicates | None:
    """Suspected duplicates; None where they were not asked for, or one huge subspace would mean all against all."""
    if settings.duplicates_within is None:
        return None
    if np.bincount(subspace_id).max() > LARGEST_SEARCHED:
        options.console.say(
            f"{stage.folder.name}/cluster: a subspace of more than {LARGEST_SEARCHED:,} identities is not searched "
            f"for duplicates"
        )
        return None
    return suspected_duplicates(
        means.as_array(stage.folder),
        identities["spread"].to_numpy(),
        identities["images"].to_numpy(),
        subspace_id,
        within=settings.duplicates_within,
    )


def recall_seed(config: RunConfig, round_index: int) -> int:
    """Decides which identities neighbour recall is measured on."""
    return derived_seed(config.seed, "recall", round_index)


def _flops() -> float:
    """Floating-point operations a second of a matrix product here, from the better of two."""
    a, seconds = np.ones((1024, 512), np.float32), []
    for _ in range(2):
        started = time.perf_counter()
        _ = a @ a.T
        seconds.append(time.perf_counter() - started)
    return 2 * 1024 * 1024 * 512 / min(seconds)


def _in_words(summary: dict[str, Any], sizes: np.ndarray, settings: SubspaceConfig) -> list[str]:
    lines = ["one subspace holds everybody: batches are random"]
    if len(sizes) > 1:
        recall, own, plain = (
            summary[key] for key in (f"recall@{RECALL_AT}", "similarity", "plain_similarity")
        )
        overlapping = f", {summary['overlapping_recall']:.3f} with the overlap" if settings.overlap else ""
        lines = [
            f"{len(sizes):,} subspaces of {sizes.min():,} to {sizes.max():,} identities (median "
            f"{np.median(sizes):,.0f}), r@{RECALL_AT} = {recall:.3f}{overlapping}: an anchor's look-alikes are in its "
            f"batch {summary['gain']:,.1f} times as often as in a random one"
        ]
        quality = [f"distortion {1 - own:.4f}"]
        if settings.balance != "none":
            quality[0] += f" ({1 - plain:.4f} by the nearest centroid)"
        if summary["inside"] is not None:
            quality.append(
                f"cosine {summary['inside']:.3f} inside, {summary['between']:.3f} between subspaces"
            )
        if summary["kept"] is not None:
            quality.append(f"adjusted Rand index {summary['kept']:.2f} to the round before")
        lines.append("; ".join(quality))
    if summary["duplicates"]:
        lines.append(f"{summary['duplicates']:,} pairs of suspected duplicates, in duplicates.parquet")
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
    write_parquet(stage.folder / "centroids.parquet", CENTROIDS, centroids, stage.fingerprint)
    if duplicates is not None:
        write_parquet(
            stage.folder / "duplicates.parquet", DUPLICATES, _pairs(identities, duplicates), stage.fingerprint
        )
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
    write_parquet(stage.folder / "subspaces.parquet", SUBSPACES, members, stage.fingerprint)


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
