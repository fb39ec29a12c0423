"""Triplet losses whose negatives are drawn: uniformly (OHNM), or by distance (Sampling Matters).

Shapes: B anchors (the batch), R references (the batch itself unless others are given), D numbers in an
embedding, P positives of the anchor that has most, T triplets. Both hold float[B, R] matrices, some eight
at once (0.5 GB at 4,096 × 4,096). The arguments of every call are those of `anchor_pairs`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .anchors import anchor_pairs
from .loss import TripletLoss, TripletStatistics
from .registry import check_settings
from .step_generator import StepGenerator
from .triplet_rules import triplet_hinge

CLIPPED_BELOW = 0.5
"""Euclidean distance under which negatives are drawn as if they were this far: their gradient is noise."""
TOO_FAR = 1.4
"""Euclidean distance from which on a negative is never drawn: about that of unrelated directions."""


class RandomTripletLoss(TripletLoss):
    """OHNM, the plain baseline of Wang, Zhang, Lan (2017): random triplets, `loss(embeddings, labels)`.

    Every anchor-positive pair of the batch meets one negative drawn uniformly from the other identities;
    mean over the violating ones of [d_ap - d_an + m]+, d = 2 - 2·cos.

    >>> loss = RandomTripletLoss(margin=2.0)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    1.6000

    Args:
        margin: m; 0.2 to 0.5 (unpublished).
        seed: of the negatives.
    """

    def __init__(self, margin: float = 0.3, seed: int = 0) -> None:
        super().__init__()
        check_settings("ohnm", {"margin": margin})
        self.margin = margin
        self.steps = StepGenerator(seed, "random triplets")

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
        anchor_T, positive_T = pairs.positive.nonzero(as_tuple=True)
        negative_T = pairs.random_negatives(anchor_T, self.steps(anchor_T.device))
        distance_BR = pairs.distance()
        loss, self.statistics = triplet_hinge(
            distance_BR[anchor_T, positive_T], distance_BR[anchor_T, negative_T], self.margin
        )
        return loss


class DistanceWeightedLoss(TripletLoss):
    """Negatives drawn so that all distances are equally likely (Wu et al. 2017, "Sampling Matters"), `loss(embeddings, labels)`.

    Every anchor-positive pair meets one negative drawn with the probabilities of `distance_weights`; an
    anchor whose negatives are all beyond 1.4 is left out. By default the triplet hinge over d = 2 - 2·cos,
    mean over the violating triplets. With `boundary` β the paper's margin-based loss over Euclidean
    distances, ([d_ap - β + m]+ + [β - d_an + m]+), the sum divided by the number of terms above 0.

    >>> loss = DistanceWeightedLoss(margin=0.2, boundary=1.2)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    0.6585

    Args:
        margin: m; 0.2 in the paper.
        boundary: β, constant here; 1.2 in the paper. None: the triplet hinge.
        seed: of the negatives.
    """

    def __init__(self, margin: float = 0.2, boundary: float | None = None, seed: int = 0) -> None:
        super().__init__()
        check_settings("distance_weighted", {"margin": margin, "boundary": boundary})
        self.margin, self.boundary = margin, boundary
        self.steps = StepGenerator(seed, "distance-weighted negatives")

    @property
    def collapsed_value(self) -> float | None:
        """The margin; None with a boundary, which keeps a gradient there."""
        return super().collapsed_value if self.boundary is None else None

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
        weight_BR = distance_weights(
            distance_BR.detach().clamp(min=0).sqrt(), pairs.negative, embeddings.shape[1]
        )
        drawable_B = weight_BR.any(dim=1)
        weight_BR[~drawable_B] = 1.0  # multinomial refuses a row of zeros; what it draws there is unused
        row_ap_BP, exists_BP = pairs.positive_table()
        generator = self.steps(distance_BR.device)
        row_an_BP = row_ap_BP
        if row_ap_BP.shape[1]:
            row_an_BP = weight_BR.multinomial(row_ap_BP.shape[1], replacement=True, generator=generator)
        taken_BP = exists_BP & drawable_B[:, None]
        d_ap_T = distance_BR.gather(1, row_ap_BP)[taken_BP]
        d_an_T = distance_BR.gather(1, row_an_BP)[taken_BP]
        if self.boundary is None:
            loss, self.statistics = triplet_hinge(d_ap_T, d_an_T, self.margin)
            return loss
        # The root's slope is infinite at 0, where two images have one embedding.
        d_ap_T, d_an_T = d_ap_T.clamp(min=1e-12).sqrt(), d_an_T.clamp(min=1e-12).sqrt()
        term_2T = functional.relu(torch.cat([d_ap_T - self.boundary, self.boundary - d_an_T]) + self.margin)
        active_2T = term_2T.detach() > 0
        self.statistics = TripletStatistics(
            active_2T.float().mean(), d_ap_T.detach().mean(), d_an_T.detach().mean()
        )
        return term_2T.sum() / active_2T.sum().clamp(min=1)


def distance_weights(euclidean_BR: Tensor, negative_BR: Tensor, embedding_size: int) -> Tensor:
    """Chance of each reference to be an anchor's negative: float[B, R], rows of sum 1, or 0 where none can be.

    w ~ 1/q(d), q the density of the distance d of random points on the sphere:
    log w = (2 - D) log d - ((D - 3)/2) log(1 - d²/4), with d no smaller than 0.5, and w = 0 from d = 1.4 on.
    Relative to the likeliest of the row, so that a large D does not underflow every weight of an anchor.
    """
    drawn_BR = negative_BR & (euclidean_BR < TOO_FAR)
    d_BR = euclidean_BR.clamp(CLIPPED_BELOW, TOO_FAR)
    log_BR = (2 - embedding_size) * d_BR.log() - (embedding_size - 3) / 2 * (1 - d_BR.square() / 4).log()
    return log_BR.masked_fill(~drawn_BR, -torch.inf).softmax(dim=1).masked_fill(~drawn_BR, 0)
