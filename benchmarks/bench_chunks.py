"""Memory and time of one training step on a batch of 1,800 images (FaceNet's), at once and in chunks.

Random pixels, 450 identities of 4 images, batch OHNM, SGD; each row in a process of its own, two threads. The
peak is that of the whole process, Python and torch included (about 0.4 GiB).

    python benchmarks/bench_chunks.py            # the small network, and iresnet18 in chunks: some ten minutes
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import torch

from subspace.train import BatchOHNMLoss
from subspace.train.data.batches import ImageBatch
from subspace.train.loop import train_steps
from subspace.train.networks.building import build_backbone
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.optimizers import build_optimizer
from subspace.train.training_config import LoaderConfig
from subspace.train.training_state import TrainingState

IDENTITIES, IMAGES = 450, 4
ROWS = (("small", 0, 5), ("small", 600, 5), ("small", 128, 5), ("iresnet18", 32, 1))
"""Network, images in a chunk (0: all), timed steps after one that warms up."""


def measure(network_name: str, chunk_size: int, steps: int) -> str:
    """One row: seconds of a step (median), images a second, peak memory."""
    network, loss = build_backbone(network_name), BatchOHNMLoss()
    config = OptimizerConfig(name="sgd", lr=0.01, schedule="constant", warmup_steps=0)
    size, n = network.input.size, IDENTITIES * IMAGES
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3, size, size), np.uint8)
    batches = (ImageBatch(step, np.arange(n), torch.from_numpy(pixels), []) for step in range(steps + 1))
    seconds, begun = [], time.perf_counter()
    for record in train_steps(
        TrainingState(network, loss, build_optimizer([network, loss], config)),
        batches,
        lambda step, image_id: image_id // IMAGES,
        config,
        LoaderConfig(chunk_size=chunk_size or None),
        first_step=0,
        total_steps=steps,
        device=torch.device("cpu"),
        seed=0,
    ):
        assert record.loss is not None
        seconds.append(time.perf_counter() - begun)
        begun = time.perf_counter()
    step = statistics.median(seconds[1:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    chunk = f"{chunk_size}" if chunk_size else "all"
    return f"| {network_name} | {chunk} | {step:.2f} | {n / step:,.0f} | {peak:.2f} |"


def main() -> None:
    """Print the table."""
    torch.set_num_threads(2)
    if len(sys.argv) > 1:
        print(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])), flush=True)
        return
    print(
        "| network | images at a time | seconds a step | images/s | peak memory, GiB |\n|---|---|---|---|---|",
        flush=True,
    )
    for row in ROWS:
        subprocess.run([sys.executable, __file__, *map(str, row)], check=True)


if __name__ == "__main__":
    main()
