"""Random changes of decoded training images, each drawn for its place in the batch.

Shapes: b images decoded, H × W pixels.
"""

from __future__ import annotations

import numpy as np

from .settings import AugmentConfig


def augmented(
    images: np.ndarray, config: AugmentConfig, random: np.random.Generator, places: np.ndarray, batch: int
) -> np.ndarray:
    """Change uint8[b, H, W, 3] images, each by what is drawn for its place in a batch of so many."""
    mirrored = (random.random(batch) < config.flip)[places]
    moves = random.integers(-config.shift, config.shift + 1, (batch, 2))[places]
    images[mirrored] = images[mirrored, :, ::-1]
    if config.shift:
        s, (height, width) = config.shift, images.shape[1:3]
        padded = np.pad(images, ((0, 0), (s, s), (s, s), (0, 0)), mode="edge")
        for i, (down, right) in enumerate(moves + s):
            images[i] = padded[i, down : down + height, right : right + width]
    return images
