"""The same images through the network and through an exported file: how far the embeddings differ.

B images, H × W pixels, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ...mining.errors import InputError
from ...mining.randomness import generator
from ...train.networks.backbone import Backbone

BATCH_SIZES = (1, 2, 7)
TOLERANCE = 1e-4
"""Allowed for any number of an embedding of unit length; float32 arithmetic in another order differs by about 1e-6."""

Embedder = Callable[[np.ndarray], np.ndarray]
"""uint8 RGB [B, 3, H, W] -> float32 [B, D]."""


@dataclass(frozen=True)
class Reference:
    """Random images and their embeddings by the network in torch."""

    images: np.ndarray
    """uint8[B, 3, H, W]."""
    embeddings: np.ndarray
    """float32[B, D]."""


def references(network: Backbone) -> list[Reference]:
    """One for each batch size; the same images whenever it is called.

    Raises:
        InputError: the network gives NaN.
    """
    made = []
    for count in BATCH_SIZES:
        images = generator(0, "export check", count).integers(
            0, 256, (count, 3, network.input.height, network.input.width), dtype=np.uint8
        )
        embeddings = embed_with_torch(network, images)
        if not np.isfinite(embeddings).all():
            raise InputError(f"{network.spec} gives NaN for random images; export another checkpoint")
        made.append(Reference(images, embeddings))
    return made


def largest_difference(what: str, expected: list[Reference], exported: Embedder) -> float:
    """The largest absolute difference between the embeddings of the same images.

    Raises:
        InputError: above `TOLERANCE`, or another shape.
    """
    largest = 0.0
    for reference in expected:
        found = exported(reference.images)
        if found.shape != reference.embeddings.shape:
            raise InputError(
                f"{what} gives embeddings of shape {found.shape}, not {reference.embeddings.shape}; nothing is written"
            )
        difference = float(np.abs(found - reference.embeddings).max())
        if not difference <= TOLERANCE:  # NaN too
            raise InputError(
                f"{what} differs from the network in torch by {difference:.2g} at a batch of {len(found)}, more than "
                f"{TOLERANCE:g}; nothing is written. Try another --opset or another format"
            )
        largest = max(largest, difference)
    return largest


def embed_with_torch(network: Backbone, images_BCHW: np.ndarray) -> np.ndarray:
    """uint8 RGB images -> float32 [B, D], on the CPU."""
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(images_BCHW)).numpy()
