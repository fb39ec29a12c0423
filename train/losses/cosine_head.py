"""The head that the class losses share: cross-entropy over scaled cosines, and the checks of its inputs.

Shapes: B images in a batch, D numbers in an embedding, C classes.
"""

from __future__ import annotations

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
