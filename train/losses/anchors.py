"""What the pair and triplet losses begin with: which reference is a positive or a negative of which anchor.

Shapes: B anchors (the batch), R references (the batch itself unless others are given), D numbers in an
embedding, P positives of the anchor that has most, T pairs or triplets.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...mining.errors import InputError
from .unit_length import unit_embeddings


class AnchorPairs(NamedTuple):
    """Every anchor beside every reference."""

    anchors: Tensor
    """float[B, D], unit length, with gradient; float32 or float64."""
    references: Tensor
    """float[R, D], unit length, with gradient where they have one."""
    labels: Tensor
    """int[B]."""
    ref_labels: Tensor
    """int[R]."""
    positive: Tensor
    """bool[B, R]: another image of the anchor's identity. Empty in the row of an anchor without a negative."""
    negative: Tensor
    """bool[B, R]: another identity."""

    def cosine(self) -> Tensor:
        """float[B, R], -1 to 1."""
        return self.anchors @ self.references.T

    def distance(self) -> Tensor:
        """float[B, R], squared Euclidean distance of unit vectors: 2 - 2·cos, 0 to 4."""
        return 2 - 2 * self.cosine()

    def positive_table(self) -> tuple[Tensor, Tensor]:
        """The positives of each anchor side by side: reference rows int64[B, P], and where they exist."""
        count_B = self.positive.sum(dim=1)
        exists_BP = torch.arange(int(count_B.max()), device=count_B.device) < count_B[:, None]
        row_BP = torch.zeros(exists_BP.shape, dtype=torch.int64, device=count_B.device)
        row_BP[exists_BP] = self.positive.nonzero()[:, 1]  # both run row by row
        return row_BP, exists_BP

    def random_negatives(self, anchor_T: Tensor, generator: torch.Generator) -> Tensor:
        """For each anchor row one negative's reference row, uniform, with replacement. O(T + R log R).

        Every anchor in `anchor_T` must have a negative; one with a positive has.
        """
        # In the order of labels an identity is one block, so any draw beside the block is a negative.
        ordered_R, row_R = self.ref_labels.sort()
        wanted_T = self.labels[anchor_T].contiguous()
        first_T = torch.searchsorted(ordered_R, wanted_T)
        block_T = torch.searchsorted(ordered_R, wanted_T, right=True) - first_T
        draw_T = torch.randint(2**31, anchor_T.shape, generator=generator, device=anchor_T.device)
        draw_T = draw_T % (len(ordered_R) - block_T)
        return row_R[torch.where(draw_T < first_T, draw_T, draw_T + block_T)]


def anchor_pairs(
    embeddings_BD: Tensor,
    labels_B: Tensor,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    own_start: int | None = None,
) -> AnchorPairs:
    """Normalise, and say who is whose positive and negative.

    An anchor is never its own positive. An anchor without any negative has no positives either: a batch of
    one identity could only be pulled together, which is collapse, so every loss is 0 there. Memory: two
    bool[B, R].

    Args:
        embeddings_BD: float[B, D], the anchors.
        labels_B: int[B], any integers.
        ref_emb: float[R, D], where positives and negatives come from; None: the batch itself.
        ref_labels: int[R].
        own_start: where the batch is among the references, the reference row of its first image (a memory
            appended to the batch: 0; batches gathered from several processes: rank · B). None: it is not.

    Raises:
        InputError: shapes that do not fit each other, an empty batch, NaN or infinity.
    """
    unit_BD, labels_B = _checked("embeddings", embeddings_BD, labels_B)
    if ref_emb is None or ref_labels is None:
        if ref_emb is not None or ref_labels is not None or own_start is not None:
            raise InputError(
                "ref_emb and ref_labels go together, and own_start goes with them: give all or none"
            )
        unit_RD, labels_R, own_start = unit_BD, labels_B, 0
    else:
        unit_RD, labels_R = _checked("references", ref_emb, ref_labels)
        unit_RD = unit_RD.to(unit_BD.dtype)
        if unit_RD.shape[1] != unit_BD.shape[1]:
            raise InputError(f"references have {unit_RD.shape[1]} numbers, embeddings {unit_BD.shape[1]}")
        if own_start is not None and not 0 <= own_start <= len(unit_RD) - len(unit_BD):
            raise InputError(
                f"own_start={own_start}: a batch of {len(unit_BD)} does not fit in {len(unit_RD)} references there"
            )
    positive_BR = labels_B[:, None] == labels_R[None, :]
    negative_BR = ~positive_BR
    if own_start is not None:
        positive_BR.diagonal(offset=own_start).fill_(False)
    positive_BR &= negative_BR.any(dim=1, keepdim=True)
    return AnchorPairs(unit_BD, unit_RD, labels_B, labels_R, positive_BR, negative_BR)


def _checked(name: str, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    if embeddings.ndim != 2 or len(embeddings) == 0:
        raise InputError(
            f"{name} of shape {list(embeddings.shape)}: expected [images, numbers], one image or more"
        )
    if labels.shape != embeddings.shape[:1]:
        raise InputError(f"{len(embeddings)} {name}, but labels of shape {list(labels.shape)}")
    return unit_embeddings(embeddings), labels.to(embeddings.device)
