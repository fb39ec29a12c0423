"""What each of several processes does with its share of a batch; an importable module, for `run_in`."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from subspace.train import PlanBatchSampler, distributed, gather_batch


class Numbers(Dataset[int]):
    """Anybody's dataset."""

    def __getitem__(self, index: int) -> int:
        return index


def read_share(plan: str) -> list[list[int]]:
    """The batches that this process reads, as torch counts the processes and as Accelerate does."""
    accelerator = Accelerator(cpu=True)
    assert (accelerator.process_index, accelerator.num_processes) == (distributed.rank(), distributed.count())
    sampler = PlanBatchSampler(plan, rank=accelerator.process_index, world_size=accelerator.num_processes)
    return [batch.tolist() for batch in DataLoader(Numbers(), batch_sampler=sampler)]


IMAGES, LABELS = torch.arange(10.0).sin().reshape(5, 2), torch.tensor([4, 4, 7, 7, 9])


def slopes_of_a_share() -> tuple[Tensor, Tensor]:
    """The gradient that DistributedDataParallel would make of the processes' own, and the labels that each sees."""
    weight = torch.ones(2, 3, requires_grad=True)
    own = distributed.share(len(LABELS), distributed.rank(), distributed.count())
    embeddings, labels = gather_batch(IMAGES[own] @ weight, LABELS[own])
    similarities = embeddings @ embeddings.T
    similarities[labels[:, None] != labels].square().sum().backward()
    assert weight.grad is not None
    return distributed.summed(weight.grad) / distributed.count(), labels
