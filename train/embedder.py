"""Image batches to embeddings, without gradients.

Shapes: b images in a batch, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from .data.batches import ImageBatch
from .devices import autocast
from .networks.backbone import Backbone
from .training_config import Precision


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
    """float32[b, D], unit length."""


def embed(
    network: Backbone, batches: Iterable[ImageBatch], device: torch.device, precision: Precision = "32-true"
) -> Iterator[EmbeddedBatch]:
    """Yield each batch with its embeddings; the network is put in evaluation mode and on `device`.

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
    for batch in batches:
        if len(batch.image_id) == 0:
            yield EmbeddedBatch(batch, np.empty((0, network.embedding_size), np.float32))
            continue
        with torch.inference_mode(), autocast(device, precision):
            embeddings = network(batch.images.to(device, non_blocking=True))
        yield EmbeddedBatch(batch, embeddings.cpu().numpy())
