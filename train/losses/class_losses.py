"""Losses with one weight vector per identity, called as `loss(embeddings, labels)`.

All of them are a cross-entropy over scaled cosines and differ in one method, `margin`. Cost of each: one
[B, D] x [D, C] product and a few [B, C] tables, forward and backward, and weights of [C, D]. Meant for some
thousands to 100,000 identities; `partial_fc.py` takes over from there.

Shapes: B images in a batch, D numbers in an embedding, C classes.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..loss_search.curve import LossCurve
from ..loss_search.piecewise import log_piecewise, piecewise_linear
from .cosine_head import (
    CosineClassLoss,
    adaptive_emphasis,
    arcface_target,
    circle_others,
    circle_own,
    cosface_target,
    curricular_emphasis,
    easy_target,
    fixed_emphasis,
    straight_through,
    widened_angle,
)
from .registry import check_settings


class SoftmaxLoss(CosineClassLoss):
    """Cross-entropy over s·c_j, both sides unit vectors, so the embeddings suit a cosine distance.

    NormFace (Wang et al. 2017).

    >>> loss = SoftmaxLoss(num_classes=4, embedding_size=4, scale=4)
    >>> loss.begin_at(torch.eye(4))
    >>> print(f"{loss(embeddings=torch.eye(4), labels=torch.arange(4)):.4f}")
    0.0535

    Args:
        num_classes: C; labels are 0..C-1.
        embedding_size: D.
        scale: s; 16 to 32 for small networks, 64 for large ones.
        seed: of the initial weights.
    """

    def __init__(self, num_classes: int, embedding_size: int, scale: float = 16.0, seed: int = 0) -> None:
        check_settings("softmax", {"scale": scale})
        super().__init__(num_classes, embedding_size, scale=scale, seed=seed)

    def margin(self, own_B1: Tensor, cosine_BC: Tensor) -> tuple[Tensor, Tensor]:
        return own_B1, cosine_BC


class CosFaceLoss(CosineClassLoss):
    """Large margin cosine loss: c_y - m for the true class (CosFace, Wang et al. 2018, equation 4).

    >>> loss = CosFaceLoss(num_classes=4, embedding_size=4, margin=0.4, scale=4)
    >>> loss.begin_at(torch.eye(4))
    >>> print(f"{loss(embeddings=torch.eye(4), labels=torch.arange(4)):.4f}")
    0.2407

    Args:
        margin: m; 0.35 to 0.4.
        scale: s; 64, or 32 for small networks.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        *,
        margin: float = 0.4,
        scale: float = 64.0,
        seed: int = 0,
    ) -> None:
        check_settings("cosface", {"margin": margin, "scale": scale})
        super().__init__(num_classes, embedding_size, scale=scale, seed=seed)
        self.m = margin

    def margin(self, own_B1: Tensor, cosine_BC: Tensor) -> tuple[Tensor, Tensor]:
        return cosface_target(own_B1, self.m), cosine_BC


class ArcFaceLoss(CosineClassLoss):
    """Additive angular margin: cos(theta_y + m) for the true class (ArcFace, Deng et al. 2019, equation 3).

    Where theta_y + m > pi the target is c_y - m·sin(pi - m), which keeps falling with the angle.

    >>> loss = ArcFaceLoss(num_classes=4, embedding_size=4, margin=0.5, scale=4)
    >>> loss.begin_at(torch.eye(4))
    >>> print(f"{loss(embeddings=torch.eye(4), labels=torch.arange(4)):.4f}")
    0.0859

    Args:
        margin: m in radians, 0.3 to 0.5; pytorch-metric-learning takes degrees, its 28.6 is 0.5 here.
        margin_gradient: `constant` is InsightFace's (arcface_torch, CombinedMarginLoss): the target is cos(theta_y + m) at
            every angle, and its gradient that of c_y, as if the margin were a constant. `exact` is that of the formula.
        scale: s; 64, or 32 for small networks.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        *,
        margin: float = 0.5,
        margin_gradient: Literal["exact", "constant"] = "exact",
        scale: float = 64.0,
        seed: int = 0,
    ) -> None:
        check_settings("arcface", {"margin": margin, "margin_gradient": margin_gradient, "scale": scale})
        super().__init__(num_classes, embedding_size, scale=scale, seed=seed)
        self.m, self.margin_gradient = margin, margin_gradient

    def margin(self, own_B1: Tensor, cosine_BC: Tensor) -> tuple[Tensor, Tensor]:
        if self.margin_gradient == "constant":
            return straight_through(widened_angle(own_B1, self.m), own_B1), cosine_BC
        return arcface_target(own_B1, self.m), cosine_BC


class MVSoftmaxLoss(CosineClassLoss):
    """Margin loss that stresses the classes it still confuses (MV-Softmax, Wang et al. 2020).

    With the target g = c_y - m ('am') or cos(theta_y + m) ('arc'), every other class with c_k > g counts as
    c_k + t ('fixed') or (1 + t)·c_k + t ('adaptive'). For 'arc' the target itself is ArcFace's, which keeps
    falling beyond theta_y + m = pi.

    >>> loss = MVSoftmaxLoss(num_classes=4, embedding_size=4, kind="arc", scale=4)
    >>> loss.begin_at(torch.eye(4))
    >>> print(f"{loss(embeddings=torch.eye(4), labels=torch.arange(4)):.4f}")
    0.0859

    Args:
        margin: m; None is the paper's: 0.35 for 'am', 0.5 for 'arc'.
        easy_margin: no margin for images of c_y <= m ('am') or c_y <= 0 ('arc'), as in FaceX-Zoo and the authors' own code.
        t: 0.1 to 0.3; 0 leaves CosFace or ArcFace.
        scale: s; 32.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        *,
        kind: Literal["am", "arc"] = "am",
        weighting: Literal["fixed", "adaptive"] = "adaptive",
        margin: float | None = None,
        easy_margin: bool = False,
        t: float = 0.2,
        scale: float = 32.0,
        seed: int = 0,
    ) -> None:
        how = {"kind": kind, "weighting": weighting, "margin": margin, "easy_margin": easy_margin}
        check_settings("mv_softmax", {**how, "t": t, "scale": scale})
        super().__init__(num_classes, embedding_size, scale=scale, seed=seed)
        usual = 0.35 if kind == "am" else 0.5
        self.m = usual if margin is None else margin
        self.t, self.kind, self.weighting, self.easy_margin = t, kind, weighting, easy_margin

    def margin(self, own_B1: Tensor, cosine_BC: Tensor) -> tuple[Tensor, Tensor]:
        if self.kind == "am":
            threshold_B1 = target_B1 = cosface_target(own_B1, self.m)
        else:
            threshold_B1, target_B1 = widened_angle(own_B1, self.m), arcface_target(own_B1, self.m)
        if self.easy_margin:
            target_B1 = easy_target(own_B1, threshold_B1, self.m if self.kind == "am" else 0.0)
        emphasis = fixed_emphasis if self.weighting == "fixed" else adaptive_emphasis
        return target_B1, torch.where(cosine_BC > threshold_B1, emphasis(cosine_BC, self.t), cosine_BC)


class CurricularFaceLoss(CosineClassLoss):
    """ArcFace whose confused classes count little at first and much later (CurricularFace, Huang et al. 2020).

    Every other class with c_k > cos(theta_y + m) counts as c_k·(t + c_k). t starts at 0 and follows the mean
    c_y of the training batches: t <- a·mean(c_y) + (1 - a)·t, before the batch uses it. In eval mode it rests.

    >>> loss = CurricularFaceLoss(num_classes=4, embedding_size=4, margin=0.5, scale=4)
    >>> loss.begin_at(torch.eye(4))
    >>> print(f"{loss(embeddings=torch.eye(4), labels=torch.arange(4)):.4f}")
    0.0859

    Args:
        margin: m in radians, 0.3 to 0.5; pytorch-metric-learning takes degrees, its 28.6 is 0.5 here.
        scale: s; 64, or 32 for small networks.
        momentum: a, the new batch's share; 0.01.
    """

    t: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        *,
        margin: float = 0.5,
        scale: float = 64.0,
        momentum: float = 0.01,
        seed: int = 0,
    ) -> None:
        check_settings("curricularface", {"margin": margin, "scale": scale, "momentum": momentum})
        super().__init__(num_classes, embedding_size, scale=scale, seed=seed)
        self.m, self.momentum = margin, momentum
        self.register_buffer("t", torch.zeros(()))

    def margin(self, own_B1: Tensor, cosine_BC: Tensor) -> tuple[Tensor, Tensor]:
        if self.training:
            moved = self.t.lerp(own_B1.detach().mean().to(self.t.dtype), self.momentum)
            self.t.copy_(torch.where(moved.isfinite(), moved, self.t))  # what overflowed would stay for good
        hard_BC = cosine_BC > widened_angle(own_B1, self.m)
        others_BC = torch.where(hard_BC, curricular_emphasis(cosine_BC, self.t), cosine_BC)
        return arcface_target(own_B1, self.m), others_BC


class CircleClassLoss(CosineClassLoss):
    """Circle loss with one weight vector per identity (Sun et al. 2020, its class-level form).

    Logits gamma·a_p·(c_y - (1 - m)) and gamma·a_n·(c_k - m) with a_p = [1 + m - c_y]+ and a_n = [c_k + m]+,
    through which no gradient flows: a similarity far from its goal is pulled harder.

    >>> loss = CircleClassLoss(num_classes=4, embedding_size=4, margin=0.25, gamma=4)
    >>> loss.begin_at(torch.eye(4))
    >>> print(f"{loss(embeddings=torch.eye(4), labels=torch.arange(4)):.4f}")
    1.0366

    Args:
        margin: m; 0.25, larger is looser.
        gamma: 256 for faces, 128 for people.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        *,
        margin: float = 0.25,
        gamma: float = 256.0,
        seed: int = 0,
    ) -> None:
        check_settings("circle", {"margin": margin, "gamma": gamma})
        super().__init__(num_classes, embedding_size, scale=gamma, seed=seed)
        self.m = margin

    def margin(self, own_B1: Tensor, cosine_BC: Tensor) -> tuple[Tensor, Tensor]:
        return circle_own(own_B1, self.m), circle_others(cosine_BC, self.m)


class SearchedLoss(CosineClassLoss):
    """A loss that a search found: -log tau(p) of a softmax over scaled cosines with t(c_y) for the true class.

    AM-LFS (Li et al. 2019) and Search-Softmax (Wang et al. 2020); `LossCurve` has the formula. With curves that change
    nothing it is `SoftmaxLoss`.

    >>> loss = SearchedLoss(num_classes=4, embedding_size=4, curve=LossCurve(scale=4))
    >>> loss.begin_at(torch.eye(4))
    >>> print(f"{loss(embeddings=torch.eye(4), labels=torch.arange(4)):.4f}")
    0.0535

    Args:
        curve: `read_curve(PATH)`, or of one's own. It is not saved with the loss.
    """

    t: Tensor
    tau: Tensor

    def __init__(self, num_classes: int, embedding_size: int, *, curve: LossCurve, seed: int = 0) -> None:
        super().__init__(num_classes, embedding_size, scale=curve.scale, seed=seed)
        self.curve = curve
        for name, numbers in (("t", curve.t), ("tau", curve.tau)):
            self.register_buffer(name, torch.tensor([numbers.slopes, numbers.biases]), persistent=False)

    def margin(self, own_B1: Tensor, cosine_BC: Tensor) -> tuple[Tensor, Tensor]:
        slopes_M, biases_M = self.t.to(own_B1.dtype)
        return piecewise_linear(own_B1, slopes_M, biases_M, -1, 1) - self.curve.margin, cosine_BC

    def cross_entropy(self, cosine_BC: Tensor, labels_B: Tensor) -> Tensor:
        """Mean -log tau of the probability of the true class."""
        labels_B1 = labels_B[:, None]
        target_B1, others_BC = self.margin(cosine_BC.gather(1, labels_B1), cosine_BC)
        log_p_BC = functional.log_softmax(self.scale * others_BC.scatter(1, labels_B1, target_B1), dim=1)
        slopes_M, biases_M = self.tau.to(cosine_BC.dtype)
        return -log_piecewise(log_p_BC.gather(1, labels_B1), slopes_M, biases_M).mean()
