"""`subspace cluster`: identity means to subspaces of look-alikes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa

from ..mining.artifacts import open_parquet, read_parquet, write_parquet
from ..mining.neighbors import neighbor_recall
from ..mining.randomness import derived_seed
from ..mining.schemas import CENTROIDS, IDENTITIES, SUBSPACES, vector
from ..mining.subspaces import Subspaces, cluster_identities
from .config import RunConfig
from .console import amount
from .run_directory import RunDirectory
from .stage import Options, Stage, done_fingerprint, flat_fields, run_stage

RECALL_AT = 10


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
        ("subspaces.parquet", "centroids.parquet"),
        f"subspace cluster {run.path} --round {round_index}",
    )


def cluster(run: RunDirectory, config: RunConfig, options: Options, *, round_index: int) -> dict[str, Any]:
    """Cluster the identity means of a round and write subspaces and centroids."""
    stage = cluster_stage(run, config, round_index)

    def estimate() -> str:
        identities = read_identities(run, round_index, columns=["identity_id"]).num_rows
        D = open_parquet(stage.folder / "identities.parquet").schema_arrow.field("mean").type.list_size
        wanted = config.cluster.ids_per_subspace
        M = 1 if wanted == "all" else max(1, round(identities / wanted))
        fitted = min(identities, M * config.cluster.max_points_per_centroid)
        products = (
            config.cluster.niter * fitted + identities
        ) * M + config.cluster.recall_queries * identities
        return (
            f"{identities:,} identity means into {M:,} subspace(s), about {max(1, 2 * D * products / _flops()):,.0f} s, "
            f"{amount(2 * identities * D * 4)} of memory, {amount(identities * 12 + M * D * 4)} of disk"
        )

    def work() -> dict[str, Any]:
        identities = read_identities(run, round_index)
        means = means_of(identities)
        subspaces = cluster_identities(
            means,
            ids_per_subspace=config.cluster.ids_per_subspace,
            tolerance=config.cluster.tolerance,
            balance=config.cluster.balance,
            overlap=config.cluster.overlap,
            niter=config.cluster.niter,
            max_points_per_centroid=config.cluster.max_points_per_centroid,
            flat_up_to=config.cluster.flat_up_to,
            seed=derived_seed(config.seed, "cluster", round_index),
        )
        recall = neighbor_recall(
            means,
            subspaces.subspace_id,
            k=RECALL_AT,
            queries=config.cluster.recall_queries,
            seed=recall_seed(config, round_index),
        )
        _write(stage, identities, subspaces)
        sizes = subspaces.sizes
        options.console.say(f"{stage.folder.name}/cluster: {_in_words(sizes, recall)}")
        return {
            "subspaces": len(sizes),
            "smallest": int(sizes.min()),
            "largest": int(sizes.max()),
            f"recall@{RECALL_AT}": recall,
            "similarity": float(subspaces.similarity.mean()),
        }

    return run_stage(stage, options, estimate, work)


def recall_seed(config: RunConfig, round_index: int) -> int:
    """Decides which identities neighbour recall is measured on."""
    return derived_seed(config.seed, "recall", round_index)


def read_identities(run: RunDirectory, round_index: int, columns: list[str] | None = None) -> pa.Table:
    """The identities table of a round (only `columns`, when given)."""
    return read_parquet(run.round(round_index) / "identities.parquet", IDENTITIES, columns)


def read_subspaces(run: RunDirectory, round_index: int) -> np.ndarray:
    """The subspace of every identity of a round, in the order of the identities table: int32[N]."""
    return read_parquet(run.round(round_index) / "subspaces.parquet", SUBSPACES, ["subspace_id"])[
        "subspace_id"
    ].to_numpy()


def means_of(identities: pa.Table) -> np.ndarray:
    """The mean column as float32[N, D]."""
    mean = identities["mean"].combine_chunks()
    return mean.flatten().to_numpy().reshape(len(identities), -1)


def _flops() -> float:
    """Floating-point operations a second of a matrix product here, from the better of two."""
    a, seconds = np.ones((1024, 512), np.float32), []
    for _ in range(2):
        started = time.perf_counter()
        _ = a @ a.T
        seconds.append(time.perf_counter() - started)
    return 2 * 1024 * 1024 * 512 / min(seconds)


def _in_words(sizes: np.ndarray, recall: float) -> str:
    if len(sizes) == 1:
        return "one subspace holds everybody: batches are random"
    return (
        f"{len(sizes):,} subspaces of {sizes.min():,} to {sizes.max():,} identities (median {np.median(sizes):,.0f}), "
        f"r@{RECALL_AT} = {recall:.3f}: an anchor's look-alikes are in its batch "
        f"{recall * len(sizes):,.1f} times as often as in a random one"
    )


def _write(stage: Stage, identities: pa.Table, subspaces: Subspaces) -> None:
    M, D = subspaces.centroids.shape
    centroids = pa.table(
        {
            "subspace_id": pa.array(np.arange(M), pa.int32()),
            "size": pa.array(subspaces.sizes, pa.int32()),
            "centroid": pa.FixedSizeListArray.from_arrays(
                pa.array(subspaces.centroids.ravel()), type=vector(D)
            ),
        }
    )
    write_parquet(stage.folder / "centroids.parquet", CENTROIDS, centroids, stage.fingerprint)
    members = pa.table(
        {
            "identity_id": identities["identity_id"],
            "subspace_id": pa.array(subspaces.subspace_id, pa.int32()),
            "similarity": pa.array(subspaces.similarity, pa.float32()),
        }
    )
    write_parquet(stage.folder / "subspaces.parquet", SUBSPACES, members, stage.fingerprint)
