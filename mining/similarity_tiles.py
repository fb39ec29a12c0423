"""Similarities of anchors and references tile by tile; of a batch that is its own references only half of them.

A tile above the diagonal of such a batch serves the anchors of its rows and those of its columns.

Shapes: B anchors, R references, i anchors and j references of a tile, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .block_sizes import similarities_at_a_time
from .label_runs import LabelRuns

SIDE_ON_CPU = 512
"""Rows and columns of a tile: 1 MB in float32 stays in a core's cache."""
LEAST_SIDE, MOST_SIDE = 2048, 8192
"""The same on a GPU: fewer make many small launches, more want memory."""


class Tile(NamedTuple):
    """Some anchors beside some references."""

    cosine: Tensor
    """float[i, j]."""
    negative: Tensor | None
    """bool[i, j]; None where all are negatives."""
    rows: slice
    columns: slice
    mirrored: bool
    """Whether it stands for its mirror image, too: the columns are anchors and the rows their references."""

    def ways(self) -> Iterator[tuple[Tensor, Tensor | None, slice, slice]]:
        """Yield (similarities float[anchors, references], negatives, anchors, references), once or both ways round."""
        yield self.cosine, self.negative, self.rows, self.columns
        if self.mirrored:
            negative = None if self.negative is None else self.negative.T
            yield self.cosine.T, negative, self.columns, self.rows


class Tiling:
    """The tiles of a batch, made when they are gone through.

    Args:
        anchors_BD: float[B, D], unit length, sorted by label.
        references_RD: float[R, D], likewise; the same tensor where the batch is its own references.
        runs: of the labels, on their device.

    Example:
        >>> unit = torch.eye(3)
        >>> tiling = Tiling(unit, unit, LabelRuns.of(torch.tensor([0, 0, 1])))
        >>> [tile.negative.tolist() for tile in tiling]
        [[[False, False, True], [False, False, True], [True, True, False]]]
    """

    def __init__(self, anchors_BD: Tensor, references_RD: Tensor, runs: LabelRuns) -> None:
        self.anchors_BD, self.references_RD, self.runs = anchors_BD, references_RD, runs
        B, R = len(anchors_BD), len(references_RD)
        self.symmetric = references_RD is anchors_BD
        side = _side(max(B, R), anchors_BD.device)
        self._places = [
            (rows, columns)
            for rows in _positions(B, side)
            for columns in _positions(R, side)
            if not (self.symmetric and columns.start < rows.start)
        ]

    def __len__(self) -> int:
        return len(self._places)

    @property
    def numbers(self) -> int:
        """Similarities in all tiles."""
        return sum(
            (rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in self._places
        )

    def __iter__(self) -> Iterator[Tile]:
        for rows, columns in self._places:
            cosine = self.anchors_BD[rows] @ self.references_RD[columns].T
            mirrored = self.symmetric and rows != columns
            yield Tile(cosine, self._negatives(rows, columns), rows, columns, mirrored)

    def _negatives(self, rows: slice, columns: slice) -> Tensor | None:
        first, last = self.runs.ends
        if first[rows.start] >= columns.stop or last[rows.stop - 1] <= columns.start:
            return None
        column_j = torch.arange(columns.start, columns.stop, device=self.anchors_BD.device)
        first_i1, last_i1 = self.runs.first[rows, None], self.runs.last[rows, None]
        return (column_j < first_i1) | (column_j >= last_i1)


def _side(longest: int, device: torch.device) -> int:
    if device.type == "cpu":
        return SIDE_ON_CPU
    if longest <= LEAST_SIDE:
        return LEAST_SIDE
    fits = int((similarities_at_a_time(device) / 4) ** 0.5)
    return min(max(LEAST_SIDE, longest // 4), MOST_SIDE, max(LEAST_SIDE, fits))


def _positions(total: int, size: int) -> Iterator[slice]:
    """0..total in slices of at most `size`."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
