"""Robust means of identities: images that the others of an identity do not resemble have hardly a say in them.

Each image is compared with the mean of the *other* images of its identity, as weighted so far, and weighs

    w = max(0, (cosine - c0) / (1 - c0))²,

where c0 is the mean cosine of two images of different identities: one that is no nearer than a stranger weighs
nothing. A few rounds of this find the direction where most images lie, as a mean shift does, so 40 % of wrong names
hardly move it. Two passes over the embeddings; no threshold.

Shapes: n images, I identities, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from .identity_blocks import IdentityBlock, IdentityBlocks

ROUNDS = 10
"""How often images are weighed: weights settle in five."""


class OwnSimilarity(NamedTuple):
    """How near each image is to the others of its identity."""

    means: np.ndarray
    """float32[I, D], unit length; zero where the images cancel out."""
    own: np.ndarray
    """float32[n], cosine of each image to the robust mean of the others; NaN where there is no other."""
    stranger: float
    """c0, the mean cosine of images of different identities."""


def find_robust_means(
    blocks: IdentityBlocks,
    means_ID: np.ndarray | None = None,
    progress: Callable[[int], None] | None = None,
) -> OwnSimilarity:
    """Find the robust mean of every identity, and the cosine of every image to that of its others.

    Args:
        means_ID: float32[I, D] to write into, such as a memory map; a new array by default.
        progress: called with the number of images that have been gone through; each is twice.

    Example:
        >>> angles = np.array([0.0, 0.1, 0.2, 2.0, 3.0, 3.1])  # the fourth is not of the first identity
        >>> images = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        >>> found = find_robust_means(IdentityBlocks(images, np.array([0, 0, 0, 0, 1, 1])))
        >>> [round(float(cosine), 1) for cosine in found.own]
        [1.0, 1.0, 1.0, -0.3, 1.0, 1.0]
    """
    stranger = _stranger(blocks, progress)
    if means_ID is None:
        means_ID = np.empty((len(blocks.identity_id), blocks.dimensions), np.float32)
    own_n = np.empty(blocks.images, np.float32)
    for block in blocks:
        weight = torch.ones(len(block.embeddings), device=blocks.device)
        cosine, summed = _beside_the_others(block, weight)
        for _ in range(ROUNDS):
            weight = ((cosine.nan_to_num(1.0) - stranger) / max(1e-6, 1 - stranger)).clamp(min=0) ** 2
            # Where nobody resembles anybody, all count.
            nobody = block.spread_out(block.sums(weight)) <= 1e-6
            weight = torch.where(nobody, 1.0, weight)
            cosine, summed = _beside_the_others(block, weight)
        means_ID[block.identities] = normalize(summed, dim=1).cpu().numpy()
        own_n[block.images] = cosine.cpu().numpy()
        if progress:
            progress(len(cosine))
    return OwnSimilarity(means_ID, own_n, stranger)


def _beside_the_others(block: IdentityBlock, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine of each image to the weighted sum of the others of its identity, and the whole sums."""
    weighted = block.embeddings * weight[:, None]
    summed = block.sums(weighted)
    others = block.spread_out(summed) - weighted
    length = others.norm(dim=1)
    cosine = (others * block.embeddings).sum(1) / length.clamp(min=1e-6)
    alone = (block.spread_out(block.count) == 1) | (length <= 1e-5)
    return torch.where(alone, torch.nan, cosine), summed


def _stranger(blocks: IdentityBlocks, progress: Callable[[int], None] | None) -> float:
    """The mean cosine of two images of different identities: |Σ x|² less what is within identities."""
    total = np.zeros(blocks.dimensions)
    within = 0.0
    for block in blocks:
        summed = block.sums(block.embeddings).double()
        total += summed.sum(0).cpu().numpy()
        within += float(summed.square().sum())
        if progress:
            progress(len(block.embeddings))
    pairs = float(blocks.images) ** 2 - float((blocks.count.astype(float) ** 2).sum())
    return float((total @ total - within) / pairs) if pairs else 0.0
