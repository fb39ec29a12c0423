"""Equal subspaces of a million means against faiss.Kmeans with its assignment, and what the stage does after it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from subspace.mining import cluster_identities, nearest_in_subspace, neighbor_recall, suspected_duplicates

from .measure import Machine, Row, at_most, number, wait

BLOCK = 262_144
AIM = 1.3
"""Times that the clustering may take of FAISS's."""
PATIENCE = 60.0
"""Seconds that a part of the rest may take; one that a tenth of the means says would take longer is not run on all."""
NEIGHBORS = 7


def clustering_rows(machine: Machine) -> Iterator[Row]:
    """Seconds against FAISS, the same bytes twice, and the rest."""
    try:
        import faiss
    except ImportError:
        yield Row("clustering", "not installed", note="FAISS is missing")
        return
    N, D, per = (4_000, 16, 400) if machine.quick else (1_000_000, 512, 10_000)
    means_ND, M = unit_vectors(N, D, machine.device), N // per
    faiss_on_gpu = machine.on_gpu and getattr(faiss, "get_num_gpus", int)() > 0

    def theirs() -> np.ndarray:
        kmeans = faiss.Kmeans(
            D, M, niter=20, spherical=True, seed=1, gpu=faiss_on_gpu, max_points_per_centroid=256, min_points_per_centroid=1
        )  # fmt: skip
        kmeans.train(means_ND)
        return kmeans.assign(means_ND)[1]

    def ours(rows: np.ndarray = means_ND) -> Any:
        return cluster_identities(rows, ids_per_subspace=per, seed=0, device=machine.device)

    ours(means_ND[: 4 * per])  # the first call of each library sets up
    if faiss_on_gpu:
        faiss.Kmeans(D, 8, niter=2, gpu=True).train(means_ND[:4000])
    turns = [(timed(theirs, machine), timed(ours, machine)) for _ in range(2)]
    their_seconds, our_seconds = (min(turn[side][0] for turn in turns) for side in (0, 1))
    shape = f"{N:,} × {D} into {M}"
    where = "" if faiss_on_gpu or not machine.on_gpu else ", FAISS on the CPU"
    yield at_most(
        f"clustering, {shape}, against faiss.Kmeans and its assignment",
        our_seconds / their_seconds,
        AIM,
        note=f"{number(our_seconds)} and {number(their_seconds)} s{where}",
    )
    found, again = (turn[1][1] for turn in turns)
    same = digest(found) == digest(again)
    yield Row("clustering, the same bytes twice", "yes" if same else "no", "yes", met=same)
    sizes = np.bincount(found.subspace_id)
    yield at_most("clustering, largest subspace against the mean", float(sizes.max() / sizes.mean()), 1.021)
    yield from rest_rows(means_ND, found.subspace_id, our_seconds, machine)


def rest_rows(means_ND: np.ndarray, subspace_id: np.ndarray, limit: float, machine: Machine) -> Iterator[Row]:
    """What follows the clustering in its stage and in the plan's; together no longer than the clustering."""
    M = int(subspace_id.max()) + 1
    some = subspace_id < max(1, M // 10)  # whole subspaces, in which all costs grow with the identities
    total = 0.0
    for name, work in REST.items():
        seconds, _ = timed(lambda work=work: work(means_ND[some], subspace_id[some]), machine)
        seconds *= len(means_ND) / int(some.sum())
        estimated = seconds > PATIENCE
        if not estimated:
            seconds, _ = timed(lambda work=work: work(means_ND, subspace_id), machine)
        total += seconds
        yield Row(
            f"after clustering: {name}",
            f"{number(seconds)} s",
            note="estimated from a tenth of the subspaces" if estimated else "",
        )
    yield at_most("after clustering, all of it, against the clustering", total / limit, 1.0)


def find_duplicates(means_ND: np.ndarray, subspace_id: np.ndarray) -> object:
    """As `subspace cluster` does, with made-up spreads."""
    spread, images = np.full(len(means_ND), 0.3, np.float32), np.full(len(means_ND), 4)
    return suspected_duplicates(means_ND, spread, images, subspace_id)


REST: dict[str, Callable[[np.ndarray, np.ndarray], object]] = {
    "neighbour recall": lambda means, subspace_id: neighbor_recall(means, subspace_id, k=10),
    "suspected duplicates": find_duplicates,
    "neighbours for a plan": lambda means, subspace_id: nearest_in_subspace(means, subspace_id, NEIGHBORS),
}


def timed(work: Callable[[], Any], machine: Machine) -> tuple[float, Any]:
    """Seconds, and what `work` returns."""
    began = time.perf_counter()
    found = work()
    wait(machine.device)
    return time.perf_counter() - began, found


def digest(found: Any) -> str:
    """A hash of a clustering, to the last bit."""
    parts = (found.subspace_id, found.similarity, found.centroids)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def unit_vectors(N: int, D: int, device: str) -> np.ndarray:
    """float32[N, D]: groups of look-alikes of very unlike sizes, in families."""
    noise = torch.Generator(device=device).manual_seed(1)
    groups = max(50, N // 2000)
    families = torch.randn(max(10, groups // 20), D, generator=noise, device=device)
    own = torch.randn(groups, D, generator=noise, device=device)
    family = torch.arange(groups, device=device) % len(families)
    centres = torch.nn.functional.normalize(families[family] + 0.9 * own, dim=1)
    weight = 1 / torch.arange(1, groups + 1, device=device, dtype=torch.float64) ** 0.7
    rows_ND = np.empty((N, D), np.float32)
    for start in range(0, N, BLOCK):
        count = min(BLOCK, N - start)
        group = torch.multinomial(weight, count, True, generator=noise)
        rows = centres[group] + 1.1 / D**0.5 * torch.randn(count, D, generator=noise, device=device)
        rows_ND[start : start + count] = torch.nn.functional.normalize(rows, dim=1).cpu().numpy()
    return rows_ND
