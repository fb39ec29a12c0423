"""What one step of training did."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .data.batches import ImageBatch
from .data.images import BadImage
from .losses.loss import TripletStatistics


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
