"""Anchors and references sorted by label: an identity is a run of neighbours, so no table of anchors × references is made.

The order is found on the CPU, where labels usually come from. So nothing waits for a GPU, unless labels lie there.

Shapes: B anchors, R references (the anchors themselves unless others are given), P positives of the anchor that has most.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .device_copies import to_device


@dataclass(frozen=True)
class LabelRuns:
    """Where each anchor's identity lies. Places count in sorted order; tensors lie on the CPU until `on` moves them."""

    anchor_order: Tensor
    """int64[B], the anchor that stands at each place."""
    reference_order: Tensor
    """int64[R]."""
    first: Tensor
    """int64[B], place of the first reference of the anchor's identity."""
    last: Tensor
    """int64[B], the place after its last one."""
    own: Tensor
    """int64[B], place of the anchor itself among the references; R where it is not among them."""
    most: int
    """P."""
    ends: tuple[np.ndarray, np.ndarray]
    """`first` and `last` once more, to be read without waiting for a device."""

    @classmethod
    def of(
        cls, labels_B: Tensor, ref_labels_R: Tensor | None = None, own_start: int | None = None
    ) -> LabelRuns:
        """Sort. `own_start` is the reference that the first anchor is, where anchors are among the references.

        Example:
            >>> runs = LabelRuns.of(torch.tensor([7, 3, 7]))
            >>> runs.anchor_order.tolist(), runs.first.tolist(), runs.last.tolist(), runs.most
            ([1, 0, 2], [0, 1, 1], [1, 3, 3], 1)
        """
        labels_B = labels_B.cpu()
        ordered_B, anchor_order = labels_B.sort(stable=True)
        B = len(labels_B)
        if ref_labels_R is None:
            ordered_R, reference_order, own = ordered_B, anchor_order, torch.arange(B)
        else:
            ordered_R, reference_order = ref_labels_R.cpu().to(labels_B.dtype).sort(stable=True)
            own = torch.full((B,), len(ordered_R))
            if own_start is not None:
                place_R = torch.empty_like(reference_order)
                place_R[reference_order] = torch.arange(len(ordered_R))
                own = place_R[own_start + anchor_order]
        first = torch.searchsorted(ordered_R, ordered_B)
        last = torch.searchsorted(ordered_R, ordered_B, right=True)
        widest = int((last - first).max()) if B else 0
        most = widest - (ref_labels_R is None or own_start is not None)
        ends = first.numpy(), last.numpy()
        return cls(anchor_order, reference_order, first, last, own, max(0, most), ends)

    def on(self, device: torch.device) -> LabelRuns:
        """The same on a device, copied without waiting for it."""
        if device.type == "cpu":
            return self
        places_3B = torch.stack((self.first, self.last, self.own))
        places_3B, anchor_order, reference_order = (
            to_device(tensor, device) for tensor in (places_3B, self.anchor_order, self.reference_order)
        )
        first, last, own = places_3B.unbind()
        return LabelRuns(anchor_order, reference_order, first, last, own, self.most, self.ends)

    @cached_property
    def positives(self) -> tuple[Tensor, Tensor]:
        """Places of each anchor's positives, and which of them there are: int64[B, P], bool[B, P].

        An anchor is not its own positive. One without any negative has no positives either: a batch of one
        identity could only be pulled together, which is collapse.
        """
        offset_P = torch.arange(self.most, device=self.first.device)
        place_BP = self.first[:, None] + offset_P
        place_BP += place_BP >= self.own[:, None]
        references = len(self.reference_order)
        exists_BP = (place_BP < self.last[:, None]) & (self.last - self.first < references)[:, None]
        return place_BP.clamp(max=max(0, references - 1)), exists_BP

    def negative(self, drawn_BT: Tensor) -> Tensor:
        """Places of negatives by numbers of 0 or more, all of an anchor's as likely if the numbers are: int64[B, T].

        Of no meaning for an anchor without a negative.
        """
        # An identity is one run, so any place beside it is a negative.
        run_B1, references = (self.last - self.first)[:, None], len(self.reference_order)
        place_BT = drawn_BT % (references - run_B1).clamp(min=1)
        place_BT = place_BT + (place_BT >= self.first[:, None]) * run_B1
        return place_BT.clamp(max=references - 1)

    def barred(
        self, never: Tensor | None, labels_B: Tensor, ref_labels_R: Tensor
    ) -> list[tuple[slice, slice]]:
        """Places of anchors and references whose labels `never` pairs, both ways, of those that are present.

        Args:
            never: int[p, 2].
            labels_B: those that the runs were made of; `ref_labels_R` likewise.
        """
        if never is None or not len(never):
            return []
        never = never.cpu()
        pairs_p2 = torch.cat((never, never.flip(1)))
        ends = []
        for labels, side_p in ((labels_B, pairs_p2[:, 0]), (ref_labels_R, pairs_p2[:, 1])):
            ordered = labels.cpu().sort().values
            side_p = side_p.to(ordered.dtype).contiguous()
            ends += [torch.searchsorted(ordered, side_p), torch.searchsorted(ordered, side_p, right=True)]
        present_p = (ends[0] < ends[1]) & (ends[2] < ends[3])
        rows = torch.stack(ends, dim=1)[present_p].tolist()
        return [(slice(a, b), slice(c, d)) for a, b, c, d in rows]
