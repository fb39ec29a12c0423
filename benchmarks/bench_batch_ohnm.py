"""Batch OHNM, forward and backward, against one B × B product and against pytorch-metric-learning.

All in one process, in turn, so that the machine's moods hit everybody: medians of several rounds.

    python benchmarks/bench_batch_ohnm.py
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable

import torch
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner

from subspace.train import BatchOHNMLoss

IMAGES_PER_IDENTITY, D = 4, 512


def contenders(B: int) -> dict[str, Callable[[], object]]:
    """What is timed at batch size B, each on the same embeddings and labels."""
    embeddings = torch.randn(B, D, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(B // IMAGES_PER_IDENTITY).repeat_interleave(IMAGES_PER_IDENTITY)
    ours, hardest = BatchOHNMLoss(margin=0.3, negatives=3), BatchOHNMLoss(margin=0.3, negatives=1)
    miner, peer = BatchHardMiner(), TripletMarginLoss(margin=0.3)
    unit = torch.nn.functional.normalize(embeddings.detach(), dim=1)

    def backward(loss: torch.Tensor) -> None:
        embeddings.grad = None
        loss.backward()

    return {
        "product": lambda: unit @ unit.T,
        "ours": lambda: backward(ours(embeddings, labels)),
        "ours, k=1": lambda: backward(hardest(embeddings, labels)),
        "peer": lambda: backward(peer(embeddings, labels, miner(embeddings, labels))),
    }


def seconds_of(timed: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, in turn, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for turn in range(rounds + 1):
        for name, work in timed.items():
            started = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """Print the table, then time and memory of a batch of 65,536."""
    torch.set_num_threads(2)
    print(f"D={D}, {IMAGES_PER_IDENTITY} images an identity, {torch.get_num_threads()} threads; milliseconds")
    print(
        "| B | one B × B product | ours, k=3 | ours, k=1 | pytorch-metric-learning | ours / product | peer / ours |"
    )
    print("|---|---|---|---|---|---|---|")
    for B, rounds in ((512, 21), (1024, 15), (4096, 7)):
        s = seconds_of(contenders(B), rounds)
        cells = [f"{1000 * s[name]:.1f}" for name in ("product", "ours", "ours, k=1", "peer")]
        ratios = f"{s['ours'] / s['product']:.2f} | {s['peer'] / s['ours']:.1f}"
        print(f"| {B:,} | {' | '.join(cells)} | {ratios} |", flush=True)

    B = 65_536
    embeddings = torch.randn(B, D).requires_grad_()
    labels = torch.arange(B // IMAGES_PER_IDENTITY).repeat_interleave(IMAGES_PER_IDENTITY)
    embeddings.grad = torch.zeros_like(embeddings)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    BatchOHNMLoss()(embeddings, labels).backward()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    print(
        f"B={B:,}: {time.perf_counter() - started:.1f} s, peak memory beyond inputs and gradients {grown:.2f} GiB"
    )


if __name__ == "__main__":
    main()
