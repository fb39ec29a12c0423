"""The same images through the network and through an exported file: how far the embeddings differ.

B images, H × W pixels, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Callable

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


def largest_difference(what: str, network: Backbone, exported: Embedder) -> float:
    """The largest absolute difference between two embeddings of the same random images, at every batch size.

    Raises:
        InputError: above `TOLERANCE`, another shape, or a network that gives NaN.
    """
    largest = 0.0
    for count in BATCH_SIZES:
        images = generator(0, "export check", count).integers(
            0, 256, (count, 3, network.input.height, network.input.width), dtype=np.uint8
        )
        expected, found = embed_with_torch(network, images), exported(images)
        if not np.isfinite(expected).all():
            raise InputError(
                f"the network of {network.spec} gives NaN for random images; export another checkpoint"
            )
        if found.shape != expected.shape:
            raise InputError(
                f"{what} gives embeddings of shape {found.shape}, not {expected.shape}; nothing is written"
            )
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:  # NaN too
            raise InputError(
                f"{what} differs from the network in torch by {difference:.2g} at a batch of {count}, more than "
                f"{TOLERANCE:g}; nothing is written. Try another --opset or another format"
            )
        largest = max(largest, difference)
    return largest


def embed_with_torch(network: Backbone, images_BCHW: np.ndarray) -> np.ndarray:
    """uint8 RGB images -> float32 [B, D], on the CPU."""
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(images_BCHW)).numpy()
