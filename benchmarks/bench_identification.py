"""Rank-1, 5 and 10 of 10,000 probes in a gallery of a million, against the bare matrix product in the same tiles.

Both sides in one process, in turn: ours with everything that a rank needs, the product alone into a
tile that is used again. Three networks: a good one finds nearly all probes at once, a fair one half of them, and from a bad
one nothing can be passed over. Peak memory is that of the process, embeddings included.

    OMP_NUM_THREADS=1 python benchmarks/bench_identification.py
"""

from __future__ import annotations

import argparse
import resource
import time
from statistics import median

import numpy as np
import torch

from subspace.mining.evaluation import MatedProbes, rank_k_rates
from subspace.mining.evaluation.similarity_counts import tile_shape

NETWORKS = {"good": 0.6, "fair": 1.9, "bad": 30.0}
"""Length of the noise that a probe has and its mate has not, its mate being of length 1."""


def embeddings(
    gallery: int, probes: int, dimensions: int, noise: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gallery, probes and the probes' identities: unit rows, made block by block."""
    rng = np.random.default_rng(0)
    rows = np.empty((gallery, dimensions), np.float32)
    for top in range(0, gallery, 65_536):
        some = rows[top : top + 65_536]
        some[:] = rng.standard_normal(some.shape, np.float32)
        some /= np.linalg.norm(some, axis=1, keepdims=True)
    who = np.sort(rng.choice(gallery, probes, replace=False))
    away = rng.standard_normal((probes, dimensions), np.float32) * np.float32(noise / dimensions**0.5)
    probe = rows[who] + away
    return rows, probe / np.linalg.norm(probe, axis=1, keepdims=True), who


def bare_product(gallery: np.ndarray, probe: np.ndarray, device: torch.device) -> float:
    """Seconds of the product alone, in the tiles that ours takes."""
    tile_queries, tile_rows = tile_shape(device, None)
    gallery_GD, probe_PD = (torch.from_numpy(rows).to(device) for rows in (gallery, probe))
    room = torch.empty(min(tile_queries, len(probe)) * min(tile_rows, len(gallery)), device=device)
    _wait(device)
    began = time.perf_counter()
    for left in range(0, len(gallery), tile_rows):
        others = gallery_GD[left : left + tile_rows]
        for top in range(0, len(probe), tile_queries):
            some = probe_PD[top : top + tile_queries]
            torch.mm(some, others.T, out=room[: len(some) * len(others)].view(len(some), len(others)))
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main(gallery: int, probes: int, dimensions: int, rounds: int, device: str) -> None:
    """Print the table."""
    print("| network | Rank-1 | Rank-10 | ours, s | product, s | ours / product | peak memory, GiB |")
    print("|---|---|---|---|---|---|---|")
    for network, noise in NETWORKS.items():
        rows, probe, who = embeddings(gallery, probes, dimensions, noise)
        mated = MatedProbes.match(rows, np.arange(gallery), probe, who)
        ours, bare, rates = [], [], ()
        few = MatedProbes.match(rows[who[:99]], np.arange(99), probe[:99], np.arange(99))
        rank_k_rates(few, (1,), device=device)  # what sets up
        for _ in range(rounds):
            began = time.perf_counter()
            rates = rank_k_rates(mated, (1, 5, 10), bootstrap=200, device=device)
            seconds = time.perf_counter() - began
            ours.append(seconds)
            bare.append(bare_product(rows, probe, torch.device(device)))
        ratio = median(mine / theirs for mine, theirs in zip(ours, bare, strict=True))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"| {network} | {rates[0].value:.3f} | {rates[2].value:.3f} | {median(ours):.1f} | {median(bare):.1f} | {ratio:.2f} "
            f"| {peak:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gallery", type=int, default=1_000_000)
    parser.add_argument("--probes", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    main(given.gallery, given.probes, given.dimensions, given.rounds, given.device)
