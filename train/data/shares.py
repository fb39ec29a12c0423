"""A planned batch that several processes share: who decodes what, and what all together could read.

Shapes: n images planned, m of them for this process, B of them readable, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ...mining.errors import InputError
from .. import distributed
from .loader_processes import ImagesStayedAway

T = TypeVar("T")


@dataclass(frozen=True)
class BatchShare:
    """The part of a planned batch that one of several processes decoded."""

    planned: np.ndarray
    """int64[n], image ids of the whole batch."""
    first: int
    """Place of this process's first image among them."""
    readable: np.ndarray
    """bool[m], which of its images could be read."""


def readable_images(share: BatchShare) -> tuple[np.ndarray, int]:
    """Image ids that any process could read, int64[B], and the place of this process's first among them."""
    mine = torch.from_numpy(share.readable.astype(np.int32))
    readable = distributed.gathered(mine, share.first, len(share.planned)).numpy() > 0
    return share.planned[readable], int(readable[: share.first].sum())


def gather_batch(embeddings_mD: Tensor, labels_m: Tensor) -> tuple[Tensor, Tensor]:
    """The embeddings and labels of all processes in the order of their ranks: float[B, D] and int[B].

    A loss over them sees the whole planned batch, of which each process has embedded its share. Gradient flows
    into this process's own rows, times the number of processes: DistributedDataParallel, which divides by it,
    then gives the gradient of one process that embeds everything. A process that is alone gets its own back.

    Example:
        >>> import torch
        >>> from subspace.train import gather_batch
        >>> embeddings, labels = gather_batch(torch.eye(2), torch.tensor([4, 7]))
        >>> labels
        tensor([4, 7])
    """
    if distributed.count() == 1:
        return embeddings_mD, labels_m
    own = torch.tensor([len(labels_m)], device=labels_m.device)
    counts = distributed.gathered(own, distributed.rank(), distributed.count()).tolist()
    start, total = sum(counts[: distributed.rank()]), sum(counts)
    return distributed.gathered(embeddings_mD, start, total), distributed.gathered(labels_m, start, total)


def by_all_or_none(batches: Iterable[T]) -> Iterator[T]:
    """Yield the batches; an error that one process meets in reading them ends all.

    Raises:
        InputError: in process 0; the others leave with its exit code and without a word.
        ImagesStayedAway: in all, at the same step, so that they can save it together.
    """
    iterator = iter(batches)
    while True:
        batch, problem, away = None, None, None
        try:
            batch = next(iterator, None)
        except InputError as error:
            if distributed.count() == 1:
                raise
            problem = str(error)
        except ImagesStayedAway as error:
            if distributed.count() == 1:
                raise
            away = f"process {distributed.rank()}: {error}"
        if distributed.count() > 1:
            wrong, late = distributed.agree(problem is not None, away is not None)
            if wrong:
                distributed.refuse_if_any(problem)
            if late:
                raise ImagesStayedAway(distributed.told(away))
        if batch is None:
            return
        yield batch
