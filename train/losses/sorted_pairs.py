"""Anchors beside references, sorted by label, and the gradient of both by the slopes of their similarities.

Shapes: B anchors (the batch), R references (the batch itself unless others are given), D numbers in an embedding, P positives
of the anchor that has most, T similarities of an anchor.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from ...mining.label_runs import LabelRuns
from ...mining.negative_search import similarities_at


class SortedPairs:
    """Anchors beside references, both sorted by label."""

    def __init__(
        self,
        unit_BD: Tensor,
        unit_RD: Tensor | None,
        runs: LabelRuns,
        barred: list[tuple[slice, slice]],
    ) -> None:
        self.runs, self.barred = runs.on(unit_BD.device), barred
        self.anchors_BD = self.references_RD = unit_BD[self.runs.anchor_order]
        if unit_RD is not None:
            self.references_RD = unit_RD[self.runs.reference_order]
        self.place_BP, self.exists_BP = self.runs.positives
        self.negatives_B = len(self.references_RD) - (self.runs.last - self.runs.first)
        """int64[B], negatives of each anchor."""
        (first, last), own, R = runs.ends, runs.own.numpy(), len(runs.reference_order)
        self.has_triplets = bool((((last - first) > (own < R)) & (last - first < R)).any())
        """Whether any anchor has a positive and a negative."""
        self.wants_gradient = False
        self.anchor_slope_BD: Tensor | None = None
        """dL/d of the anchors so far, of `add` and `add_tile`."""
        self.reference_slope_RD: Tensor | None = None
        """dL/d of the references; not used where the batch is its own references."""

    @property
    def symmetric(self) -> bool:
        """Whether the batch is its own references."""
        return self.references_RD is self.anchors_BD

    @cached_property
    def positive_cosine(self) -> Tensor:
        """float[B, P], cosines to the positives; of no meaning where there is none."""
        return similarities_at(self.anchors_BD, self.references_RD, self.place_BP)

    def add(self, place_BT: Tensor, slope_BT: Tensor) -> None:
        """Take in dL/ds of T similarities of every anchor: float[B, T], 0 where there is none.

        Every sum has its order: the same bytes on every run.
        """
        if not self.wants_gradient or not place_BT.numel():
            return
        slope_BT, T = slope_BT.to(self.anchors_BD.dtype), place_BT.shape[1]
        self._add_to_anchors(_sums(place_BT, self.references_RD, slope_BT))
        place, order = place_BT.flatten().sort(stable=True)
        starts = torch.searchsorted(place, torch.arange(len(self.references_RD), device=place.device))
        anchor = torch.div(order, T, rounding_mode="floor")
        self._add_to_references(_sums(anchor, self.anchors_BD, slope_BT.flatten()[order], starts))

    def add_tile(self, rows: slice, columns: slice, slope: Tensor) -> None:
        """Take in dL/ds of all similarities of some anchors to some references."""
        anchors_BD, references_RD = self.anchors_BD, self.references_RD
        if self.anchor_slope_BD is None:
            self.anchor_slope_BD = torch.zeros_like(anchors_BD)
        if self.symmetric:
            if rows == columns:
                self.anchor_slope_BD[rows].addmm_(slope + slope.T, anchors_BD[rows])
                return
            other_slope = self.anchor_slope_BD
        else:
            if self.reference_slope_RD is None:
                self.reference_slope_RD = torch.zeros_like(references_RD)
            other_slope = self.reference_slope_RD
        self.anchor_slope_BD[rows].addmm_(slope, references_RD[columns])
        other_slope[columns].addmm_(slope.T, anchors_BD[rows])

    def _add_to_anchors(self, slope_BD: Tensor) -> None:
        self.anchor_slope_BD = (
            slope_BD if self.anchor_slope_BD is None else self.anchor_slope_BD.add_(slope_BD)
        )

    def _add_to_references(self, slope_RD: Tensor) -> None:
        if self.symmetric:
            self._add_to_anchors(slope_RD)
        else:
            before = self.reference_slope_RD
            self.reference_slope_RD = slope_RD if before is None else before.add_(slope_RD)


def _sums(place: Tensor, rows: Tensor, weight: Tensor, starts: Tensor | None = None) -> Tensor:
    """Weighted sums of `rows`: one of each row of `place`, or of each stretch of it from `starts` on."""
    return functional.embedding_bag(place, rows, starts, mode="sum", per_sample_weights=weight)
