"""A step of Partial FC by the number of identities: gradients of all classes beside those of the drawn ones, AdamW, one thread.

Loss, its backward pass and the optimiser's step, without a network; processor time, median of the steps after the first.

python benchmarks/bench_partial_fc.py | tee /dev/stderr | python benchmarks/store_table.py partial_fc steps ...
"""

from __future__ import annotations

import statistics
import time

import torch

from subspace.train.losses.partial_fc import PartialFCLoss
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.optimizers import build_optimizer

B, D, STEPS = 256, 128, 5
CASES = ((100_000, 0.1), (1_000_000, 0.1), (1_000_000, 0.001))
"""Identities, and the share that is drawn."""


def seconds(identities: int, share: float, sparse: bool) -> float:
    """Of a step."""
    loss = PartialFCLoss(identities, D, kind="cosface", share=share, sparse_gradient=sparse)
    optimizer, spent = build_optimizer([loss], OptimizerConfig()), []
    random = torch.Generator().manual_seed(0)
    for _ in range(STEPS + 1):
        embeddings = torch.randn(B, D, generator=random)
        labels = torch.randint(identities, (B,), generator=random)
        begun = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        loss(embeddings, labels).backward()
        optimizer.step()
        spent.append(time.process_time() - begun)
    return statistics.median(spent[1:])


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print("| identities | share r | all classes, s | the drawn ones alone, s | times |")
    print("|---|---|---|---|---|")
    for identities, share in CASES:
        every, drawn = (seconds(identities, share, sparse) for sparse in (False, True))
        print(f"| {identities:,} | {share:g} | {every:.2f} | {drawn:.2f} | {every / drawn:.1f} |", flush=True)


if __name__ == "__main__":
    main()
