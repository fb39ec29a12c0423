"""The head that the class losses share, cross-entropy over scaled cosines, and what each margin does to the cosines.

Angles are in radians. Every target is at most own_B1 and grows with it, unless it says otherwise.

Shapes: B images in a batch, D numbers in an embedding, C classes. own_B1 holds c_y, the cosine to the true class; cosine_BC
all of them.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...mining.device_copies import to_device
from ...mining.errors import InputError
from .loss import EmbeddingLoss
from .unit_length import unit_embeddings


def checked_labels(labels_B: Tensor, num_classes: int, *, lowest: int = 0) -> Tensor:
    """Return the labels as int64[B], where they lie; a compiled loss trusts their range.

    Labels on a GPU are waited for.

    Raises:
        InputError: one outside lowest..num_classes - 1.
    """
    labels_B = labels_B.long()
    if torch.compiler.is_compiling():
        return labels_B
    wrong = labels_B[(labels_B < lowest) | (labels_B >= num_classes)]
    if len(wrong):
        raise InputError(
            f"label {int(wrong[0])} is outside {lowest}..{num_classes - 1}: number the identities from 0 without gaps"
        )
    return labels_B


def unit_rows(weight_CD: Tensor, like: Tensor) -> Tensor:
    """The rows at unit length, in the precision of `like`."""
    return functional.normalize(weight_CD.to(like.dtype), dim=1)


class CosineClassLoss(EmbeddingLoss):
    """The head that the losses share: cross-entropy over s·margin(cosines). Subclasses define `margin`.

    The initial weights are a function of `seed` alone.
    """

    takes_references = False

    def __init__(self, num_classes: int, embedding_size: int, *, scale: float, seed: int) -> None:
        super().__init__()
        name = type(self).__name__
        if num_classes < 2:
            raise InputError(f"{name} needs at least two identities, got {num_classes}")
        if embedding_size < 1:
            raise InputError(f"{name} needs an embedding_size of at least 1, got {embedding_size}")
        weight = torch.empty(num_classes, embedding_size)
        nn.init.normal_(weight, std=embedding_size**-0.5, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter(weight)
        self.num_classes, self.embedding_size, self.scale = num_classes, embedding_size, scale

    @property
    def labels_are_places(self) -> bool:
        """True: a label is the row of its class."""
        return True

    def begin_at(self, means_CD: Tensor) -> None:
        """Take the identity means, float[C, D], as weights."""
        self.weight.data.copy_(means_CD)

    def class_vectors(self, labels_B: Tensor) -> Tensor | None:
        """Rows of the weights."""
        return self.weight.detach()[labels_B]

    @abstractmethod
    def margin(self, own_B1: Tensor, cosine_BC: Tensor) -> tuple[Tensor, Tensor]:
        """What stands in the logits for the cosine to the true class, [B, 1], and to the others, [B, C].

        Column y of the second is not read.
        """

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar mean loss of float[B, D] embeddings with int[B] class labels.

        Raises:
            InputError: NaN or infinity among the embeddings, or a label outside 0..C-1.
        """
        unit_BD = unit_embeddings(embeddings)
        labels_B = to_device(checked_labels(labels, self.num_classes), unit_BD.device)
        return self.cross_entropy(unit_BD @ unit_rows(self.weight, unit_BD).T, labels_B)

    def cross_entropy(self, cosine_BC: Tensor, labels_B: Tensor) -> Tensor:
        """Mean -log softmax of the true class after the margin."""
        labels_B1 = labels_B[:, None]
        target_B1, others_BC = self.margin(cosine_BC.gather(1, labels_B1), cosine_BC)
        return functional.cross_entropy(self.scale * others_BC.scatter(1, labels_B1, target_B1), labels_B)


def cosface_target(own_B1: Tensor, margin: float) -> Tensor:
    """c_y - m."""
    return own_B1 - margin


def widened_angle(own_B1: Tensor, margin: float) -> Tensor:
    """cos(theta_y + m), by the addition theorem: an arc cosine would have an infinite slope at cos = +-1."""
    # Rounding puts cosines at and beyond +-1. There the sine stays constant instead of having a slope of
    # infinity; every other float is far enough from +-1 for a finite one.
    floor = torch.finfo(own_B1.dtype).eps ** 2
    sine_B1 = ((1 - own_B1) * (1 + own_B1)).clamp(min=floor).sqrt()
    return own_B1 * math.cos(margin) - sine_B1 * math.sin(margin)


def arcface_target(own_B1: Tensor, margin: float) -> Tensor:
    """cos(theta_y + m); where theta_y + m passes pi and the cosine would rise again, c_y - m·sin(pi - m)."""
    return torch.where(
        own_B1 > math.cos(math.pi - margin),
        widened_angle(own_B1, margin),
        own_B1 - margin * math.sin(math.pi - margin),
    )


def straight_through(target_B1: Tensor, own_B1: Tensor) -> Tensor:
    """The value of the target with the gradient of c_y itself, as if the margin were a constant."""
    return own_B1 + (target_B1 - own_B1).detach()


def easy_target(own_B1: Tensor, target_B1: Tensor, above: float) -> Tensor:
    """The target where c_y is above a number, and c_y itself elsewhere: hard images get no margin. It jumps down there."""
    return torch.where(own_B1 > above, target_B1, own_B1)


def fixed_emphasis(cosine_BC: Tensor, t: float) -> Tensor:
    """c_k + t."""
    return cosine_BC + t


def adaptive_emphasis(cosine_BC: Tensor, t: float) -> Tensor:
    """(1 + t)·c_k + t: the more similar the wrong class, the more is added."""
    return (1 + t) * cosine_BC + t


def curricular_emphasis(cosine_BC: Tensor, t: Tensor) -> Tensor:
    """c_k·(t + c_k): hard classes count less than easy ones while t is near 0, and more when it has grown."""
    return cosine_BC * (t + cosine_BC)


def circle_own(own_B1: Tensor, margin: float) -> Tensor:
    """a_p·(s_p - (1 - m)) with the weight a_p = [1 + m - s_p]+ held constant."""
    return (1 + margin - own_B1.detach()).relu() * (own_B1 - (1 - margin))


def circle_others(cosine_BC: Tensor, margin: float) -> Tensor:
    """a_n·(s_n - m) with the weight a_n = [s_n + m]+ held constant."""
    return (cosine_BC.detach() + margin).relu() * (cosine_BC - margin)
