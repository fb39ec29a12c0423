"""How many gallery rows are at least as similar to a query as its thresholds: exact, in tiles, on any device.

Shapes: Q queries; G gallery rows; R thresholds of a query; B columns of a tile; D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

CPU_TILE, GPU_TILE = (256, 4096), (4096, 32_768)
"""Queries and gallery rows of a tile: 4 MiB, which a processor's cache holds, and 512 MiB."""
FEW_THRESHOLDS = 8
"""Up to so many, each is compared with the whole tile; above, similarities are sorted in among them."""


def tile_shape(device: torch.device, block: int | None) -> tuple[int, int]:
    """Queries and gallery rows of a tile: `block` of both, or what suits the device."""
    if block is not None:
        return block, block
    return CPU_TILE if device.type == "cpu" else GPU_TILE


def counts_at_least(
    query: torch.Tensor,
    gallery: torch.Tensor,
    threshold_QR: torch.Tensor,
    own: np.ndarray,
    *,
    order: torch.Tensor | None = None,
    exact: bool = False,
    block: int | None = None,
    track: Callable[[int], object] = lambda pairs: None,
) -> torch.Tensor:
    """Count, for each query and each of its thresholds, the gallery rows that reach it; its own rows do not count.

    A matrix product of Q x G x D, and a comparison on top. On a processor a tile's rows are looked through only if
    their highest similarity reaches the lowest threshold. On a GPU nothing is read back, so nothing waits.

    >>> import torch
    >>> rows = torch.eye(3)
    >>> own = np.array([[0, 1], [1, 2], [2, 3]])
    >>> counts_at_least(rows, rows, torch.tensor([[-0.5, 0.5]]).repeat(3, 1), own).tolist()
    [[2, 0], [2, 0], [2, 0]]

    Args:
        query: float32[Q, D]. gallery: float32[G, D], on the same device.
        threshold_QR: float32 (float64 where exact), ascending in each row; inf where a query has fewer.
        own: int64[Q, 2], first and last + 1 column of a query's own rows, of ascending first; equal where it has none.
        order: int64[G'], the gallery rows that take part, in the order that `own` counts in; None: all, as they are.
        exact: compare `exact_rows` in float64, at 1.3 to 1.7 times the cost on a processor.
        block: queries and gallery rows of a tile.
        track: told how many pairs were compared, on a GPU handed over to be.

    Returns:
        int64[Q, R].
    """
    import torch

    tile_queries, tile_rows = tile_shape(query.device, block)
    columns = len(gallery) if order is None else len(order)
    counts_QR = torch.zeros(threshold_QR.shape, dtype=torch.int64, device=query.device)
    own_Q2 = torch.from_numpy(own).to(query.device)
    room = threshold_QR.new_empty(min(tile_queries, len(query)) * min(tile_rows, columns))
    for left in range(0, columns, tile_rows):
        right = min(left + tile_rows, columns)
        others_BD = gallery[left:right] if order is None else gallery[order[left:right]]
        others_BD = exact_rows(others_BD) if exact else others_BD
        for top in range(0, len(query), tile_queries):
            rows = slice(top, min(top + tile_queries, len(query)))
            tile = room[: (rows.stop - top) * (right - left)].view(rows.stop - top, right - left)
            torch.mm(exact_rows(query[rows]) if exact else query[rows], others_BD.T, out=tile)
            if own[top, 0] < right and own[rows, 1].max() > left:  # known on the host
                column = torch.arange(left, right, device=query.device)
                tile.masked_fill_((column >= own_Q2[rows, :1]) & (column < own_Q2[rows, 1:]), -torch.inf)
            add_counts(tile, threshold_QR[rows], counts_QR[rows])
            track(tile.numel())
    return counts_QR


def exact_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows in float64, scaled to length 1: their products are cosines to 1e-15, whatever the shape of a tile."""
    import torch

    return torch.nn.functional.normalize(rows.double())


def add_counts(tile_QB: torch.Tensor, threshold_QR: torch.Tensor, counts_QR: torch.Tensor) -> None:
    """Add to `counts_QR`, in place, how many of each row of the tile reach each threshold."""

    if tile_QB.device.type == "cpu":
        reached = (tile_QB.amax(1) >= threshold_QR[:, 0]).nonzero().squeeze(1)
        if len(reached) == 0:
            return
        if 2 * len(reached) < len(tile_QB):  # taking them out costs as much as comparing the others
            some_QR = counts_QR[reached]
            _compare(tile_QB[reached], threshold_QR[reached], some_QR)
            counts_QR[reached] = some_QR
            return
    _compare(tile_QB, threshold_QR, counts_QR)


def _compare(tile_QB: torch.Tensor, threshold_QR: torch.Tensor, counts_QR: torch.Tensor) -> None:
    import torch

    thresholds = threshold_QR.shape[1]
    if thresholds <= FEW_THRESHOLDS:
        reaches = torch.empty_like(tile_QB, dtype=torch.bool)
        for place in range(thresholds):
            torch.ge(tile_QB, threshold_QR[:, place : place + 1], out=reaches)
            # bytes add up twice as fast as bools
            counts_QR[:, place] += reaches.view(torch.uint8).sum(1, dtype=torch.int32)
    elif tile_QB.device.type == "cpu":
        for tile_B, threshold_R, counts_R in zip(
            tile_QB.numpy(), threshold_QR.numpy(), counts_QR.numpy(), strict=True
        ):
            high = np.sort(tile_B[tile_B >= threshold_R[0]])  # 30 times as fast as torch's on a processor
            counts_R += len(high) - np.searchsorted(high, threshold_R)
    else:
        reached_QB = torch.searchsorted(
            threshold_QR, tile_QB, right=True
        )  # how many thresholds, from the lowest
        exactly_QR = counts_QR.new_zeros(len(tile_QB), thresholds + 1)
        exactly_QR.scatter_add_(1, reached_QB, torch.ones_like(reached_QB))
        counts_QR += exactly_QR[:, 1:].flip(1).cumsum(1).flip(1)
