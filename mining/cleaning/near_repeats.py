"""Images that are nearly the same picture, by their embeddings: within an identity, and of two identities.

Embeddings and not a hash of pixels: they are there already, they find copies that were scaled or compressed anew, and a
hash of 64 bits takes aligned pictures of look-alikes for one. Within an identity every pair is compared. Of two
identities, all against all would be n² products: pairs are compared that agree in the 24 signs of one of 8 sets of
random directions, which finds 98 of 100 copies of cosine 0.999.

Shapes: n images, b images of a block, D numbers in an embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..randomness import generator
from .identity_blocks import IdentityBlock, IdentityBlocks

SETS, SIGNS = 8, 24
NEIGHBORS = 8
"""Images of equal signs that each is compared with."""
PAIRS = 1 << 18
"""Pairs whose signs are compared at once."""
_ONES = np.array([number.bit_count() for number in range(1 << 12)], np.uint8)
"""Bits that are set in 12."""
PADDED, PRODUCTS, ROWS = 16_384, 1 << 23, 4096
"""Images of identities that are compared at once, cosines of them, and images of a larger identity."""


def repeats_within(
    blocks: IdentityBlocks, similarity: float, progress: Callable[[int], None] | None = None
) -> np.ndarray:
    """The first image of its identity that each is nearly the same as, int64[n]; -1 where there is none before it.

    Example:
        >>> images = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
        >>> repeats_within(IdentityBlocks(images, np.zeros(3, int)), 0.999).tolist()
        [-1, -1, 0]
    """
    repeated = np.empty(blocks.images, np.int64)
    for block in blocks:
        first = _first_alike(block, blocks.count[block.identities], similarity).cpu().numpy()
        repeated[block.images] = np.where(first < 0, -1, first + block.images.start)
        if progress:
            progress(len(block.embeddings))
    return repeated


def _first_alike(block: IdentityBlock, size: np.ndarray, similarity: float) -> Tensor:
    """`repeats_within` by rows of a block, int64[b] on its device: identities of about one size are compared at once.

    Nothing waits for the device: what is compared with what is known on the host.

    Args:
        size: int64[i], as `block.count`.
    """
    b, device = len(block.embeddings), block.embeddings.device
    found = torch.full((b + 1,), -1, device=device)  # the last takes what is said of padding
    order = np.argsort(size, kind="stable")
    start, count = (torch.from_numpy(of[order]).to(device) for of in (np.cumsum(size) - size, size))
    for some in _groups(size[order]):
        most = int(size[order[some.stop - 1]])
        place = torch.arange(most, device=device)
        rows_gl = start[some, None] + place
        own_gl = place < count[some, None]
        images_glD = block.embeddings[rows_gl.clamp(max=b - 1)]
        step = max(1, min(ROWS, PRODUCTS // most))
        for low in range(0, most, step):
            rows = slice(low, min(most, low + step))
            before = slice(0, rows.stop)
            cosine = images_glD[:, rows] @ images_glD[:, before].mT
            alike = (cosine >= similarity) & (place[before] < place[rows, None])
            first = torch.where(alike, place[before], most).amin(2)
            said = torch.where(first < most, start[some, None] + first, -1)
            found[torch.where(own_gl[:, rows], rows_gl[:, rows], b)] = said
    return found[:b]


def _groups(size: np.ndarray) -> list[slice]:
    """Runs of identities of two images and more to be compared at once, of ascending sizes within a fifth.

    At most `PADDED` images, and `PRODUCTS` cosines of them at a time, but for a larger identity by itself.

    >>> _groups(np.array([1, 1, 2, 2, 2, 7, 8, 30_000]))
    [slice(2, 5, None), slice(5, 7, None), slice(7, 8, None)]
    """
    groups, first = list[slice](), int(np.searchsorted(size, 2))
    while first < len(size):
        alike = int(np.searchsorted(size, 1.2 * size[first], side="right"))
        most = int(size[alike - 1])
        room = max(1, min(PADDED // most, PRODUCTS // (most * min(most, ROWS))))
        groups.append(slice(first, min(alike, first + room)))
        first = groups[-1].stop
    return groups


def repeats_across(
    blocks: IdentityBlocks, similarity: float, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of images of two identities that are nearly the same: int64[p, 2], rows in order; float32[p] cosines.

    Fetched are those alone whose signs, of all sets together, differ hardly more often than those of such a pair do.
    Memory: some 70 bytes an image, and the pairs.

    Example:
        >>> images = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
        >>> repeats_across(IdentityBlocks(images, np.array([0, 0, 1])), 0.999)[0].tolist()
        [[0, 2]]
    """
    signs_n8, length = _signs(blocks, seed)
    most = _signs_that_differ(similarity, length)
    owner = np.repeat(np.arange(len(blocks.identity_id), dtype=np.int32), blocks.count)
    found = [np.empty(0, np.int64)]
    for signs in signs_n8.T:
        order = np.argsort(signs, kind="stable")
        for step in range(1, NEIGHBORS + 1):
            a, b = order[:-step], order[step:]
            alike = np.flatnonzero((signs[a] == signs[b]) & (owner[a] != owner[b]))
            for start in range(0, len(alike), PAIRS):
                some = alike[start : start + PAIRS]
                one, other = a[some], b[some]
                near = _differing(signs_n8[one], signs_n8[other]) <= most
                one, other = one[near], other[near]
                found.append(np.minimum(one, other) * blocks.images + np.maximum(one, other))
        found = [np.unique(np.concatenate(found))]
    pairs = np.stack(np.divmod(found[0], blocks.images), axis=1)
    cosine = pair_cosines(blocks, pairs)
    near = cosine >= similarity
    return pairs[near], cosine[near]


def _signs(blocks: IdentityBlocks, seed: int) -> tuple[np.ndarray, float]:
    """On which side of random planes through the mean image each lies, int32[n, SETS]; and how far from it they are."""
    centre = sum((block.embeddings.double().sum(0) for block in blocks), torch.zeros(())) / blocks.images
    planes = generator(seed, "clean signs").standard_normal((blocks.dimensions, SETS * SIGNS))
    planes = torch.from_numpy(planes.astype(np.float32)).to(blocks.device)
    bits = 2 ** torch.arange(SIGNS, dtype=torch.int32, device=blocks.device)
    signs = np.empty((blocks.images, SETS), np.int32)
    for block in blocks:
        sides = ((block.embeddings - centre.float()) @ planes > 0).view(-1, SETS, SIGNS)
        signs[block.images] = (sides * bits).sum(2, dtype=torch.int32).cpu().numpy()
    return signs, math.sqrt(max(1e-6, 1 - float(centre.square().sum())))


def _signs_that_differ(similarity: float, length: float) -> int:
    """How many signs of a pair of so high a cosine differ at most, six standard deviations above the mean.

    A random plane parts two directions with the probability angle / π (Charikar 2002, SimHash), seen from the mean image,
    from which an image is `length` away.

    >>> _signs_that_differ(0.999, 1.0), _signs_that_differ(0.999, 0.5)
    (13, 20)
    """
    half_chord = math.sqrt(max(0.0, 1 - similarity) / 2) / length
    share = min(0.5, 2 * math.asin(min(1.0, half_chord)) / math.pi)
    signs = SETS * SIGNS
    return math.ceil(signs * share + 6 * math.sqrt(signs * share * (1 - share)))


def _differing(a_p8: np.ndarray, b_p8: np.ndarray) -> np.ndarray:
    """How many signs differ, int[p]."""
    parted = a_p8 ^ b_p8
    return (_ONES[parted & 0xFFF] + _ONES[parted >> 12]).sum(axis=1, dtype=np.int64)


def pair_cosines(blocks: IdentityBlocks, pairs: np.ndarray) -> np.ndarray:
    """The cosine of each pair of images, float32[p] of int64[p, 2]; they are fetched some pairs at a time.

    >>> pair_cosines(IdentityBlocks(np.eye(2, dtype=np.float32), np.zeros(2, int)), np.array([[0, 1], [1, 1]])).tolist()
    [0.0, 1.0]
    """
    cosine = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), 65_536):
        some = pairs[start : start + 65_536]
        rows, place = np.unique(some, return_inverse=True)
        embeddings = blocks.rows(rows)
        a, b = torch.from_numpy(place.reshape(some.shape)).to(blocks.device).T
        cosine[start : start + len(some)] = (embeddings[a] * embeddings[b]).sum(1).cpu().numpy()
    return cosine
