"""What equal sizes cost where populations are uneven: subspaces by tolerance, beside plain k-means.

    make words
    python benchmarks/quality/run_rows.py --data words-100k --visits 3 --budget steps --arm ...   # extracts the means
    python benchmarks/tolerance_of_subspaces.py data/quality/small/means-words-100k-0/round-000/identities.parquet
    python benchmarks/tolerance_of_subspaces.py --made    # 200,000 made means of Zipf-like populations into 500

Languages are uneven populations, and so are long and short words. r@10 is the share of the ten nearest that are in the same
subspace; a large subspace holds more of everything, so the gain divides by its size.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from bench_clustering import identity_means

from subspace.mining import cluster_identities
from subspace.mining.clustering.mean_table import MeanTable
from subspace.mining.clustering.neighbors import SampledNeighbors, sampled_neighbors

TOLERANCES = (0.02, 0.1, 0.3, 1.0)
QUERIES = 4000
MADE = 200_000, 512, 400
"""Identities, numbers, and identities in a subspace."""


def main(path: Path | None, seeds: int) -> None:
    """Print one row for each size and tolerance, means over the seeds."""
    if path:
        means, subspace_sizes = MeanTable(path)[:], (1_000, 10_000)
    else:
        means, subspace_sizes = np.concatenate(list(identity_means(*MADE[:2]))), MADE[2:]
    neighbors = sampled_neighbors(means, queries=QUERIES)
    print(f"{len(means):,} identities of {means.shape[1]} numbers, {seeds} seeds")
    print(
        "| identities a subspace | tolerance | r@10 | times as often as in a random batch "
        "| smallest / mean size | largest / mean size |"
    )
    print(f"|{'---|' * 6}")
    for n in subspace_sizes:
        for tolerance in (*TOLERANCES, None):
            found = [judged(means, neighbors, n, tolerance, seed) for seed in range(seeds)]
            recall, gain, smallest, largest = np.mean(found, axis=0)
            told = f"{tolerance:g}" if tolerance else "none: plain k-means"
            print(
                f"| {n:,} | {told} | {recall:.3f} | {gain:.2f} | {smallest:.2f} | {largest:.2f} |", flush=True
            )


def judged(
    means: np.ndarray, neighbors: SampledNeighbors, n: int, tolerance: float | None, seed: int
) -> tuple[float, float, float, float]:
    """r@10, gain, and the smallest and largest size divided by their mean."""
    how = {"tolerance": tolerance} if tolerance else {"balance": "none"}
    found = cluster_identities(means, ids_per_subspace=n, seed=seed, **how)
    share = found.sizes / found.sizes.mean()
    return neighbors.recall(found.subspace_id), neighbors.gain(found.subspace_id), share.min(), share.max()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("means", type=Path, nargs="?", help="identities.parquet of an extraction")
    what.add_argument("--made", action="store_true", help="a hard case instead")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    main(options.means, options.seeds)
