"""Triplet losses whose negatives are drawn: uniformly (OHNM), or by distance (Sampling Matters).

Memory is O(B · P) and a block of similarities, 512 MiB at most. Draws are the same on every device. The arguments of every
call are those of `pair_loss`.

Shapes: B anchors (the batch), P positives of the anchor that has most.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from .loss import TripletLoss, TripletStatistics
from .pair_engine import Outcome, pair_loss, rule
from .registry import check_settings
from .sorted_pairs import SortedPairs
from .step_generator import StepSeeds
from .triplet_choice import Chosen, by_distance, distance, hinge, uniform


class RandomTripletLoss(TripletLoss):
    """OHNM, the plain baseline of Wang, Zhang, Lan (2017): random triplets, `loss(embeddings, labels)`.

    Every anchor-positive pair of the batch meets one negative drawn uniformly from the other identities;
    mean over the violating ones of [d_ap - d_an + m]+, d = 2 - 2·cos.

    >>> import torch
    >>> loss = RandomTripletLoss(margin=2.0)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    1.3000

    Args:
        margin: m; 0.2 to 0.5 (unpublished).
        seed: of the negatives.
    """

    def __init__(self, margin: float = 0.3, seed: int = 0) -> None:
        super().__init__()
        check_settings("ohnm", {"margin": margin})
        self.margin = margin
        self.steps = StepSeeds(seed, "random triplets")

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient where the batch has no triplet or none violates."""
        settings = {"margin": self.margin, "seed": self.steps()}
        loss, statistics = pair_loss("ohnm", settings, embeddings, labels, ref_emb, ref_labels, own_start)
        self.statistics = TripletStatistics(*statistics[:3].unbind())
        return loss


class DistanceWeightedLoss(TripletLoss):
    """Negatives drawn so that all distances are equally likely (Wu et al. 2017, "Sampling Matters"), `loss(embeddings, labels)`.

    Every anchor-positive pair meets one negative drawn with the probabilities of `distance_weights`; an
    anchor whose negatives are all beyond 1.4 is left out. By default the triplet hinge over d = 2 - 2·cos,
    mean over the violating triplets. With `boundary` β the paper's margin-based loss over Euclidean
    distances, ([d_ap - β + m]+ + [β - d_an + m]+), the sum divided by the number of terms above 0.

    >>> import torch
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
        self.steps = StepSeeds(seed, "distance-weighted negatives")

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
        settings = {"margin": self.margin, "boundary": self.boundary, "seed": self.steps()}
        loss, statistics = pair_loss(
            "distance_weighted", settings, embeddings, labels, ref_emb, ref_labels, own_start
        )
        self.statistics = TripletStatistics(*statistics[:3].unbind())
        return loss


@rule("ohnm")
def _ohnm(pairs: SortedPairs, margin: float, seed: int) -> Outcome:
    return hinge(pairs, uniform(pairs, seed), margin)


@rule("distance_weighted")
def _distance_weighted(pairs: SortedPairs, margin: float, boundary: float | None, seed: int) -> Outcome:
    chosen = by_distance(pairs, seed)
    return hinge(pairs, chosen, margin) if boundary is None else _around(pairs, chosen, margin, boundary)


def _around(pairs: SortedPairs, chosen: Chosen, margin: float, boundary: float) -> Outcome:
    """[d_ap - β + m]+ + [β - d_an + m]+ over the triplets, divided by the terms above 0; d is not squared."""
    exists_BP = chosen.exists[:, :, 0]
    d_ap_BP, slope_ap_BP = distance(chosen.positive_cosine, squared=False)
    d_an_BP, slope_an_BP = distance(chosen.negative_cosine[:, :, 0], squared=False)
    far_BP = functional.relu(d_ap_BP - boundary + margin) * exists_BP
    near_BP = functional.relu(boundary - d_an_BP + margin) * exists_BP
    active = (far_BP > 0).sum() + (near_BP > 0).sum()
    scale = 1 / active.clamp(min=1).to(far_BP)
    pairs.add(chosen.positive, (far_BP > 0) * slope_ap_BP * scale)
    pairs.add(chosen.negative[:, :, 0], (near_BP > 0) * -slope_an_BP * scale)
    count = exists_BP.sum()
    means = ((d_BP * exists_BP).sum() / count for d_BP in (d_ap_BP, d_an_BP))
    return Outcome((far_BP + near_BP).sum() * scale, (active / (2 * count), *means))
