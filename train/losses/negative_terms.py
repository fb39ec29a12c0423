"""Sums over all negatives of every anchor, tile by tile, and the slope of every similarity in them.

Tiles are kept between the two looks where they fit, and made again where they do not.

Shapes: B anchors, R references, i anchors and j references of a tile, P positives of the anchor that has most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ...mining.similarity_tiles import Tile, Tiling
from .sorted_pairs import SortedPairs

KEPT_AT_MOST = 2**28
"""Similarities that are kept for the second look: 1 GiB in float32."""
NOTHING = -1e30
"""Logit of what does not count: finite, so that the gradient of an anchor without negatives is 0 and not NaN."""
LARGEST_EXPONENT = 64.0
"""Sums of a hundred thousand exponentials up to this one, and the smallest of them, are normal numbers of float32."""
LEAST_EXPONENT = -80.0
"""exp(-80) = 2e-35, nothing beside exp(0) and still a normal float32; where a result underflows, a CPU takes ten times as long."""


class NegativeTerms(Protocol):
    """One term for each negative of each anchor, added up by anchor."""

    def begin(self, tile: Tile) -> None:
        """Prepare a tile that was just made, in place."""
        ...

    def look(self, tile: Tile) -> None:
        """Add up."""
        ...

    def total(self) -> Tensor:
        """float[B], once all tiles were looked at."""
        ...

    def slope(self, tile: Tile, slope_B: Tensor) -> Tensor:
        """dL/ds of the tile's similarities by dL/d of the totals; of both ways together where it is mirrored."""
        ...


Formula = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
"""Totals float[B] to the loss, its slope by them, and its slope by the cosines of the positives, float[B, P]."""


def loss_of_totals(pairs: SortedPairs, terms: NegativeTerms, formula: Formula) -> Tensor:
    """Look at every tile, make the loss of the totals, and take in its gradient."""
    tiles = _Tiles(pairs, terms)
    for tile in tiles:
        terms.look(tile)
    loss, slope_B, slope_BP = formula(terms.total())
    if pairs.wants_gradient:
        pairs.add(pairs.place_BP, slope_BP)
        for tile in tiles:
            pairs.add_tile(tile.rows, tile.columns, terms.slope(tile, slope_B))
    return loss


class _Tiles:
    """The tiles of a batch as the terms prepare them, as often as they are gone through."""

    def __init__(self, pairs: SortedPairs, terms: NegativeTerms) -> None:
        self._tiling = Tiling(pairs.anchors_BD, pairs.references_RD, pairs.runs)
        self._terms = terms
        self._keep = pairs.wants_gradient and self._tiling.numbers <= KEPT_AT_MOST
        self._kept: list[Tile] = []

    def __iter__(self) -> Iterator[Tile]:
        if self._kept:
            yield from self._kept
            return
        for tile in self._tiling:
            self._terms.begin(tile)
            if self._keep:
                self._kept.append(tile)
            yield tile


class Exponentials:
    """log Σ exp(scale · s), where scale is at most `LARGEST_EXPONENT`: one exponential serves both looks and both ways."""

    def __init__(self, pairs: SortedPairs, scale: float) -> None:
        self.scale = scale
        self.sum_B = pairs.anchors_BD.new_zeros(len(pairs.anchors_BD))

    def begin(self, tile: Tile) -> None:
        """Turn similarities into exponentials, 0 where there is no negative."""
        tile.cosine.mul_(self.scale).exp_()
        if tile.negative is not None:
            tile.cosine.mul_(tile.negative)

    def look(self, tile: Tile) -> None:
        """Add up."""
        for term, _, anchors, _ in tile.ways():
            self.sum_B[anchors] += term.sum(dim=1)

    def total(self) -> Tensor:
        """float[B]; far below any logarithm of a sum where an anchor has no negative."""
        return torch.where(self.sum_B > 0, self.sum_B.log(), NOTHING)

    def slope(self, tile: Tile, slope_B: Tensor) -> Tensor:
        """Each exponential times what its anchors make of it."""
        factor_B = torch.where(self.sum_B > 0, self.scale * slope_B / self.sum_B, 0.0)
        if not tile.mirrored:
            return tile.cosine * factor_B[tile.rows, None]
        return (factor_B[tile.rows, None] + factor_B[tile.columns]).mul_(tile.cosine)


class LogSumExp:
    """log Σ exp(logit(s)) for logits of any size.

    Args:
        logit: similarities to logits and their slopes; it must not change its argument.
        above_B: only negatives whose similarity is above this count; None: all.
    """

    def __init__(
        self,
        pairs: SortedPairs,
        logit: Callable[[Tensor], tuple[Tensor, Tensor | float]],
        above_B: Tensor | None = None,
    ) -> None:
        self.logit, self.above_B = logit, above_B
        self.total_B = torch.full_like(pairs.anchors_BD[:, 0], NOTHING)

    def begin(self, tile: Tile) -> None:
        """Leave the similarities as they are."""

    def _logits(self, tile: Tile) -> Iterator[tuple[Tensor, Tensor | float, slice]]:
        for cosine, negative, anchors, _ in tile.ways():
            logit, slope = self.logit(cosine)
            if self.above_B is not None:
                above = cosine > self.above_B[anchors, None]
                negative = above if negative is None else negative & above
            yield logit if negative is None else logit.masked_fill_(~negative, NOTHING), slope, anchors

    def look(self, tile: Tile) -> None:
        """Add up."""
        for logit, _, anchors in self._logits(tile):
            highest = logit.amax(dim=1, keepdim=True)
            sums = logit.sub_(highest).clamp_(min=LEAST_EXPONENT).exp_().sum(dim=1)
            self.total_B[anchors] = torch.logaddexp(self.total_B[anchors], highest[:, 0] + sums.log())

    def total(self) -> Tensor:
        """float[B]; about `NOTHING` where an anchor has no negative."""
        return self.total_B

    def slope(self, tile: Tile, slope_B: Tensor) -> Tensor:
        """The softmax of the logits, times their slope."""
        ways = []
        for logit, slope, anchors in self._logits(tile):
            share = logit.sub_(self.total_B[anchors, None]).clamp_(min=LEAST_EXPONENT).exp_()
            ways.append(share.mul_(slope).mul_(slope_B[anchors, None]))
        return ways[0] + ways[1].T if tile.mirrored else ways[0]


class Hinges:
    """Σ [m - d]+ or its square, d the Euclidean distance of unit vectors, and on demand how many are above 0."""

    def __init__(self, pairs: SortedPairs, margin: float, squared: bool, counted: bool) -> None:
        self.margin, self.squared, self.counted = margin, squared, counted
        self.sum_B = pairs.anchors_BD.new_zeros(len(pairs.anchors_BD))
        self.active_B = torch.zeros(len(self.sum_B), dtype=torch.int64, device=self.sum_B.device)
        """Negatives nearer than the margin, where they are counted."""

    def begin(self, tile: Tile) -> None:
        """Put what is no negative far away."""
        if tile.negative is not None:
            tile.cosine.masked_fill_(~tile.negative, NOTHING)

    def _distance(self, tile: Tile) -> Tensor:
        # The root's slope is infinite at 0, where two images have one embedding.
        return (2 - 2 * tile.cosine).clamp_(min=1e-12).sqrt_()

    def look(self, tile: Tile) -> None:
        """Add up."""
        hinge = self._distance(tile).neg_().add_(self.margin).clamp_(min=0)
        if self.counted:
            active = hinge > 0
            self.active_B[tile.rows] += active.sum(dim=1)
            if tile.mirrored:
                self.active_B[tile.columns] += active.sum(dim=0)
        if self.squared:
            hinge.square_()
        self.sum_B[tile.rows] += hinge.sum(dim=1)
        if tile.mirrored:
            self.sum_B[tile.columns] += hinge.sum(dim=0)

    def total(self) -> Tensor:
        """float[B]."""
        return self.sum_B

    def slope(self, tile: Tile, slope_B: Tensor) -> Tensor:
        """2 [m - d]+ / d, or 1 / d where d is below m; 0 where d is held at its least."""
        distance = self._distance(tile)
        slope = functional.relu(self.margin - distance)
        slope = (slope.mul_(2) if self.squared else slope.gt_(0)).div_(distance)
        slope.mul_(distance > 1.0001e-6)
        factor = slope_B[tile.rows, None]
        return slope.mul_(factor + slope_B[tile.columns] if tile.mirrored else factor)


class TripletHinges:
    """Σ over negatives and positives of [d_ap - d_an + m]+, d the squared distance 2 - 2·s, and how many violate."""

    def __init__(self, pairs: SortedPairs, margin: float) -> None:
        # Where there is no positive nothing can come closer than it.
        self.positive_BP = pairs.positive_cosine.masked_fill(~pairs.exists_BP, torch.inf)
        self.margin = margin
        self.sum_B = pairs.anchors_BD.new_zeros(len(pairs.anchors_BD))
        self.active_BP = torch.zeros(self.positive_BP.shape, dtype=torch.int64, device=self.sum_B.device)
        """Violating negatives of every pair."""
        self.hard_B = torch.zeros(len(self.sum_B), dtype=torch.int64, device=self.sum_B.device)
        """Triplets whose negative is nearer than the positive."""

    def begin(self, tile: Tile) -> None:
        """Put what is no negative far away."""
        if tile.negative is not None:
            tile.cosine.masked_fill_(~tile.negative, -torch.inf)

    def look(self, tile: Tile) -> None:
        """Add up."""
        for cosine, _, anchors, _ in tile.ways():
            for p, positive in enumerate(self.positive_BP[anchors].unbind(dim=1)):
                nearer = cosine - positive[:, None]
                self.hard_B[anchors] += (nearer > 0).sum(dim=1)
                violation = nearer.mul_(2).add_(self.margin).clamp_(min=0)
                self.active_BP[anchors, p] += (violation > 0).sum(dim=1)
                self.sum_B[anchors] += violation.sum(dim=1)

    def total(self) -> Tensor:
        """float[B]."""
        return self.sum_B

    def slope(self, tile: Tile, slope_B: Tensor) -> Tensor:
        """2 for every positive whose triplet violates."""
        ways = []
        for cosine, _, anchors, _ in tile.ways():
            count = torch.zeros_like(cosine)
            for positive in self.positive_BP[anchors].unbind(dim=1):
                count += (cosine - positive[:, None]).mul_(2).add_(self.margin) > 0
            ways.append(count.mul_(2 * slope_B[anchors, None]))
        return ways[0] + ways[1].T if tile.mirrored else ways[0]
