"""Each image's nearest images, those that have it among theirs, and those that join them.

Shapes: N images; K neighbours, an image itself included; H of them that a neighbour's neighbours are; D dimensions;
b images at a time.
"""

from __future__ import annotations

import numpy as np

from .similarity_counts import tile_shape

STEP = 256
"""Images whose neighbours' neighbours are compared at a time."""


def nearest_images(
    rows: np.ndarray, count: int, block: int | None, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """int32[N, count] nearest of each row, itself included, and float32[N]: the largest squared distance."""
    import torch

    rows_ND = torch.from_numpy(rows).to(device)
    tile_queries, tile_rows = tile_shape(rows_ND.device, block)
    nearest = np.empty((len(rows), count), np.int32)
    farthest = np.empty(len(rows), np.float32)
    for top in range(0, len(rows), tile_queries):
        some = rows_ND[top : top + tile_queries]
        best = torch.empty(len(some), 0, device=some.device)
        place = torch.empty(len(some), 0, dtype=torch.int64, device=some.device)
        least = torch.full((len(some),), torch.inf, device=some.device)
        for left in range(0, len(rows), tile_rows):
            tile = some @ rows_ND[left : left + tile_rows].T
            least = torch.minimum(least, tile.amin(1))
            high = tile.topk(min(count, tile.shape[1]), dim=1)
            both = torch.cat((best, high.values), 1)
            best, chosen = both.topk(min(count, both.shape[1]), dim=1)
            place = torch.cat((place, high.indices + left), 1).gather(1, chosen)
        nearest[top : top + tile_queries] = place.cpu().numpy()
        farthest[top : top + tile_queries] = (2 - 2 * least).cpu().numpy()
    return nearest, np.maximum(farthest, np.finfo(np.float32).tiny)


def reciprocal(nearest_NK: np.ndarray, image: np.ndarray | None = None) -> np.ndarray:
    """bool[b, K]: which of an image's nearest have it among their own nearest; of all images by default."""
    if image is None:
        steps = (np.arange(top, min(top + STEP, len(nearest_NK))) for top in range(0, len(nearest_NK), STEP))
        return np.concatenate([reciprocal(nearest_NK, some) for some in steps])
    return (nearest_NK[nearest_NK[image]] == image[:, None, None]).any(axis=2)


def expanded(
    nearest_bK: np.ndarray, mutual_bK: np.ndarray, nearest_NH: np.ndarray, near_NH: np.ndarray
) -> np.ndarray:
    """int32[b, K + K * H]: the reciprocal neighbours and those that join, each once; else -1."""
    mutual = np.where(mutual_bK, nearest_bK, -1)
    theirs_bKH = np.where(near_NH[nearest_bK], nearest_NH[nearest_bK], -2)
    shared_bKH = np.zeros(theirs_bKH.shape, bool)
    for place in range(mutual.shape[1]):
        shared_bKH |= theirs_bKH == mutual[:, place, None, None]
    size_bK = (theirs_bKH >= 0).sum(axis=2)
    joins_bK = mutual_bK & (3 * shared_bKH.sum(axis=2) > 2 * size_bK)
    joined = np.where(joins_bK[:, :, None], theirs_bKH, -1).reshape(len(mutual), -1)
    members = np.sort(np.concatenate((mutual, joined), axis=1), axis=1)
    members[:, 1:][members[:, 1:] == members[:, :-1]] = -1
    return np.maximum(members, -1)
