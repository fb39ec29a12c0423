"""Image batches to embeddings, without gradients.

Shapes: b images in a batch, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..mining.machine import keep_freed_memory
from .data.batches import ImageBatch
from .data.device_copies import copied_ahead
from .devices import Arithmetic, autocast, settled
from .networks.backbone import Backbone, at_unit_length
from .training_config import PrecisionSetting


@dataclass(frozen=True)
class EmbeddedBatch:
    """Embeddings of the readable images of a batch.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from subspace.train import ImageBatch, build_backbone, embed
        >>> images = torch.zeros((2, 3, 32, 32), dtype=torch.uint8)
        >>> batches = [ImageBatch(step=0, image_id=np.array([5, 6]), images=images, bad=[])]  # or `load_batches(...)`
        >>> [embedded] = embed(build_backbone("small"), batches, torch.device("cpu"))
        >>> embedded.embeddings.dtype, len(embedded.embeddings) == len(embedded.batch.image_id)
        (dtype('float32'), True)
    """

    batch: ImageBatch
    embeddings: np.ndarray
    """float32[b, D], of unit length unless asked for otherwise."""


def embed(
    network: Backbone,
    batches: Iterable[ImageBatch],
    device: torch.device,
    precision: PrecisionSetting = "32-true",
    *,
    flip: bool = False,
    normalize: bool = True,
) -> Iterator[EmbeddedBatch]:
    """Yield each batch with its embeddings; the network is put in evaluation mode and on `device`.

    On a CPU the process keeps the memory that a batch frees, for the next one, until `mining.machine.give_back_memory`.

    Args:
        flip: embed the mirror image, too, and take the mean of both before it gets unit length, for twice the time: the flip
            test of face recognition (InsightFace's verification.py adds the two likewise).
        normalize: give embeddings unit length; else as the network makes them.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from subspace.train import ImageBatch, build_backbone, embed
        >>> images = torch.zeros((2, 3, 32, 32), dtype=torch.uint8)
        >>> batches = [ImageBatch(step=0, image_id=np.array([5, 6]), images=images, bad=[])]  # or `load_batches(...)`
        >>> [embedded] = embed(build_backbone("small"), batches, torch.device("cpu"))
        >>> embedded.batch.image_id.tolist(), embedded.embeddings.shape
        ([5, 6], (2, 128))
    """
    network.eval().to(device)
    if device.type == "cpu":
        keep_freed_memory()
    arithmetic = settled(device, precision)
    if arithmetic.channels_last:
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    ahead: _Computed | None = None
    for batch in copied_ahead(batches, device):
        computed = _Computed(network, batch, device, arithmetic, flip, normalize)
        if ahead is not None:
            yield ahead.read()
        ahead = computed
        if device.type != "cuda":  # which works on this batch while the one before it is read
            yield ahead.read()
            ahead = None
    if ahead is not None:
        yield ahead.read()


class _Computed:
    """A batch whose embeddings a GPU may still be at work on, or copying."""

    def __init__(
        self,
        network: Backbone,
        batch: ImageBatch,
        device: torch.device,
        arithmetic: Arithmetic,
        flip: bool,
        normalize: bool,
    ) -> None:
        self.batch, self._copied = batch, None
        if len(batch.image_id) == 0:
            self._embeddings = torch.empty((0, network.embedding_size))
            return
        with torch.inference_mode(), autocast(device, arithmetic.precision):
            images = batch.images.to(device, non_blocking=True)
            embeddings = _embedded(network, images, arithmetic, flip, normalize)
            self._embeddings = embeddings.to("cpu", non_blocking=device.type == "cuda")
        if device.type == "cuda":
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(device))

    def read(self) -> EmbeddedBatch:
        """The embeddings, once they are on the CPU."""
        if self._copied is not None:
            self._copied.synchronize()
        return EmbeddedBatch(self.batch, self._embeddings.numpy())


def _embedded(
    network: Backbone, images: torch.Tensor, arithmetic: Arithmetic, flip: bool, normalize: bool
) -> torch.Tensor:
    images = images.contiguous(memory_format=arithmetic.memory_format)
    if not flip:
        return network(images) if normalize else network.features(images)
    mirrored = images.flip(3).contiguous(memory_format=arithmetic.memory_format)
    both = network.features(images) + network.features(mirrored)
    return at_unit_length(both) if normalize else both / 2
