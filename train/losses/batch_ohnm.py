"""The triplet loss over batch-OHNM triplets.

Shapes: B images in a batch, R references, D numbers in an embedding.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ...mining.errors import SubspaceWarning
from ...mining.negative_search import NegativeRule
from .loss import Rung, TripletLoss, TripletStatistics
from .pair_engine import Outcome, pair_loss, rule
from .registry import check_settings, with_older_names
from .sorted_pairs import SortedPairs
from .triplet_choice import hinge, nearest


class BatchOHNMLoss(TripletLoss):
    """Batch OHNM triplet loss, called as `loss(embeddings, labels)`.

    Mean over the violating triplets of [d_ap - d_an + m]+, where every anchor-positive pair of the batch
    meets the anchor's k nearest negatives (Wang, Zhang, Lan 2017; k, m unpublished: k = 3 and
    m = 0.2..0.3 are a start). d is the squared Euclidean distance of unit vectors, 2 - 2·cos, from 0 to 4.
    Exact; forward and backward take little more than one B × B × D matrix product, and memory for a block of
    similarities, 512 MiB at most however large the batch.

    >>> loss = BatchOHNMLoss(margin=0.3, negatives=3)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    0.6200
    >>> print(f"{loss.statistics.active_fraction:.2f} of the triplets violate the margin")
    0.25 of the triplets violate the margin

    Args:
        margin: m, in units of d.
        negatives: k; 1 is prone to collapse on mislabelled or indistinguishable images.
        squared: False takes the Euclidean distance, 0 to 2.
        soft_margin: softplus(d_ap - d_an) instead of the hinge (Hermans et al. 2017), mean over all triplets;
            m then only decides which triplets count as active in the statistics.
        margin_inside: softplus(d_ap - d_an + m), the soft margin of pytorch-metric-learning (`smooth_loss`).
        mean_over_active: False divides the hinge by all mined triplets, so that the gradient fades as they
            are learned.
        range_min: leave out the nearest negatives up to this rank, of those that the rules below allow.
        range_max: look at the negatives up to this rank and no further, even if the rules below leave few of them.
        max_similarity: leave out negatives with a higher cosine (likely the same identity, mislabelled); the `max_score` of
            sentence-transformers' mine_hard_negatives, whose names the other three are.
        absolute_margin: only negatives with cosine below the positive's minus this; 0 is the semi-hard rule of
            FaceNet (Schroff et al. 2015).
        share_of_positive: only negatives with cosine below this share of the positive's; 0.95 is their relative_margin=0.05,
            NV-Retriever's TopK-PercPos (Moreira et al. 2024).
        choose_in: bfloat16 finds the negatives in half precision, which a GPU does ten times as fast; negatives that are
            almost equally near may change places. Their cosines are exact all the same.
        never: int[p, 2] pairs of labels that are never each other's negatives (known or suspected duplicates).
    """

    @with_older_names("batch_ohnm")
    def __init__(
        self,
        margin: float = 0.3,
        negatives: int = 3,
        *,
        squared: bool = True,
        soft_margin: bool = False,
        margin_inside: bool = False,
        mean_over_active: bool = True,
        range_min: int = 0,
        range_max: int | None = None,
        max_similarity: float | None = None,
        absolute_margin: float | None = None,
        share_of_positive: float | None = None,
        choose_in: Literal["float32", "bfloat16"] = "float32",
        never: Tensor | None = None,
    ) -> None:
        super().__init__()
        check_settings(
            "batch_ohnm",
            {
                "margin": margin,
                "negatives": negatives,
                "squared": squared,
                "soft_margin": soft_margin,
                "margin_inside": margin_inside,
                "mean_over_active": mean_over_active,
                "range_min": range_min,
                "range_max": range_max,
                "max_similarity": max_similarity,
                "absolute_margin": absolute_margin,
                "share_of_positive": share_of_positive,
                "choose_in": choose_in,
            },
        )
        self.margin = margin
        self.rule = NegativeRule(
            negatives, range_min, max_similarity, absolute_margin, share_of_positive, range_max
        )
        self.squared, self.soft_margin, self.mean_over_active = squared, soft_margin, mean_over_active
        self.margin_inside = margin_inside
        self.choose_in = choose_in
        self.never = torch.empty((0, 2), dtype=torch.int64) if never is None else never.reshape(-1, 2).cpu()

    @property
    def negatives(self) -> int:
        """k, the negatives of every anchor."""
        return self.rule.negatives

    @property
    def collapsed_value(self) -> float | None:
        """The margin, or ln 2. None with `max_similarity`, which leaves no negative there: the loss is 0."""
        return None if self.rule.max_similarity is not None else super().collapsed_value

    def rungs(self) -> Iterator[Rung]:
        """Yield: at least 10 negatives and three times as many; then semi-hard negatives only."""
        more = max(10, 3 * self.negatives)
        yield Rung(f"{more} negatives instead of {self.negatives}", self._with_rule(negatives=more))
        if not self.rule.per_positive:
            yield Rung("semi-hard negatives only", self._with_rule(absolute_margin=0.0))

    def _with_rule(self, **changed: Any) -> Callable[[], None]:
        def take() -> None:
            self.rule = replace(self.rule, **changed)

        return take

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient where the batch has no triplet or none violates.

        Args:
            embeddings: float[B, D]; normalised here, in float32 unless it is float64.
            labels: int[B], in any order; on the CPU they cost no wait for a GPU.
            ref_emb: float[R, D], where positives and negatives come from; None: the batch itself. With
                `ref_labels` and `own_start` as `pair_loss` explains them; references that require a
                gradient get one.

        Raises:
            InputError: shapes that do not fit; on the CPU also NaN or infinity among the embeddings.
        """
        settings = {
            "margin": self.margin,
            "squared": self.squared,
            "soft_margin": self.soft_margin,
            "margin_inside": self.margin_inside,
            "mean_over_active": self.mean_over_active,
            "choose_in": self.choose_in,
            "negatives": asdict(self.rule),
        }
        loss, statistics = pair_loss(
            "batch_ohnm", settings, embeddings, labels, ref_emb, ref_labels, own_start, self.never
        )
        self.statistics = TripletStatistics(*statistics[:3].unbind())
        return loss


@rule("batch_ohnm")
def _batch_ohnm(
    pairs: SortedPairs, margin: float, negatives: dict[str, Any], choose_in: str, **how: bool
) -> Outcome:
    if not pairs.has_triplets:
        warnings.warn(
            "a batch without triplets (one identity, or no identity with two images): its loss is 0",
            SubspaceWarning,
            stacklevel=2,
        )
    return hinge(pairs, nearest(pairs, NegativeRule(**negatives), choose_in), margin, **how)
