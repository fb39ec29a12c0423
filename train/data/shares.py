"""A planned batch that several processes share: who decodes what, and what all together could read.

Shapes: n images planned, m of them for this process, B of them readable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from ...mining.errors import InputError
from .. import distributed

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


def by_all_or_none(batches: Iterable[T]) -> Iterator[T]:
    """Yield the batches; an error that one process meets in reading them ends all.

    Raises:
        InputError: in process 0; the others leave with its exit code and without a word.
    """
    iterator = iter(batches)
    while True:
        batch, problem = None, None
        try:
            batch = next(iterator, None)
        except InputError as error:
            if distributed.count() == 1:
                raise
            problem = str(error)
        if distributed.count() > 1:
            distributed.refuse_if_any(problem)
        if batch is None:
            return
        yield batch
