"""Positive pairs of a plan: which identities can give a batch two images, and how many batches have any such identity.

Shapes: I identities, b batches in a block, P identities in a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from .batch_plan import PlanBlock
from .settings import PlanConfig


def with_pairs(images_I: np.ndarray, config: PlanConfig) -> np.ndarray:
    """Which identities give a batch two images, bool[I]; a repeated image is one, unless it is augmented into two.

    >>> with_pairs(np.array([1, 2, 3]), PlanConfig(K=2)).tolist()
    [False, True, True]
    >>> with_pairs(np.array([1, 2, 3]), PlanConfig(K=2, singletons="augment")).tolist()
    [True, True, True]

    Args:
        images_I: images of each identity.
    """
    if config.K < 2:
        return np.zeros(len(images_I), bool)
    if config.singletons == "augment":
        return np.ones(len(images_I), bool)
    return np.asarray(images_I) > 1 if config.max_images != 1 else np.zeros(len(images_I), bool)


class PairedBatches:
    """Counts the batches that hold two images of any identity, while blocks go by.

    >>> block = PlanBlock(np.arange(2), np.zeros(2, np.int32), np.array([[0, 1], [1, 2]]), np.zeros((2, 4), np.int64))
    >>> counted = PairedBatches(np.array([True, False, False]))
    >>> len(list(counted.over([block]))), counted.batches, counted.paired
    (1, 2, 1)

    Args:
        paired_I: as `with_pairs` says.
    """

    def __init__(self, paired_I: np.ndarray) -> None:
        self.batches = self.paired = 0
        self._paired_I, self._all = paired_I, bool(paired_I.all())

    def over(self, blocks: Iterable[PlanBlock]) -> Iterator[PlanBlock]:
        """Yield the blocks."""
        for block in blocks:
            self.batches += len(block)
            self.paired += len(block) if self._all else int(self._paired_I[block.identity].any(axis=1).sum())
            yield block
