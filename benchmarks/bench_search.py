"""Two-stage search among a million identities against brute force: recall@1 and speed-up, by T; and opening the index.

Data: synthetic embeddings of 128 numbers whose intrinsic dimension is 32. Identities lie in a tree of look-alikes in 32
dimensions (100 branches, 5,000 twigs), lifted linearly to 128; an image is its identity, disturbed inside these 32
dimensions and a little in all 128 (cosine of an image to its identity about 0.88). Two or three images each, and queries are
new images of identities. Brute force is `faiss.knn`, whose blocks are matrix products. One process, one thread, in turn;
CPU seconds, medians of the rounds.

    OMP_NUM_THREADS=1 python benchmarks/bench_search.py --plot docs/benchmarks/search.png
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa

from subspace.mining.index.exact_search import exact_nearest
from subspace.pipeline.console import Console
from subspace.pipeline.searching.index_folder import open_folder
from subspace.pipeline.searching.row_sources import RowSource
from subspace.pipeline.searching.write_index import IndexSettings, write_folder

D, INTRINSIC, BRANCHES, TWIGS, AT_A_TIME = 128, 32, 100, 5_000, 50_000
TS = (1, 3, 10, 30, 100, 300, 1000)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of unit length."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Faces:
    """Identities, and images of them as they are asked for."""

    def __init__(self, identities: int) -> None:
        self.random = np.random.default_rng(0)
        self.lift = np.linalg.qr(self.normal(D, INTRINSIC))[0].T.astype(np.float32)
        branch = self.normal(BRANCHES, INTRINSIC)
        twig = branch[self.random.integers(0, BRANCHES, TWIGS)] + 0.8 * self.normal(TWIGS, INTRINSIC)
        of = self.random.integers(0, TWIGS, identities)
        self.identity = unit(twig[of] + 0.9 * self.normal(identities, INTRINSIC))
        self.count = self.random.integers(2, 4, identities)

    def normal(self, *shape: int) -> np.ndarray:
        """Normal numbers."""
        return self.random.standard_normal(shape, dtype=np.float32)

    def images(self, of: np.ndarray) -> np.ndarray:
        """An image of each identity that is named."""
        inside = self.identity[of] + 0.45 * self.normal(len(of), INTRINSIC) / INTRINSIC**0.5
        return unit(inside @ self.lift + 0.3 * self.normal(len(of), D) / D**0.5)

    def blocks(self) -> Iterator[np.ndarray]:
        """All images, in order."""
        of = np.repeat(np.arange(len(self.count)), self.count)
        for start in range(0, len(of), AT_A_TIME):
            yield self.images(of[start : start + AT_A_TIME])


def medians(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """CPU seconds of each, medians; they take turns, forwards and backwards; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name in list(contenders)[:: 1 if turn % 2 else -1]:
            began = time.process_time()
            contenders[name]()
            if turn:
                seconds[name].append(time.process_time() - began)
    return {name: statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--identities", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", default="auto")
    parser.add_argument("--folder", type=Path, help="where the index lies meanwhile, about 2 KB an identity")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    faiss.omp_set_num_threads(1)
    faces = Faces(given.identities)
    images = int(faces.count.sum())
    names = [f"{number:08d}" for number in range(given.identities)]
    identity = np.repeat(np.arange(given.identities), faces.count)
    source = RowSource(identity, names, pa.array(np.arange(images)).cast(pa.large_string()), faces.blocks)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        began = time.process_time()
        write_folder(Path(folder), [source], IndexSettings(D, kind=given.kind), Console())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"made in {time.process_time() - began:.0f} CPU s with its images, peak {peak:.2f} GiB",
            flush=True,
        )
        opening = []
        for _ in range(5):
            began = time.perf_counter()
            opened = open_folder(Path(folder))
            opened.identity_names.at(np.array([given.identities - 1]))
            opening.append(time.perf_counter() - began)
        print(f"opened and one name read in {statistics.median(opening):.3f} s", flush=True)
        of = faces.random.integers(0, given.identities, given.queries)
        compare(opened.gallery, faces.images(of), of, given.rounds, given.plot)


def compare(gallery, queries: np.ndarray, of: np.ndarray, rounds: int, plot: Path | None) -> None:
    """Print a row for each way to search, and draw them."""
    means, images = np.array(gallery.means.rows), np.array(gallery.images.rows)
    best_image = gallery.identity_of(exact_nearest(queries, images, 1)[1][:, 0])
    best_mean = exact_nearest(queries, means, 1)[1][:, 0]
    product = faiss.METRIC_INNER_PRODUCT
    contenders: dict[str, Callable[[], object]] = {
        "brute force over images": lambda: faiss.knn(queries, images, 10, metric=product),
        "brute force over means": lambda: faiss.knn(queries, means, 10, metric=product),
        "means, index": lambda: gallery.means.nearest(queries, 10),
        **{
            f"two stages, T={T}": lambda T=T: gallery.search(queries, min(10, T), T=T)
            for T in TS
            if len(means) >= T
        },
    }
    seconds = medians(contenders, rounds)
    print("| search | ms a query (CPU) | speed-up | recall@1 of brute force | right |\n|---|---|---|---|---|")
    curve = []
    for name in contenders:
        against = "means" if "means" in name else "images"
        truth = best_mean if against == "means" else best_image
        if name.startswith("two"):
            T = int(name.partition("=")[2])
            found = gallery.search(queries, 1, T=T).identity[:, 0]
        else:
            found = gallery.means.nearest(queries, 1)[1][:, 0] if "index" in name else truth
        ratio = seconds[f"brute force over {against}"] / seconds[name]
        recall, right = float((found == truth).mean()), float((found == of).mean())
        if name.startswith("two"):
            curve.append((T, recall, ratio))
        print(
            f"| {name} | {1000 * seconds[name] / len(queries):.3f} | {ratio:.1f} | {recall:.4f} | {right:.3f} |"
        )
    if plot is not None:
        draw(curve, plot)


def draw(curve: list[tuple[int, float, float]], path: Path) -> None:
    """Recall and speed-up against T."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    T, recall, ratio = zip(*curve, strict=True)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    left.plot(T, recall, "o-", color="#1f6f8b")
    left.axhline(0.99, color="#888", linestyle="--", linewidth=1)
    left.annotate("wanted: 0.99", (T[-1], 0.99), va="bottom", ha="right", color="#666")
    left.set(xscale="log", xlabel="T, identities whose images are compared", ylabel="recall@1 of brute force")
    right.plot(T, ratio, "o-", color="#b5541c")
    right.axhline(20, color="#888", linestyle="--", linewidth=1)
    right.annotate("wanted: 20", (T[0], 20), va="bottom", ha="left", color="#666")
    right.set(xscale="log", yscale="log", xlabel="T", ylabel="times as fast as brute force (CPU time)")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
