"""What one step of training did."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ..mining.errors import InputError
from .data.batches import ImageBatch
from .data.images import BadImage
from .losses.loss import TripletStatistics
from .losses.unit_length import NOT_FINITE


class StepImages(NamedTuple):
    """How many images of a step can be read, before it is taken; the same in every process but for `bad`."""

    step: int
    planned: int
    readable: int
    bad: list[BadImage]
    """The unreadable ones that this process met."""

    @property
    def unreadable(self) -> int:
        """Images that no process could read."""
        return self.planned - self.readable


@dataclass(frozen=True)
class StepRecord:
    """What one step did. Tensors stay on the device: reading one waits for the step to finish."""

    step: int
    lr: float
    images: int
    """Readable images of the whole batch."""
    bad: list[BadImage]
    """The unreadable ones that this process met."""
    loss: Tensor | None
    """None where fewer than two images of the batch were readable, so nothing was learned."""
    statistics: TripletStatistics | None
    distance: Tensor | None = None
    """Mean squared distance of all pairs of the batch, 0 to 4; near 0 where embeddings collapse."""
    bad_elsewhere: int = 0
    """Unreadable images that the other processes met."""
    updated: bool = True
    """Whether the weights have moved by all gradients so far; only then a checkpoint holds everything."""
    batch: ImageBatch | None = None
    """The images of this process; of process 0 they are the first rows of `embeddings`."""
    embeddings: Tensor | None = None
    """float32[b, D] of the whole batch, detached, of unit length."""
    labels: Tensor | None = None
    """int64[b] of the whole batch."""

    @property
    def unreadable(self) -> int:
        """Unreadable images of the whole batch."""
        return len(self.bad) + self.bad_elsewhere

    def divergence(self) -> str | None:
        """What is wrong where the loss is not finite; waits for the device. Of diverged weights every later loss is so."""
        if self.loss is None or math.isfinite(float(self.loss)):
            return None
        return f"step {self.step + 1}: the loss is {float(self.loss)}, {NOT_FINITE}"


@contextmanager
def named_by_step(step: int) -> Iterator[None]:
    """Say at which step it was that a network gave NaN or infinity."""
    try:
        yield
    except InputError as error:
        if str(error) != NOT_FINITE:
            raise
        raise InputError(f"step {step + 1}: {NOT_FINITE}") from error
