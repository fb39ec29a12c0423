"""When to re-cluster, and from which means: the demo's glyphs, 1,200 steps in every arm.

    python benchmarks/recluster_on_demo.py OUT [SEED ...]

Runs that are finished in OUT are read, not run again. A second table says how well running means stand in for
extracted ones: both of the same network, at the end of every round of the arm `extract`.
"""

from __future__ import annotations

import json
import statistics
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from losses_on_demo import REPOSITORY, subspace

from subspace.mining.clustering.neighbors import neighbor_recall
from subspace.mining.clustering.subspaces import cluster_identities
from subspace.train.checkpoint import load_running_means

METRICS = ("Rank-1", "TAR@FAR=1e-2", "TAR@FAR=1e-3", "TAR@FAR=1e-4")
COMMON = [
    "pretrain.steps=400",
    "pretrain.P=48",
    "pretrain.optimizer.lr=2e-3",
    "pretrain.optimizer.warmup_steps=50",
    "cluster.ids_per_subspace=100",
    "plan.P=40",
    "plan.K=4",
    "plan.strategy=subspace",
    "train.loss=batch_ohnm",
    "extract.max_images=null",
    "recluster.refresh=extract",
    "train.optimizer.warmup_steps=30",
    "eval.probes_per_identity=null",
    "eval.bootstrap=10",
]
ARMS = {
    "once": ["rounds=1", "plan.steps=1200"],
    # Never stale, but the running means are gathered for the second table.
    "extract, every 200 steps": [
        "rounds=6",
        "plan.steps=200",
        "recluster.stale_below=0.01",
        "recluster.check_every=100000",
    ],
    "running, every 200 steps": ["rounds=6", "plan.steps=200", "recluster.refresh=running"],
    "extract, when r@10 < 0.8": [
        "rounds=1",
        "plan.steps=1200",
        "recluster.stale_below=0.8",
        "recluster.check_every=50",
    ],
    "running, when r@10 < 0.8": [
        "rounds=1",
        "plan.steps=1200",
        "recluster.stale_below=0.8",
        "recluster.check_every=50",
        "recluster.refresh=running",
    ],
}


def finished(out: Path, arm: str, seed: int) -> Path:
    """The run of an arm, made where it is missing."""
    run = out / f"{arm.replace(' ', '-').replace(',', '').replace('<', 'below')}-{seed}"
    if not (run / "subspace.yaml").exists():
        manifest = REPOSITORY / "data_manifests" / "demo.parquet"
        subspace("init", run, "--manifest", manifest, *COMMON, *ARMS[arm], f"seed={seed}")
    subspace("run", run, "--quiet")
    return run


def row(arm: str, runs: list[Path]) -> str:
    """Means over the seeds, with standard deviations of the metrics."""
    cells = []
    for metric in METRICS:
        values = [100 * last(run)[metric]["value"] for run in runs]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.1f}{spread}")
    rounds = statistics.mean(len(list(run.glob("round-*"))) for run in runs)
    mining = statistics.mean(seconds(run, ("extract", "cluster", "plan")) for run in runs)
    training = statistics.mean(seconds(run, ("train",)) for run in runs)
    return f"| {arm} | {rounds:.1f} | {' | '.join(cells)} | {mining:.0f} | {training:.0f} |"


def last(run: Path) -> dict[str, dict[str, float]]:
    """The metrics after the last round."""
    return json.loads((max(run.glob("round-*")) / "evaluation.json").read_text())["metrics"]


def seconds(run: Path, stages: tuple[str, ...]) -> float:
    """What the markers of some stages add up to."""
    markers = [marker for stage in stages for marker in run.glob(f"round-*/done/{stage}.json")]
    return sum(json.loads(marker.read_text())["seconds"] for marker in markers)


def means_of(folder: Path) -> np.ndarray:
    """The mean column of a round's identities, float32[N, D]."""
    column = pq.read_table(folder / "identities.parquet")["mean"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), -1)


def stand_ins(run: Path) -> list[str]:
    """For every round: how near running and old means are to extracted ones, and r@10 of subspaces made of each."""
    rows = []
    folders = sorted(run.glob("round-*"))
    for before, after in pairwise(folders):
        fresh, old = means_of(after), means_of(before)
        running = load_running_means(before / "checkpoint").means()
        near = [float(np.mean(np.sum(means * fresh, axis=1))) for means in (old, running)]
        recalls = []
        for means in (fresh, running, old):
            found = cluster_identities(means, ids_per_subspace=100, seed=0)
            recalls.append(neighbor_recall(fresh, found.subspace_id, k=10, queries=1200))
        cells = " | ".join(f"{value:.3f}" for value in (*near, *recalls))
        rows.append(f"| {after.name} | {cells} |")
    return rows


def main(out: Path, seeds: list[int]) -> None:
    """Train what is missing and print both tables."""
    print(f"| re-cluster | rounds | {' | '.join(METRICS)} | mining s | training s |")
    print(f"|{'---|' * (len(METRICS) + 4)}", flush=True)
    for arm in ARMS:
        print(row(arm, [finished(out, arm, seed) for seed in seeds]), flush=True)
    print(
        "\n| before | cosine old to fresh | cosine running to fresh | r@10 of fresh | r@10 of running | r@10 of old |"
    )
    print(f"|{'---|' * 6}")
    for line in stand_ins(finished(out, "extract, every 200 steps", seeds[0])):
        print(line, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]] or [0, 1, 2])
