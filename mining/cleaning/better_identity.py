"""The identity that an image resembles most, of those that are not its own; and a random one, for comparison.

Shapes: n images, I identities, c images that are looked up, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..block_sizes import similarities_at_a_time
from ..clustering.mean_blocks import MeanBlocks
from ..clustering.on_device import blocks_on
from ..randomness import generator
from .identity_blocks import IdentityBlocks

QUERIES = 65_536
"""Images that are looked up in one pass over the means."""


def random_partners(identities: int, seed: int) -> np.ndarray:
    """Another identity for each, at random, each drawn once: int64[I].

    >>> partner = random_partners(5, seed=0)
    >>> sorted(partner.tolist()), bool((partner == np.arange(5)).any())
    ([0, 1, 2, 3, 4], False)
    """
    order = generator(seed, "clean strangers").permutation(identities)
    partner = np.empty(identities, np.int64)
    partner[order] = np.roll(order, -1)
    return partner


def stranger_similarity(
    blocks: IdentityBlocks,
    means_ID: np.ndarray,
    partner_I: np.ndarray,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """The cosine of every image to the mean of the identity that is its own one's partner: float32[n].

    Example:
        >>> eye = np.eye(2, dtype=np.float32)
        >>> stranger_similarity(IdentityBlocks(eye, np.array([0, 1])), eye, np.array([1, 0])).tolist()
        [0.0, 0.0]
    """
    found = np.empty(blocks.images, np.float32)
    for block in blocks:
        theirs = torch.from_numpy(means_ID[partner_I[block.identities]]).to(blocks.device)
        found[block.images] = (block.embeddings * block.spread_out(theirs)).sum(1).cpu().numpy()
        if progress:
            progress(len(block.embeddings))
    return found


def find_better_identities(
    blocks: IdentityBlocks,
    means_ID: np.ndarray,
    image_c: np.ndarray,
    progress: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest identity of each of some images but its own: exact, c·I·D multiply-adds.

    Args:
        means_ID: float32[I, D], in memory or a memory map, which is passed over once for 65,536 images.
        image_c: int64[c], rows of the images, ascending.
        progress: called with the number of images that have been looked up.

    Returns:
        int64[c] places of the identities (-1 where there is no other), float32[c] cosines (-1 likewise).

    Example:
        >>> images = np.array([[1, 0], [0, 1], [0, 1]], np.float32)  # the second has the look of identity 1
        >>> blocks = IdentityBlocks(images, np.array([0, 0, 1]))
        >>> find_better_identities(blocks, images[[0, 2]], np.array([1]))
        (array([1]), array([1.], dtype=float32))
    """
    owner_c = np.searchsorted(blocks.offset, image_c, side="right") - 1
    other_c, similarity_c = np.full(len(image_c), -1), np.full(len(image_c), -1, np.float32)
    means = MeanBlocks(means_ID)
    for start in range(0, len(image_c), QUERIES):
        some = slice(start, start + QUERIES)
        queries = blocks.rows(image_c[some])
        owner = torch.from_numpy(owner_c[some]).to(blocks.device)
        best = torch.full((len(queries),), -torch.inf, device=blocks.device)
        place = torch.full((len(queries),), -1, device=blocks.device)
        for first, rows in blocks_on(means, blocks.device):
            _keep_nearest(queries, owner - first, rows, first, best, place)
        found = place.cpu().numpy()
        there = found >= 0
        other_c[some], similarity_c[some] = found, np.where(there, best.cpu().numpy(), -1)
        if progress:
            progress(len(queries))
    return other_c, similarity_c


def _keep_nearest(
    queries: torch.Tensor,
    own: torch.Tensor,
    rows: torch.Tensor,
    first: int,
    best: torch.Tensor,
    place: torch.Tensor,
) -> None:
    """Replace what is known by what is nearer among `rows`, of equally near ones the first."""
    at_a_time = max(1, similarities_at_a_time(queries.device) // len(rows))
    for start in range(0, len(queries), at_a_time):
        some = slice(start, start + at_a_time)
        cosine = queries[some] @ rows.T
        inside = (own[some] >= 0) & (own[some] < len(rows))
        column = own[some].clamp(0, len(rows) - 1)[:, None]
        its_own = cosine.gather(1, column)
        cosine.scatter_(1, column, torch.where(inside[:, None], -torch.inf, its_own))
        nearest, at = cosine.max(1)
        nearer = nearest > best[some]
        best[some] = torch.where(nearer, nearest, best[some])
        place[some] = torch.where(nearer, at + first, place[some])
