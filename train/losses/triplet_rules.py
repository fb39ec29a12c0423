"""Triplet losses that differ in which triplets of the batch they take: all, the hardest, semi-hard ones.

d is the squared Euclidean distance of unit vectors, 2 - 2·cos, 0 to 4, unless said otherwise; losses are
means over the triplets that violate the margin. Memory is O(B · P) and a block of similarities, 512 MiB at most, and never one
of triplets. The arguments of every call are those of `pair_loss`.

Shapes: B anchors (the batch), R references (the batch itself unless others are given), P positives of the
anchor that has most.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ...mining.negative_search import NegativeRule
from .loss import TripletLoss, TripletStatistics
from .negative_terms import TripletHinges, loss_of_totals
from .pair_engine import Outcome, pair_loss, rule
from .registry import check_settings
from .sorted_pairs import SortedPairs
from .step_generator import StepSeeds
from .triplet_choice import hardest_positive, hinge, nearest, semi_hard


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

    Mean over the violating ones of [d_ap - d_an + m]+ ("batch all", Hermans et al. 2017). Exact, for a matrix product
    and P looks at each similarity, where a mask over triplets is O(B · P · R) in memory.

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
        loss, statistics = pair_loss(
            "batch_all", {"margin": self.margin}, embeddings, labels, ref_emb, ref_labels, own_start
        )
        self.statistics = TripletStatistics(*statistics[:3].unbind())
        self.shares = TripletShares(*statistics[3:6].unbind())
        return loss


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
        margin_inside: softplus(d_ap - d_an + m), the soft margin of pytorch-metric-learning (`smooth_loss`).
    """

    def __init__(
        self,
        margin: float = 0.3,
        *,
        squared: bool = True,
        soft_margin: bool = False,
        margin_inside: bool = False,
    ) -> None:
        super().__init__()
        how = {"squared": squared, "soft_margin": soft_margin, "margin_inside": margin_inside}
        check_settings("batch_hard", {"margin": margin, **how})
        self.margin, self.squared = margin, squared
        self.soft_margin, self.margin_inside = soft_margin, margin_inside

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient where the batch has no triplet or none violates."""
        settings = {
            "margin": self.margin,
            "squared": self.squared,
            "soft_margin": self.soft_margin,
            "margin_inside": self.margin_inside,
        }
        loss, statistics = pair_loss(
            "batch_hard", settings, embeddings, labels, ref_emb, ref_labels, own_start
        )
        self.statistics = TripletStatistics(*statistics[:3].unbind())
        return loss


NegativeChoice = Literal["hardest", "random"]


class SemiHardLoss(TripletLoss):
    """Every anchor-positive pair with a negative farther than the positive but inside the margin, `loss(embeddings, labels)`.

    FaceNet (Schroff et al. 2015, equation 4): d_ap < d_an < d_ap + m, mean of d_ap - d_an + m; a pair
    without such a negative is left out. Which of several the paper took is not published; chosen here:
    the hardest. The paper's batches hold some 40 images per identity and 1,800 in all.
    Cost: a matrix product, and P looks at each similarity. `statistics.active_fraction` is the share of pairs that have such a negative.

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
        self.steps = StepSeeds(seed, "semi-hard negatives")

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient where no pair has a semi-hard negative."""
        seed = self.steps()
        settings = {"margin": self.margin, "seed": seed if self.negative == "random" else None}
        loss, statistics = pair_loss(
            "semi_hard", settings, embeddings, labels, ref_emb, ref_labels, own_start
        )
        self.statistics = TripletStatistics(*statistics[:3].unbind())
        return loss


@rule("batch_all")
def _batch_all(pairs: SortedPairs, margin: float) -> Outcome:
    terms, exists_BP = TripletHinges(pairs, margin), pairs.exists_BP
    positives_B, negatives_B = exists_BP.sum(dim=1), pairs.negatives_B
    total = (positives_B * negatives_B).sum()

    def formula(total_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        share = 1 / terms.active_BP.sum().clamp(min=1).to(total_B)
        return total_B.sum() * share, share.expand_as(total_B), -2 * share * terms.active_BP

    loss = loss_of_totals(pairs, terms, formula)
    active, hard = terms.active_BP.sum(), terms.hard_B.sum()
    d_ap = ((2 - 2 * pairs.positive_cosine) * exists_BP).sum(dim=1) * negatives_B
    d_an = (2 * negatives_B - 2 * _cosines_to_negatives(pairs)) * positives_B
    return Outcome(
        loss,
        (
            active / total,
            d_ap.sum() / total,
            d_an.sum() / total,
            (total - active) / total,
            (active - hard) / total,
            hard / total,
        ),
    )


def _cosines_to_negatives(pairs: SortedPairs) -> Tensor:
    """Sum of each anchor's cosines to all its negatives, float[B]: those to all less those to its own identity."""
    anchors_BD, exists_BP = pairs.anchors_BD, pairs.exists_BP
    all_B = anchors_BD @ pairs.references_RD.sum(dim=0)
    itself_B = torch.linalg.vecdot(anchors_BD, anchors_BD) * (pairs.runs.own < len(pairs.references_RD))
    return all_B - (pairs.positive_cosine * exists_BP).sum(dim=1) - itself_B


@rule("batch_hard")
def _batch_hard(pairs: SortedPairs, margin: float, **how: bool) -> Outcome:
    return hinge(pairs, hardest_positive(nearest(pairs, NegativeRule(1))), margin, **how)


@rule("semi_hard")
def _semi_hard(pairs: SortedPairs, margin: float, seed: int | None) -> Outcome:
    chosen = semi_hard(pairs, margin, seed)
    outcome = hinge(pairs, chosen, margin)
    share = chosen.exists.sum() / pairs.exists_BP.sum()
    return Outcome(outcome.loss, (share, *outcome.statistics[1:]))
