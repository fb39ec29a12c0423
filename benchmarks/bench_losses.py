"""Pair and triplet losses, forward and backward, against one B × B product and against pytorch-metric-learning.

    python benchmarks/bench_losses.py                # the table
    python benchmarks/bench_losses.py --large        # memory of a batch of 65,536, a process for each of four losses

All in one process, in turn, on one thread, by its processor time: what other work on the machine lengthens hardly counts.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import torch
from pytorch_metric_learning import losses as peers
from pytorch_metric_learning.miners import BatchHardMiner

from subspace.train import losses as ours

IMAGES_PER_IDENTITY, D, LARGE = 4, 512, 65_536
ROUNDS = {512: 21, 1024: 13, 4096: 7}
LOSSES = {
    "batch_ohnm": lambda: ours.BatchOHNMLoss(),
    "multi_similarity": lambda: ours.MultiSimilarityLoss(),
    "circle_pair": lambda: ours.CirclePairLoss(),
    "contrastive": lambda: ours.ContrastiveLoss(),
    "pairwise_cosface": lambda: ours.PairwiseCosFaceLoss(),
    "batch_hard": lambda: ours.BatchHardLoss(),
    "batch_all": lambda: ours.BatchAllLoss(),
    "semi_hard": lambda: ours.SemiHardLoss(),
    "distance_weighted": lambda: ours.DistanceWeightedLoss(),
    "ohnm": lambda: ours.RandomTripletLoss(),
}
PEERS = {
    "batch_ohnm": lambda: mined(BatchHardMiner(), peers.TripletMarginLoss(margin=0.3)),
    "batch_hard": lambda: mined(BatchHardMiner(), peers.TripletMarginLoss(margin=0.3)),
    "multi_similarity": lambda: peers.MultiSimilarityLoss(alpha=2, beta=50, base=0.5),
    "circle_pair": lambda: peers.CircleLoss(m=0.25, gamma=256),
    "contrastive": lambda: peers.ContrastiveLoss(pos_margin=0, neg_margin=1),
}
"""The nearest thing that the peer has; it mines one negative where batch OHNM mines three. Its NTXentLoss takes 11 s at 512."""

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def mined(miner: Callable, loss: Callable) -> Loss:
    """A loss of the peer over what its miner finds."""
    return lambda embeddings, labels: loss(embeddings, labels, miner(embeddings, labels))


def batch(B: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings that want a gradient, and labels."""
    embeddings = torch.randn(B, D, generator=torch.Generator().manual_seed(0)).requires_grad_()
    return embeddings, torch.arange(B // IMAGES_PER_IDENTITY).repeat_interleave(IMAGES_PER_IDENTITY)


def seconds_of(timed: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, in turn, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for turn in range(rounds + 1):
        for name, work in timed.items():
            started = time.thread_time()
            work()
            if turn:
                seconds[name].append(time.thread_time() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def compare(B: int, rounds: int) -> dict[str, tuple[float, float | None]]:
    """Of each loss: its time in products, and how many times as long the peer takes."""
    embeddings, labels = batch(B)
    unit = torch.nn.functional.normalize(embeddings.detach(), dim=1)

    def both_ways(loss: Loss) -> Callable[[], None]:
        def run() -> None:
            embeddings.grad = None
            loss(embeddings, labels).backward()

        return run

    timed: dict[str, Callable[[], object]] = {"product": lambda: unit @ unit.T}
    timed |= {name: both_ways(make()) for name, make in LOSSES.items()}
    timed |= {f"peer: {name}": both_ways(make()) for name, make in PEERS.items()}
    s = seconds_of(timed, rounds)
    return {
        name: (s[name] / s["product"], s[f"peer: {name}"] / s[name] if name in PEERS else None)
        for name in LOSSES
    }


def large(name: str) -> None:
    """Time and memory of a batch of 65,536, by all threads."""
    LOSSES[name]()(*batch(64)).backward()
    embeddings, labels = batch(LARGE)
    embeddings.grad = torch.zeros_like(embeddings)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    LOSSES[name]()(embeddings, labels).backward()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    print(f"| {name} | {time.perf_counter() - started:.0f} | {grown:.2f} |", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", action="store_true", help=f"a batch of {LARGE:,}")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.one:
        large(given.one)
        return
    if given.large:
        print("| loss | seconds | peak memory beyond inputs and gradients, GiB |\n|---|---|---|", flush=True)
        for name in ("batch_ohnm", "multi_similarity", "circle_pair", "semi_hard"):
            subprocess.run([sys.executable, __file__, "--one", name], check=True)
        return
    torch.set_num_threads(1)
    found = {B: compare(B, rounds) for B, rounds in ROUNDS.items()}
    heads = [f"B={B:,}, products" for B in ROUNDS] + [f"B={B:,}, peer / ours" for B in ROUNDS]
    print(f"| loss | {' | '.join(heads)} |\n|{'---|' * (1 + len(heads))}")
    for name in LOSSES:
        products = [f"{found[B][name][0]:.2f}" for B in ROUNDS]
        times = [f"{ratio:.1f}" if (ratio := found[B][name][1]) is not None else "" for B in ROUNDS]
        print(f"| {name} | {' | '.join(products + times)} |")


if __name__ == "__main__":
    main()
