"""Triplet losses that differ in which triplets of the batch they take: all, the hardest, semi-hard ones.

d is the squared Euclidean distance of unit vectors, 2 - 2·cos, 0 to 4, unless said otherwise; losses are
means over the triplets that violate the margin. Each holds float[B, R] matrices, at most some eleven at
once (0.7 GB at 4,096 × 4,096; batch hard 0.25), and never one of triplets. The arguments of every call are those of `anchor_pairs`.

Shapes: B anchors (the batch), R references (the batch itself unless others are given), P positives of the
anchor that has most, T triplets.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .anchors import anchor_pairs
from .loss import TripletLoss, TripletStatistics
from .registry import check_settings
from .step_generator import StepGenerator


def triplet_hinge(d_ap_T: Tensor, d_an_T: Tensor, margin: float) -> tuple[Tensor, TripletStatistics]:
    """Mean over the violating triplets of [d_ap - d_an + m]+ (0 where none violates), and what to log."""
    violation_T = d_ap_T - d_an_T + margin
    active_T = violation_T.detach() > 0
    statistics = TripletStatistics(active_T.float().mean(), d_ap_T.detach().mean(), d_an_T.detach().mean())
    return functional.relu(violation_T).sum() / active_T.sum().clamp(min=1), statistics


class TripletShares(NamedTuple):
    """How hard the triplets of a batch are; scalar tensors that add up to 1, NaN without triplets."""

    easy: Tensor
    """d_an at or beyond d_ap + m: nothing to learn."""
    semi_hard: Tensor
    """d_ap <= d_an < d_ap + m."""
    hard: Tensor
    """d_an < d_ap."""


class BatchAllLoss(TripletLoss):
    """Triplet loss over every valid (anchor, positive, negative) of the batch, `loss(embeddings, labels)`.

    Mean over the violating ones of [d_ap - d_an + m]+ ("batch all", Hermans et al. 2017). Exact without
    visiting triplets: with c_ap the violating negatives of a pair and c_an the violating positives of a
    negative, counted by binary search in sorted rows, the sum is Σ c_ap (d_ap + m) - Σ c_an d_an, and the
    counts are constant around almost every point, so its gradient is the loss's own. Cost O(B · R log R)
    and memory O(B · R), where a mask over triplets is O(B · P · R).

    >>> loss = BatchAllLoss(margin=0.3)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    0.6200

    Args:
        margin: m; 0.1 to 0.5.
    """

    def __init__(self, margin: float = 0.3) -> None:
        super().__init__()
        check_settings("batch_all", {"margin": margin})
        self.margin = margin
        self.shares: TripletShares | None = None
        """Shares of the latest batch; its `statistics` are over all triplets, too."""

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient where the batch has no triplet or none violates."""
        pairs = anchor_pairs(embeddings, labels, ref_emb, ref_labels, own_start)
        distance_BR = pairs.distance()
        row_BP, exists_BP = pairs.positive_table()
        d_ap_BP = distance_BR.gather(1, row_BP)
        with torch.no_grad():
            d_an_BR = _sorted_negatives(distance_BR, pairs.negative).values
            reach_BP = d_ap_BP + self.margin
            c_ap_BP = torch.searchsorted(d_an_BR, reach_BP) * exists_BP
            hard_BP = torch.searchsorted(d_an_BR, d_ap_BP.contiguous()) * exists_BP
            sorted_BP = reach_BP.masked_fill(~exists_BP, -torch.inf).sort(dim=1).values
            reached_BR = torch.searchsorted(sorted_BP, distance_BR.contiguous(), right=True)
            c_an_BR = (row_BP.shape[1] - reached_BR) * pairs.negative
            triplets_B = exists_BP.sum(dim=1) * pairs.negative.sum(dim=1)
            total, active, hard = triplets_B.sum(), c_ap_BP.sum(), hard_BP.sum()
            # Triplets of a positive, and of a negative, for the means over all triplets.
            per_positive_B1 = pairs.negative.sum(dim=1, keepdim=True)
            per_negative_B1 = exists_BP.sum(dim=1, keepdim=True)
            self.statistics = TripletStatistics(
                active / total,
                (d_ap_BP * exists_BP * (per_positive_B1 / total)).sum() + 0 / total,
                (distance_BR * pairs.negative * (per_negative_B1 / total)).sum() + 0 / total,
            )
            self.shares = TripletShares((total - active) / total, (active - hard) / total, hard / total)
            share = 1 / active.clamp(min=1).to(distance_BR.dtype)
        return (c_ap_BP * share * (d_ap_BP + self.margin)).sum() - (c_an_BR * share * distance_BR).sum()


class BatchHardLoss(TripletLoss):
    """Each anchor with its farthest positive and nearest negative, `loss(embeddings, labels)`.

    "Batch hard" of Hermans et al. (2017), who take the Euclidean distance and find the soft margin better.
    Anchors without a positive are left out. Prone to collapse on label noise or at high learning rates.

    >>> loss = BatchHardLoss(margin=0.3)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    0.6200

    Args:
        margin: m, in units of d; 0.1 to 0.5.
        squared: False takes the Euclidean distance, 0 to 2.
        soft_margin: softplus(d_ap - d_an), mean over all anchors, instead of the hinge; m is unused.
    """

    def __init__(self, margin: float = 0.3, *, squared: bool = True, soft_margin: bool = False) -> None:
        super().__init__()
        check_settings("batch_hard", {"margin": margin, "squared": squared, "soft_margin": soft_margin})
        self.margin, self.squared, self.soft_margin = margin, squared, soft_margin

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient where the batch has no triplet or none violates."""
        pairs = anchor_pairs(embeddings, labels, ref_emb, ref_labels, own_start)
        anchor_T = pairs.positive.any(dim=1)
        distance_BR = pairs.distance()
        d_ap_T = distance_BR.masked_fill(~pairs.positive, -torch.inf).max(dim=1).values[anchor_T]
        d_an_T = distance_BR.masked_fill(~pairs.negative, torch.inf).min(dim=1).values[anchor_T]
        if not self.squared:
            # The root's slope is infinite at 0, where two images have one embedding.
            d_ap_T, d_an_T = d_ap_T.clamp(min=1e-12).sqrt(), d_an_T.clamp(min=1e-12).sqrt()
        loss, self.statistics = triplet_hinge(d_ap_T, d_an_T, self.margin)
        if self.soft_margin:
            return functional.softplus(d_ap_T - d_an_T).sum() / max(1, len(d_ap_T))
        return loss


NegativeChoice = Literal["hardest", "random"]


class SemiHardLoss(TripletLoss):
    """Every anchor-positive pair with a negative farther than the positive but inside the margin, `loss(embeddings, labels)`.

    FaceNet (Schroff et al. 2015, equation 4): d_ap < d_an < d_ap + m, mean of d_ap - d_an + m; a pair
    without such a negative is left out. Which of several the paper took is not published; chosen here:
    the hardest. The paper's batches hold some 40 images per identity and 1,800 in all.
    Cost O(B · R log R). `statistics.active_fraction` is the share of pairs that have such a negative.

    >>> loss = SemiHardLoss(margin=0.5)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    0.1000

    Args:
        margin: m; 0.2 in the paper.
        negative: `hardest`, the nearest of them, or `random`, any of them with equal chance.
        seed: of the random choice.
    """

    def __init__(self, margin: float = 0.2, negative: NegativeChoice = "hardest", seed: int = 0) -> None:
        super().__init__()
        check_settings("semi_hard", {"margin": margin, "negative": negative})
        self.margin, self.negative = margin, negative
        self.steps = StepGenerator(seed, "semi-hard negatives")

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient where no pair has a semi-hard negative."""
        pairs = anchor_pairs(embeddings, labels, ref_emb, ref_labels, own_start)
        distance_BR = pairs.distance()
        row_BP, exists_BP = pairs.positive_table()
        d_ap_BP = distance_BR.gather(1, row_BP)
        generator = self.steps(distance_BR.device)
        with torch.no_grad():
            d_an_BR, negative_BR = _sorted_negatives(distance_BR, pairs.negative)
            first_BP = torch.searchsorted(d_an_BR, d_ap_BP.contiguous(), right=True)
            inside_BP = torch.searchsorted(d_an_BR, d_ap_BP + self.margin) - first_BP
            if self.negative == "random":
                draw_BP = torch.randint(2**31, first_BP.shape, generator=generator, device=first_BP.device)
                first_BP = first_BP + draw_BP % inside_BP.clamp(min=1)
            taken_BP = exists_BP & (inside_BP > 0)
            row_an_BP = negative_BR.gather(1, first_BP.clamp(max=negative_BR.shape[1] - 1))
        d_an_BP = distance_BR.gather(1, row_an_BP)
        loss, statistics = triplet_hinge(d_ap_BP[taken_BP], d_an_BP[taken_BP], self.margin)
        self.statistics = statistics._replace(active_fraction=taken_BP.sum() / exists_BP.sum())
        return loss


def _sorted_negatives(distance_BR: Tensor, negative_BR: Tensor) -> torch.return_types.sort:
    return distance_BR.masked_fill(~negative_BR, torch.inf).sort(dim=1)
