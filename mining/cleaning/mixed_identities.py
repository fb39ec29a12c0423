"""Mixed identities: two people under one name, found by cutting the images of each identity in two.

The halves of a cut by 2-means are told apart by

    separation = min(inside first half, inside second half) - across,

mean cosines of two different images: both halves hold together, better than they do with each other. Strangers in a
half, wrong names, do not hold together. How much is a lot follows from pairs of identities that are put together on
purpose and cut likewise (`strangers.stranger_probability`).

Shapes: b images and i identities of a block, n images, I identities, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..randomness import generator
from .identity_blocks import IdentityBlock, IdentityBlocks, reduced
from .strangers import stranger_probability

ROUNDS = 8
"""How often each of the two iterations: the direction along which images differ most, and 2-means from there."""
FEWEST = 2
"""Images in a half: one alone is an outlier."""
MIXED_ON_PURPOSE = 2_000
"""Pairs of identities of a block that are put together."""


class MixedIdentities(NamedTuple):
    """Which identities may be two."""

    probability: np.ndarray
    """float32[I]; 0 where no cut leaves two images in each half."""
    lesser_n: np.ndarray
    """bool[n], the images of the half of each identity that is farther from its mean."""
    share: float
    """How many of all identities that can be cut."""


def find_mixed_identities(
    blocks: IdentityBlocks,
    means_ID: np.ndarray,
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> MixedIdentities:
    """Cut every identity in two, and say how likely each is to be two identities.

    Args:
        means_ID: float32[I, D], robust means: what they stand for is the half that stays.
        seed: which identities are put together for comparison.
        progress: called with the number of images that have been gone through.

    Example:
        >>> from subspace.mining.cleaning.robust_means import find_robust_means
        >>> random = np.random.default_rng(0)
        >>> people = random.normal(size=(400, 64)).repeat(8, axis=0) + 0.5 * random.normal(size=(3200, 64))
        >>> images = (people / np.linalg.norm(people, axis=1, keepdims=True)).astype(np.float32)
        >>> name = np.arange(400).repeat(8)
        >>> name[:16] = 1  # two people of one name
        >>> blocks = IdentityBlocks(images, name)
        >>> found = find_mixed_identities(blocks, find_robust_means(blocks).means)
        >>> (found.probability > 0.5).nonzero()[0].tolist(), int(found.lesser_n[:16].sum())
        ([0], 8)
    """
    identities = len(blocks.identity_id)
    seen, lesser_n = np.full(identities, np.nan), np.zeros(blocks.images, bool)
    mixed, mixed_images = [], []
    for block in blocks:
        separation, second = _cut(block)
        lesser = _farther(block, second, torch.from_numpy(means_ID[block.identities]).to(blocks.device))
        seen[block.identities], lesser_n[block.images] = separation.cpu().numpy(), lesser.cpu().numpy()
        random = generator(seed, "clean mixed", block.identities.start)
        together = _put_together(block, random)
        if together is not None:
            mixed.append(_cut(together)[0].cpu().numpy())
            mixed_images.append(together.count.cpu().numpy())
        if progress:
            progress(len(lesser))
    if not mixed:
        return MixedIdentities(np.zeros(identities, np.float32), lesser_n, 0.0)
    verdict = stranger_probability(-seen, blocks.count, -np.concatenate(mixed), np.concatenate(mixed_images))
    return MixedIdentities(verdict.probability, lesser_n, verdict.share)


def _cut(block: IdentityBlock) -> tuple[Tensor, Tensor]:
    """The separation of the halves of each identity, NaN where a half is too small; and who is in the second one."""
    direction = _widest(block)
    second = direction > 0
    for _ in range(ROUNDS):
        sums = _sums(block, second)
        first_unit, second_unit = (normalize(half, dim=1) for half in sums)
        nearer = (block.embeddings * block.spread_out(second_unit - first_unit)).sum(1)
        second = nearer > 0
    sums, counts = _sums(block, second), _counts(block, second)
    (first, of_second), (n_1, n_2) = sums, counts
    inside = [
        (half.square().sum(1) - count) / (count * (count - 1)).clamp(min=1)
        for half, count in ((first, n_1), (of_second, n_2))
    ]
    across = (first * of_second).sum(1) / (n_1 * n_2).clamp(min=1)
    separation = torch.minimum(*inside) - across
    separation = torch.where(torch.minimum(n_1, n_2) < FEWEST, torch.nan, separation)
    return separation, second


def _farther(block: IdentityBlock, second: Tensor, means_iD: Tensor) -> Tensor:
    """Who is in the half that is farther from the mean of the identity: bool[b]."""
    first_cosine, second_cosine = (
        (normalize(half, dim=1) * means_iD).sum(1) for half in _sums(block, second)
    )
    return second == block.spread_out(second_cosine <= first_cosine)


def _widest(block: IdentityBlock) -> Tensor:
    """The place of each image along the direction in which those of its identity differ most: float[b]."""
    mean = block.sums(block.embeddings) / block.count[:, None]
    centred = block.embeddings - block.spread_out(mean)
    length = centred.square().sum(1)
    farthest = block.spread_out(reduced(length, "max", block.count))
    direction = block.sums(centred * (length >= farthest)[:, None])
    place = (centred * block.spread_out(normalize(direction, dim=1))).sum(1)
    for _ in range(ROUNDS):
        direction = normalize(block.sums(centred * place[:, None]), dim=1)
        place = (centred * block.spread_out(direction)).sum(1)
    return place


def _put_together(block: IdentityBlock, random: np.random.Generator) -> IdentityBlock | None:
    """Pairs of identities of the block as one each; None of fewer than two."""
    count = block.count.cpu().numpy()
    pairs = random.permutation(len(count))[: 2 * MIXED_ON_PURPOSE]
    pairs = pairs[: len(pairs) // 2 * 2]
    if not len(pairs):
        return None
    first = np.concatenate(([0], np.cumsum(count))).tolist()
    rows = np.concatenate([np.arange(first[one], first[one + 1]) for one in pairs.tolist()])
    lengths = torch.from_numpy(count[pairs].reshape(-1, 2).sum(1)).to(block.count.device)
    embeddings = block.embeddings[torch.from_numpy(rows).to(block.embeddings.device)]
    return IdentityBlock(slice(0, len(rows)), slice(0, len(lengths)), lengths, embeddings)


def _sums(block: IdentityBlock, second: Tensor) -> tuple[Tensor, Tensor]:
    of_second = block.sums(block.embeddings * second[:, None])
    return block.sums(block.embeddings * ~second[:, None]), of_second


def _counts(block: IdentityBlock, second: Tensor) -> tuple[Tensor, Tensor]:
    of_second = block.sums(second.float())
    return block.count - of_second, of_second
