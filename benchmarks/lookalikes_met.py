"""How often an anchor meets a look-alike in its batch: the plans of runs beside each other, random ones and subspaces.

    python benchmarks/lookalikes_met.py data/quality/runs/words-1m/RUN data/quality/runs/words-100k/RUN ...

Look-alikes are the ten nearest of an identity by the means that the plan was made of, found exactly. A line for each run, over
anchors from batches all over its first plan.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import faiss
import numpy as np
import pyarrow.dataset
import pyarrow.parquet as pq

from subspace.mining.clustering.mean_table import MeanTable

BATCHES, ANCHORS, NEAREST = 800, 16, 10
"""Batches looked at, anchors of each, and look-alikes of an anchor."""


def main(runs: list[Path]) -> None:
    """Print the table."""
    print(
        "| run | identities | of the ten nearest in the batch | anchors that meet one, % "
        "| cosine of the nearest in the batch | of the nearest of all |"
    )
    print(f"|{'---|' * 6}")
    for run in runs:
        means, ids, batches = read(run / "round-000")
        met, any_met, in_batch, of_all = looked_at(means, ids, batches)
        counts = f"{len(means):,} | {met:.4f} | {100 * any_met:.2f}"
        print(f"| {run.name} | {counts} | {in_batch:.3f} | {of_all:.3f} |", flush=True)


def read(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means of identities float32[I, D], their ids [I], and the ids in batches from all over the plan [b, P]."""
    identities = folder / "identities.parquet"
    ids = pq.read_table(identities, columns=["identity_id"])["identity_id"].to_numpy()
    plan = pyarrow.dataset.dataset(folder / "plan", format="parquet").to_table(
        columns=["step", "identity_ids"]
    )
    plan = plan.sort_by("step")
    rows = np.unique(np.linspace(0, len(plan) - 1, BATCHES).astype(int))
    return MeanTable(identities)[:], ids, np.stack(plan["identity_ids"].take(rows).to_pylist())


def looked_at(means: np.ndarray, ids: np.ndarray, batches: np.ndarray) -> tuple[float, float, float, float]:
    """Look-alikes in the batch of an anchor, the share of anchors that have one, and the two mean cosines."""
    order = np.argsort(ids)
    rows = order[np.searchsorted(ids, batches, sorter=order)]
    anchors = rows[:, np.linspace(0, rows.shape[1] - 1, ANCHORS).astype(int)]
    similarity, nearest = faiss.knn(
        means[anchors.ravel()], means, NEAREST + 1, metric=faiss.METRIC_INNER_PRODUCT
    )
    met, in_batch, of_all = [], [], []
    for place, anchor in enumerate(anchors.ravel()):
        batch = rows[place // ANCHORS]
        others = batch[batch != anchor]
        alike = nearest[place] != anchor
        met.append(np.isin(nearest[place][alike][:NEAREST], others).sum())
        in_batch.append((means[others] @ means[anchor]).max())
        of_all.append(similarity[place][alike][0])
    return (
        float(np.mean(met)),
        float(np.mean(np.array(met) > 0)),
        float(np.mean(in_batch)),
        float(np.mean(of_all)),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs with a plan")
    main(parser.parse_args().runs)
