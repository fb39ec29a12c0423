"""Losses over the pairs of a batch: contrastive, multi-similarity, circle, pairwise CosFace.

Each is a formula over the cosines of an anchor's positives and a sum over all its negatives (`negative_terms.py`). Memory is
O(B · P) and tiles, 1 GiB at most however large the batch. The arguments of every call are those of `pair_loss`.

Shapes: B anchors (the batch), R references (the batch itself unless others are given), P positives of the anchor that has most.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ...mining.negative_search import NegativeRule, nearest_negatives
from .loss import EmbeddingLoss
from .negative_terms import (
    LARGEST_EXPONENT,
    NOTHING,
    Exponentials,
    Hinges,
    LogSumExp,
    NegativeTerms,
    loss_of_totals,
)
from .pair_engine import Outcome, pair_loss, rule
from .registry import check_settings
from .sorted_pairs import SortedPairs
from .triplet_choice import distance


class ContrastiveLoss(EmbeddingLoss):
    """Contrastive (verification) loss: ½ d² of a same-identity pair, ½ [m - d]+² of any other, `loss(embeddings, labels)`.

    d is the Euclidean distance of unit vectors, 0 to 2; mean over all pairs of the batch (Hadsell et al.
    2006; the verification signal of DeepID2, Sun et al. 2014). With few images per identity most pairs are
    of different identities, and most of those lie beyond the margin, so values are small.

    >>> loss = ContrastiveLoss(margin=1.0)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    0.1114

    pytorch-metric-learning's ContrastiveLoss is `squared=False, separate_means=True`; its neg_margin is m here.

    Args:
        margin: m; 0.5 to 1.4, where 1.41 is the distance of unrelated directions.
        pos_margin: p; same-identity pairs nearer than this cost nothing: [d - p]+ in place of d.
        squared: False takes [d - p]+ and [m - d]+ themselves, neither squared nor halved.
        separate_means: the mean over the same-identity pairs that cost something, plus that over the others that do.
    """

    def __init__(
        self,
        margin: float = 1.0,
        pos_margin: float = 0.0,
        *,
        squared: bool = True,
        separate_means: bool = False,
    ) -> None:
        super().__init__()
        self.settings = {"margin": margin, "pos_margin": pos_margin}
        self.settings |= {"squared": squared, "separate_means": separate_means}
        check_settings("contrastive", self.settings)
        self.margin = margin

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient without pairs or with one identity."""
        return pair_loss("contrastive", self.settings, embeddings, labels, ref_emb, ref_labels, own_start)[0]


class MultiSimilarityLoss(EmbeddingLoss):
    """Multi-similarity loss (Wang et al. 2019), `loss(embeddings, labels)`.

    Mean over the B anchors of (1/α) log(1 + Σ_p exp(-α (s_p - λ))) + (1/β) log(1 + Σ_n exp(β (s_n - λ))),
    s the cosine. The absolute threshold λ makes similarities mean the same for every identity. An anchor
    without positives has the negative term alone.

    >>> loss = MultiSimilarityLoss(alpha=2, beta=50, base=0.5)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    0.4988

    Args:
        alpha: α, 2 in the paper.
        beta: β, 40 to 50 there.
        base: λ, 0.5.
        mining_epsilon: ε of the paper's pair mining, 0.1 there: only negatives with s_n + ε > min s_p and
            positives with s_p - ε < max s_n count. None, the default: all pairs count.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        mining_epsilon: float | None = None,
    ) -> None:
        super().__init__()
        check_settings(
            "multi_similarity",
            {"alpha": alpha, "beta": beta, "base": base, "mining_epsilon": mining_epsilon},
        )
        self.alpha, self.beta, self.base, self.mining_epsilon = alpha, beta, base, mining_epsilon

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient without pairs or with one identity."""
        settings = {
            "alpha": self.alpha,
            "beta": self.beta,
            "base": self.base,
            "mining_epsilon": self.mining_epsilon,
        }
        return pair_loss("multi_similarity", settings, embeddings, labels, ref_emb, ref_labels, own_start)[0]


class CirclePairLoss(EmbeddingLoss):
    """Circle loss over pairs (Sun et al. 2020), `loss(embeddings, labels)`.

    Per anchor log(1 + Σ_n exp(γ a_n (s_n - m)) · Σ_p exp(-γ a_p (s_p - (1 - m)))), a_p = [1 + m - s_p]+,
    a_n = [s_n + m]+ without gradient, s the cosine: a pair far from its optimum gets a steeper slope. As in
    pytorch-metric-learning the mean is over the anchors whose loss is above 0 in the arithmetic used.

    >>> loss = CirclePairLoss(margin=0.4, gamma=80)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    28.8648

    Args:
        margin: m; 0.25 for faces and persons, 0.4 for fine-grained retrieval.
        gamma: γ; 256 for faces, 128 for persons, 80 for retrieval.
    """

    def __init__(self, margin: float = 0.25, gamma: float = 256.0) -> None:
        super().__init__()
        check_settings("circle_pair", {"margin": margin, "gamma": gamma})
        self.margin, self.gamma = margin, gamma

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient where no anchor has both a positive and a negative."""
        settings = {"margin": self.margin, "gamma": self.gamma}
        return pair_loss("circle_pair", settings, embeddings, labels, ref_emb, ref_labels, own_start)[0]


class PairwiseCosFaceLoss(EmbeddingLoss):
    """CosFace's margin softmax with the images of the batch in place of class weights, `loss(embeddings, labels)`.

    Mean over the anchor-positive pairs of -log(e^{s (cos_ap - m)} / (e^{s (cos_ap - m)} + Σ_n e^{s cos_an})),
    n over all negatives of the anchor (CosFace: Wang et al. 2018). With m = 0 it is NT-Xent at temperature
    1/s. Nothing is published for s and m between images. Chosen here: s = 32 and m = 0.25, less than
    CosFace's 0.4, because two images lie further apart (cosine about c²) than an image and its
    identity's centre (c).

    >>> loss = PairwiseCosFaceLoss(margin=0.25, scale=32)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    7.4520

    Args:
        margin: m, in cosine; 0 to 0.4.
        scale: s; 16 to 64.
    """

    def __init__(self, margin: float = 0.25, scale: float = 32.0) -> None:
        super().__init__()
        check_settings("pairwise_cosface", {"margin": margin, "scale": scale})
        self.margin, self.scale = margin, scale

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        """Return the scalar loss; 0 with a zero gradient where no anchor has both a positive and a negative."""
        settings = {"margin": self.margin, "scale": self.scale}
        return pair_loss("pairwise_cosface", settings, embeddings, labels, ref_emb, ref_labels, own_start)[0]


@rule("contrastive")
def _contrastive(
    pairs: SortedPairs, margin: float, pos_margin: float, squared: bool, separate_means: bool
) -> Outcome:
    exists_BP = pairs.exists_BP
    terms = Hinges(pairs, margin, squared, counted=separate_means)

    def formula(total_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if squared and pos_margin == 0:  # by the cosine alone: no root whose slope has no end
            same_BP = 2 - 2 * pairs.positive_cosine
            slope_BP = torch.full_like(same_BP, -2.0)
        else:
            d_BP, d_slope_BP = distance(pairs.positive_cosine, squared=False)
            same_BP = functional.relu(d_BP - pos_margin)
            slope_BP = d_slope_BP * (2 * same_BP if squared else same_BP > 0)
            same_BP = same_BP.square() if squared else same_BP
        each_p = each_n = 1 / ((1 + squared) * (exists_BP.sum() + pairs.negatives_B.sum()).clamp(min=1))
        if separate_means:
            costing = ((same_BP > 0) & exists_BP).sum(), terms.active_B.sum()
            each_p, each_n = (1 / ((1 + squared) * count.clamp(min=1)) for count in costing)
        each_p, each_n = each_p.to(total_B), each_n.to(total_B)
        same, other = (same_BP * exists_BP).sum(), total_B.sum()
        loss = same * each_p + other * each_n if separate_means else (same + other) * each_n
        return loss, each_n.expand_as(total_B), slope_BP * exists_BP * each_p

    return Outcome(loss_of_totals(pairs, terms, formula))


@rule("multi_similarity")
def _multi_similarity(
    pairs: SortedPairs, alpha: float, beta: float, base: float, mining_epsilon: float | None
) -> Outcome:
    exists_BP, above_B = pairs.exists_BP, None
    if mining_epsilon is not None:
        nearest = nearest_negatives(pairs.anchors_BD, pairs.references_RD, pairs.runs, NegativeRule(1))
        exists_BP = exists_BP & (pairs.positive_cosine - mining_epsilon < nearest.similarity[:, 0])
        above_B = farthest_positive(pairs) - mining_epsilon
    scale = 1 / len(pairs.anchors_BD)

    def formula(total_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pull_B, share_BP = _logsumexp(-alpha * pairs.positive_cosine, exists_BP)
        pull_B, push_B = pull_B + alpha * base, total_B - beta * base
        loss_B = functional.softplus(pull_B) / alpha + functional.softplus(push_B) / beta
        slope_BP = -share_BP * pull_B.sigmoid()[:, None] * scale
        return loss_B.mean(), push_B.sigmoid() * scale / beta, slope_BP

    return Outcome(loss_of_totals(pairs, _exponentials(pairs, beta, above_B), formula))


@rule("circle_pair")
def _circle_pair(pairs: SortedPairs, margin: float, gamma: float) -> Outcome:
    # The weights a_p and a_n have no gradient: a logit's slope is γ a.
    def logit(cosine: Tensor) -> tuple[Tensor, Tensor]:
        weight = functional.relu(cosine + margin).mul_(gamma)
        return weight * (cosine - margin), weight

    def formula(total_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight_BP = gamma * functional.relu(1 + margin - pairs.positive_cosine)
        pull_B, share_BP = _logsumexp(-weight_BP * (pairs.positive_cosine - (1 - margin)), pairs.exists_BP)
        both_B = pull_B + total_B
        loss_B = functional.softplus(both_B)
        count = (loss_B > 0).sum().clamp(min=1)
        slope_B = both_B.sigmoid() / count
        return loss_B.sum() / count, slope_B, -share_BP * weight_BP * slope_B[:, None]

    return Outcome(loss_of_totals(pairs, LogSumExp(pairs, logit), formula))


@rule("pairwise_cosface")
def _pairwise_cosface(pairs: SortedPairs, margin: float, scale: float) -> Outcome:
    exists_BP = pairs.exists_BP
    count = exists_BP.sum().clamp(min=1)

    def formula(total_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        beyond_BP = total_B[:, None] - scale * (pairs.positive_cosine - margin)
        slope_BP = beyond_BP.sigmoid() * exists_BP / count
        loss = (functional.softplus(beyond_BP) * exists_BP).sum() / count
        return loss, slope_BP.sum(dim=1), -scale * slope_BP

    return Outcome(loss_of_totals(pairs, _exponentials(pairs, scale), formula))


def farthest_positive(pairs: SortedPairs) -> Tensor:
    """Least cosine of each anchor to a positive, float[B]; infinite where it has none."""
    cosine_BP = pairs.positive_cosine.masked_fill(~pairs.exists_BP, torch.inf)
    return functional.pad(cosine_BP, (0, 1), value=torch.inf).amin(dim=1)


def _exponentials(pairs: SortedPairs, scale: float, above_B: Tensor | None = None) -> NegativeTerms:
    if above_B is None and scale <= LARGEST_EXPONENT:
        return Exponentials(pairs, scale)
    return LogSumExp(pairs, lambda cosine: (cosine * scale, scale), above_B)


def _logsumexp(logit_BP: Tensor, exists_BP: Tensor) -> tuple[Tensor, Tensor]:
    """log Σ exp over what exists in each row, float[B], about `NOTHING` where nothing does, and the softmax, float[B, P]."""
    padded = functional.pad(logit_BP.masked_fill(~exists_BP, NOTHING), (0, 1), value=NOTHING)
    return padded.logsumexp(dim=1), padded.softmax(dim=1)[:, :-1] * exists_BP
