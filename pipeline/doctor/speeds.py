"""Short runs on each device: a matrix product in GFLOP/s, and k-means by FAISS and by `subspace cluster`'s own.

They say that the device works at all, gives the right numbers, and about how fast it is while other work goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ...mining.randomness import generator
from .finding import Finding

if TYPE_CHECKING:
    import numpy as np
    import torch

ATOL = 1e-3
"""Largest error of a product of unit vectors; TF32 stays below."""


class Sizes(NamedTuple):
    """What takes about a second on a device of a kind."""

    product: int
    """Rows of the matrices."""
    identities: int
    width: int = 128
    subspaces: int = 50


SIZES = {"cpu": Sizes(1024, 20_000), "cuda": Sizes(8192, 200_000)}


def product(device: str, seconds: float = 1.0) -> Finding:
    """GFLOP/s of float32 products on a device, and of bf16 ones on a GPU; wrong numbers count as broken."""
    import torch

    n = SIZES["cuda" if device.startswith("cuda") else "cpu"].product
    a = torch.from_numpy(_unit_vectors(n, n)).to(device)
    error = (a[:64] @ a.T).double().cpu() - a[:64].double().cpu() @ a.double().cpu().T
    wrong = float(error.abs().max())
    if not wrong <= ATOL:
        return Finding(
            _name("product", device),
            f"off by {wrong:.2g}",
            "its numbers are wrong: do not train on it",
            broken=True,
        )
    rate = _rate(a, seconds)
    value, facts = f"{_flops(rate)} in float32", {"flops": rate}
    if device.startswith("cuda"):
        facts["bf16_flops"] = _rate(a.bfloat16(), seconds / 2)
        value += f", {_flops(facts['bf16_flops'])} in bf16"
    else:
        value += (
            f", by {torch.get_num_threads()} threads" if torch.get_num_threads() > 1 else ", by one thread"
        )
    return Finding(_name("product", device), value, facts=facts)


def _rate(a: torch.Tensor, seconds: float) -> float:
    """Floating-point operations a second of a @ a.T."""
    import torch

    def wait() -> None:
        if a.device.type == "cuda":
            torch.cuda.synchronize(a.device)

    done, at_once = 0, 1
    torch.matmul(a, a.T)
    wait()
    began = time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        for _ in range(at_once):
            torch.matmul(a, a.T)
        wait()
        done, at_once = done + at_once, min(64, 2 * at_once)
    return 2 * done * len(a) ** 3 / took


def _flops(rate: float) -> str:
    return f"{rate / 1e9:,.0f} GFLOP/s" if rate < 1e13 else f"{rate / 1e12:,.0f} TFLOP/s"


def clustering(device: str, faiss_sees: int) -> Finding:
    """Seconds of FAISS's k-means and of equal subspaces, on made-up means.

    Args:
        faiss_sees: GPUs; FAISS works on the CPU where it is 0.
    """
    import faiss

    from ...mining.clustering.subspaces import cluster_identities

    on_gpu = device.startswith("cuda")
    sizes = SIZES["cuda" if on_gpu else "cpu"]
    means_ND = _unit_vectors(sizes.identities, sizes.width)
    M = sizes.subspaces

    def by_faiss() -> None:
        kmeans = faiss.Kmeans(sizes.width, M, niter=5, seed=1, gpu=on_gpu and faiss_sees > 0)
        kmeans.train(means_ND)
        kmeans.index.search(means_ND, 1)

    def by_us() -> None:
        cluster_identities(means_ND, ids_per_subspace=len(means_ND) // M, niter=5, device=device)

    took = {}
    for name, work in (("FAISS", by_faiss), ("subspace", by_us)):
        if on_gpu:
            work()  # the first call sets up
        began = time.perf_counter()
        work()
        took[name] = time.perf_counter() - began
    value = f"FAISS {took['FAISS']:.2f} s, equal subspaces {took['subspace']:.2f} s"
    return Finding(
        _name("k-means", device),
        f"{value} ({len(means_ND):,} × {sizes.width} into {M})",
        facts={"faiss_seconds": took["FAISS"], "subspace_seconds": took["subspace"]},
    )


def _name(what: str, device: str) -> str:
    return what if device == "cpu" else f"{what} {device}"


def _unit_vectors(count: int, width: int) -> np.ndarray:
    import numpy as np

    rows = generator(0, "doctor").standard_normal((count, width), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def speeds_of(devices: list[str], faiss_sees: int) -> Iterator[Finding]:
    """Every device in turn."""
    for device in devices:
        yield product(device)
    for device in devices[:2]:  # of GPUs the first: FAISS spreads over all GPUs at once
        yield clustering(device, faiss_sees)
