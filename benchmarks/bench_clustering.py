"""Balanced clustering against FAISS's k-means, scikit-learn's and k-means-constrained, and against a bare product.

Data: look-alikes in a tree of three levels whose branches have very unequal populations (Zipf), with noise,
so that plain k-means is uneven, as it is on people. All in one process, in turn; medians of the rounds. CPU and wall
seconds are divided by those of FAISS's k-means and its assignment.

    python benchmarks/bench_clustering.py                     # 1,000,000 × 512 into 100, and smaller ones
    python benchmarks/bench_clustering.py --cost --device cuda  # ours and FAISS alone, on a GPU
    python benchmarks/bench_clustering.py --large 10000000    # from Parquet on disk, with peak memory
    pip install k-means-constrained                           # for its rows; it pins an older protobuf
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sklearn.cluster import MiniBatchKMeans

from subspace.mining import cluster_identities, neighbor_recall
from subspace.mining.clustering.mean_blocks import MeanBlocks
from subspace.mining.clustering.mean_table import MeanTable

NITER, ROWS_PER_GROUP = 20, 20_000
COSTS = (
    (100_000, 128, 10),
    (100_000, 256, 10),
    (300_000, 256, 30),
    (300_000, 512, 30),
    (1_000_000, 512, 100),
)
DEVICE = "cpu"


def identity_means(N: int, D: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Unit means in blocks: 300 branches of 12 of 12, populations Zipf-like; ten nearest at cosine 0.75 to 0.8."""
    random = np.random.default_rng(seed)
    spectrum = (np.arange(1, D + 1) ** -0.35).astype(np.float32)

    def directions(n: int) -> np.ndarray:
        drawn = random.standard_normal((n, D), dtype=np.float32) * spectrum
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    tree = directions(300)
    for _ in range(2):
        tree = np.repeat(tree, 12, axis=0) + 0.8 * directions(12 * len(tree))
    population = np.repeat(np.arange(1, 301) ** -0.6, 144) * random.exponential(size=len(tree))
    for start in range(0, N, ROWS_PER_GROUP):
        n = min(ROWS_PER_GROUP, N - start)
        leaf = random.choice(len(tree), n, p=population / population.sum())
        means = tree[leaf] + 0.9 * directions(n)
        yield means / np.linalg.norm(means, axis=1, keepdims=True)


def faiss_plain(means: np.ndarray, M: int) -> tuple[np.ndarray, float]:
    """FAISS's k-means as everybody calls it: subspace of each identity, mean cosine to its centroid."""
    kmeans = faiss.Kmeans(means.shape[1], M, niter=NITER, spherical=True, seed=1, gpu=DEVICE == "cuda")
    kmeans.train(means)
    similarity, subspace_id = kmeans.assign(means)
    return subspace_id, float(similarity.mean())


def ours(means: np.ndarray, M: int, **settings: str) -> tuple[np.ndarray, float]:
    """Ours with its defaults."""
    found = cluster_identities(
        means, ids_per_subspace=len(means) // M, niter=NITER, seed=1, device=DEVICE, **settings
    )
    return found.subspace_id, float(found.similarity.mean())


def minibatch(means: np.ndarray, M: int) -> tuple[np.ndarray, float]:
    """scikit-learn's MiniBatchKMeans."""
    fitted = MiniBatchKMeans(M, max_iter=NITER, n_init=1, random_state=1).fit(means)
    return fitted.labels_, cosine_to_own(means, fitted.labels_)


def constrained(means: np.ndarray, M: int) -> tuple[np.ndarray, float]:
    """k-means-constrained: a minimum-cost flow in every iteration."""
    from k_means_constrained import KMeansConstrained

    share = len(means) / M
    fitted = KMeansConstrained(
        M, size_min=int(share * 0.98), size_max=int(share * 1.02), max_iter=NITER, n_init=1, random_state=1
    ).fit(means)
    return fitted.labels_, cosine_to_own(means, fitted.labels_)


def cosine_to_own(means: np.ndarray, subspace_id: np.ndarray) -> float:
    """Mean cosine to the direction of the own subspace's sum."""
    centroids = np.stack([means[subspace_id == j].sum(axis=0) for j in range(subspace_id.max() + 1)])
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    return float(np.einsum("nd,nd->n", means, centroids[subspace_id]).mean())


def compare(N: int, D: int, M: int, contenders: dict[str, Callable], rounds: int) -> None:
    """Print a row for each: CPU and wall seconds beside those of the first, sizes, recall and distortion."""
    means, results = np.concatenate(list(identity_means(N, D))), {}
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name in list(contenders)[:: 1 if turn % 2 else -1]:
            began, began_cpu = time.perf_counter(), time.process_time()
            results[name] = contenders[name](means, M)
            if turn:  # the first warms up
                cpu[name].append(time.process_time() - began_cpu)
                wall[name].append(time.perf_counter() - began)
    first = next(iter(contenders))
    for name, (subspace_id, similarity) in results.items():
        sizes, recall = np.bincount(subspace_id), neighbor_recall(means, subspace_id, k=10, queries=2000)
        ratios = [
            statistics.median(seconds[name]) / statistics.median(seconds[first]) for seconds in (cpu, wall)
        ]
        print(
            f"| {N:,} × {D} into {M} | {name} | {ratios[0]:.2f} | {ratios[1]:.2f} | "
            f"{statistics.median(cpu[name]):.2f} | {sizes.max() / sizes.mean():.3f} | {recall:.3f} | "
            f"{1 - similarity:.4f} |",
            flush=True,
        )


def write_means(path: Path, N: int, D: int) -> None:
    """The means as a Parquet column, uncompressed: float32 noise does not compress."""
    schema = pa.schema({"mean": pa.list_(pa.float32(), D)})
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for block in identity_means(N, D):
            column = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), D)
            writer.write_table(pa.table({"mean": column}, schema=schema))


def large_side(side: str, path: Path, M: int) -> None:
    """One side of the large comparison, in a process of its own: its seconds and its peak memory."""
    table, started, told = MeanTable(path), time.perf_counter(), ""
    if side == "ours":
        found = cluster_identities(
            table, ids_per_subspace=table.shape[0] // M, niter=NITER, seed=1, device=DEVICE
        )
        told = f"max/mean {found.sizes.max() / found.sizes.mean():.3f}, distortion {1 - found.similarity.mean():.4f}, "
        told += f"unbalanced {1 - found.plain_similarity:.4f}"
    else:
        centroids = torch.from_numpy(next(identity_means(M, table.shape[1])))
        for _, rows in MeanBlocks(table):
            for part in torch.tensor(rows).split(2048):
                (part @ centroids.T).argmax(1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{side}: {time.perf_counter() - started:.1f} s, peak memory {peak:.2f} GiB {told}", flush=True)


def main() -> None:
    """Print the tables, or with --large one line a side."""
    global DEVICE
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", type=int, metavar="N", help="identities on disk, N × 512 into N / 10,000")
    parser.add_argument("--folder", type=Path, help="where to put them (2 KB each), removed afterwards")
    parser.add_argument("--cost", action="store_true", help="ours and FAISS alone, at five sizes")
    parser.add_argument("--up-to", type=int, default=1_000_000, help="largest number of identities")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    DEVICE = arguments.device
    faiss.omp_set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    if arguments.side:
        large_side(arguments.side, arguments.folder, max(2, arguments.large // 10_000))
    elif arguments.large:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            path, started = Path(folder, "means.parquet"), time.perf_counter()
            write_means(path, arguments.large, 512)
            print(f"{arguments.large:,} × 512 written in {time.perf_counter() - started:.0f} s", flush=True)
            for side in ("bare product and argmax", "ours"):
                here = [sys.executable, __file__, "--large", str(arguments.large)]
                subprocess.run([*here, "--folder", str(path), "--side", side], check=True)
    else:
        print(
            "| means | method | CPU s / FAISS's | wall s / FAISS's | CPU s | max/mean size | r@10 | distortion |\n"
            "|---|---|---|---|---|---|---|---|"
        )
        large: dict[str, Callable] = {"FAISS k-means": faiss_plain, "ours": ours}
        for N, D, M in COSTS if arguments.cost else COSTS[-1:]:
            if arguments.up_to >= N:
                compare(N, D, M, large, arguments.rounds)
        if not arguments.cost:
            small = {"FAISS k-means": faiss_plain, "MiniBatchKMeans": minibatch, "ours": ours}
            compare(20_000, 64, 20, small, arguments.rounds)
            compare(10_000, 64, 10, {**small, "k-means-constrained": constrained}, rounds=1)


if __name__ == "__main__":
    main()
