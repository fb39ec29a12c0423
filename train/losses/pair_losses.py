"""Losses over the pairs of a batch: contrastive, multi-similarity, circle, pairwise CosFace.

Shapes: B anchors (the batch), R references (the batch itself unless others are given), D numbers in an
embedding, T anchor-positive pairs. All hold float[B, R] matrices, at most some eleven at once: 0.7 GB at
4,096 × 4,096 (circle; multi-similarity 0.5).
The arguments of every call are those of `anchor_pairs`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from .anchors import anchor_pairs
from .loss import EmbeddingLoss
from .registry import check_settings

LEAST_EXPONENT = -80.0
"""exp(-80) = 2e-35, nothing beside exp(0) and still a normal float32."""


class ContrastiveLoss(EmbeddingLoss):
    """Contrastive (verification) loss: ½ d² of a same-identity pair, ½ [m - d]+² of any other, `loss(embeddings, labels)`.

    d is the Euclidean distance of unit vectors, 0 to 2; mean over all pairs of the batch (Hadsell et al.
    2006; the verification signal of DeepID2, Sun et al. 2014). With few images per identity most pairs are
    of different identities, and most of those lie beyond the margin, so values are small.

    >>> loss = ContrastiveLoss(margin=1.0)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    >>> print(f"{loss(embeddings, labels=torch.tensor([0, 0, 1, 1])):.4f}")
    0.1114

    Args:
        margin: m; 0.5 to 1.4, where 1.41 is the distance of unrelated directions.
    """

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        check_settings("contrastive", {"margin": margin})
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
        pairs = anchor_pairs(embeddings, labels, ref_emb, ref_labels, own_start)
        distance_BR = pairs.distance()
        same_T = distance_BR[pairs.positive]
        # The root's slope is infinite at 0, where two images have one embedding.
        different_N = distance_BR[pairs.negative].clamp(min=1e-12).sqrt()
        total = same_T.sum() + functional.relu(self.margin - different_N).square().sum()
        return total / 2 / max(1, len(same_T) + len(different_N))


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
        pairs = anchor_pairs(embeddings, labels, ref_emb, ref_labels, own_start)
        cosine_BR = pairs.cosine()
        positive_BR, negative_BR = pairs.positive, pairs.negative
        if self.mining_epsilon is not None:
            found_BR = cosine_BR.detach()
            farthest_B1 = found_BR.masked_fill(~positive_BR, torch.inf).amin(dim=1, keepdim=True)
            nearest_B1 = found_BR.masked_fill(~negative_BR, -torch.inf).amax(dim=1, keepdim=True)
            positive_BR = positive_BR & (found_BR - self.mining_epsilon < nearest_B1)
            negative_BR = negative_BR & (found_BR + self.mining_epsilon > farthest_B1)
        pull_B = _logsumexp(cosine_BR, positive_BR, -self.alpha) + self.alpha * self.base
        push_B = _logsumexp(cosine_BR, negative_BR, self.beta) - self.beta * self.base
        return (functional.softplus(pull_B) / self.alpha + functional.softplus(push_B) / self.beta).mean()


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
        pairs = anchor_pairs(embeddings, labels, ref_emb, ref_labels, own_start)
        cosine_BR = pairs.cosine()
        weight_p_BR = functional.relu(1 + self.margin - cosine_BR.detach())
        weight_n_BR = functional.relu(cosine_BR.detach() + self.margin)
        pull_BR = -self.gamma * weight_p_BR * (cosine_BR - (1 - self.margin))
        push_BR = self.gamma * weight_n_BR * (cosine_BR - self.margin)
        loss_B = functional.softplus(
            _logsumexp(pull_BR, pairs.positive) + _logsumexp(push_BR, pairs.negative)
        )
        return loss_B.sum() / (loss_B.detach() > 0).sum().clamp(min=1)


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
        pairs = anchor_pairs(embeddings, labels, ref_emb, ref_labels, own_start)
        cosine_BR = pairs.cosine()
        negatives_B = _logsumexp(cosine_BR, pairs.negative, self.scale)
        anchor_T, positive_T = pairs.positive.nonzero(as_tuple=True)
        target_T = self.scale * (cosine_BR[anchor_T, positive_T] - self.margin)
        return functional.softplus(negatives_B[anchor_T] - target_T).sum() / max(1, len(anchor_T))


class _ScaledLogSumExp(torch.autograd.Function):
    """The function of `_logsumexp`: exponentials are made in place, and kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, cosine_BR: Tensor, keep_BR: Tensor, scale: float) -> Tensor:
        terms_BR, without_BR, finite = cosine_BR * scale, ~keep_BR, torch.finfo(cosine_BR.dtype)
        # Finite, so that a row with nothing to keep has a gradient of 0 and not NaN; its softplus is exactly 0.
        highest_B1 = terms_BR.masked_fill_(without_BR, finite.min).amax(dim=1, keepdim=True)
        # Where a result underflows, the exponential takes ten times as long.
        terms_BR.sub_(highest_B1).clamp_(min=LEAST_EXPONENT).exp_().masked_fill_(without_BR, 0)
        total_B1 = terms_BR.sum(dim=1, keepdim=True).clamp_(min=finite.tiny)
        ctx.save_for_backward(terms_BR, total_B1)
        ctx.scale = scale
        return (highest_B1 + total_B1.log()).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # the decorator's
        ctx: Any, slope_B: Tensor
    ) -> tuple[Tensor, None, None]:
        terms_BR, total_B1 = ctx.saved_tensors
        return terms_BR * (ctx.scale * slope_B[:, None] / total_B1), None, None


def _logsumexp(cosine_BR: Tensor, keep_BR: Tensor, scale: float = 1.0) -> Tensor:
    """log Σ exp(scale · cosine) over what is to be kept in each row, float[B]; hardly above -3e38 where nothing is."""
    return _ScaledLogSumExp.apply(cosine_BR, keep_BR, scale)  # pyright: ignore[reportReturnType]
