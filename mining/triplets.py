"""Which triplets of a batch to learn from: every anchor-positive pair, and the anchor's nearest negatives.

Exact and blockwise, so memory is O(B · r), never B × B. That also serves subsets far larger than a batch, whose hardest
triplets are mined offline.

Shapes: B images in a batch, N images in a subset, D numbers in an embedding, r anchors in a block, P positives of the anchor
that has most, k negatives of an anchor, T triplets.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .label_runs import LabelRuns
from .negative_search import NegativeRule, nearest_negatives


class Triplets(NamedTuple):
    """Row numbers into the batch, each int64[T].

    Example:
        >>> import torch
        >>> from subspace.mining import mine_batch_ohnm
        >>> angle = torch.tensor([0.0, 0.5, 0.6, 2.0])
        >>> embeddings = torch.stack([angle.cos(), angle.sin()], dim=1)
        >>> labels = torch.tensor([7, 7, 8, 9])
        >>> mine_batch_ohnm(embeddings, labels, negatives=1).negative
        tensor([2, 2])
    """

    anchor: Tensor
    positive: Tensor
    negative: Tensor


@torch.no_grad()
def mine_batch_ohnm(embeddings_BD: Tensor, labels_B: Tensor, negatives: int = 3) -> Triplets:
    """Pair every anchor-positive pair of the batch with the anchor's nearest negatives.

    Batch OHNM (Wang, Zhang, Lan 2017): all positives, hard negatives only. An image without a second image
    of its identity is a negative for others and never an anchor.

    Args:
        embeddings_BD: float[B, D], unit length.
        labels_B: int[B], identity of each image, in any order.
        negatives: k; fewer are used where the batch has fewer other-identity images.

    Example:
        >>> import torch
        >>> from subspace.mining import mine_batch_ohnm
        >>> angle = torch.tensor([0.0, 0.5, 0.6, 2.0])
        >>> embeddings = torch.stack([angle.cos(), angle.sin()], dim=1)
        >>> labels = torch.tensor([7, 7, 8, 9])
        >>> triplets = mine_batch_ohnm(embeddings, labels, negatives=2)
        >>> torch.stack(triplets, dim=1).tolist()  # (anchor, positive, negative)
        [[0, 1, 2], [0, 1, 3], [1, 0, 2], [1, 0, 3]]
    """
    runs = LabelRuns.of(labels_B).on(embeddings_BD.device)
    unit_BD = embeddings_BD[runs.anchor_order]
    place_BP, exists_BP = runs.positives
    found = nearest_negatives(unit_BD, unit_BD, runs, NegativeRule(negatives))
    exists_BPk = exists_BP[:, :, None] & (found.similarity > -torch.inf)
    anchor, pair, rank = exists_BPk.nonzero(as_tuple=True)
    places = (anchor, place_BP[anchor, pair], found.place[anchor, 0, rank])
    return Triplets(*(runs.anchor_order[place] for place in places))


@torch.no_grad()
def mine_offline(embeddings_ND: Tensor, labels_N: Tensor) -> Triplets:
    """Pair every image with its farthest positive and its nearest negative among all images given.

    FaceNet (Schroff et al. 2015, section 3.2) names this as one of two ways to hard triplets: "generate
    triplets offline every n steps, using the most recent network checkpoint and computing the argmin and
    argmax on a subset of the data". The paper warns that the hardest negatives lead to bad local minima
    early in training, and that mislabelled images become the hardest triplets. One triplet an image, in
    the order of labels; an image without a second image of its identity is a negative for others only.

    Cost: one N × N × D matrix product, in blocks: memory O(N · r).

    Args:
        embeddings_ND: float[N, D], unit length.
        labels_N: int[N], identity of each image, in any order.

    Example:
        >>> import torch
        >>> from subspace.mining import mine_offline
        >>> angle = torch.tensor([0.0, 0.5, 0.6, 2.0])
        >>> embeddings = torch.stack([angle.cos(), angle.sin()], dim=1)
        >>> labels = torch.tensor([7, 7, 8, 9])
        >>> torch.stack(mine_offline(embeddings, labels), dim=1).tolist()  # (anchor, positive, negative)
        [[0, 1, 2], [1, 0, 2]]
    """
    runs = LabelRuns.of(labels_N).on(embeddings_ND.device)
    unit_ND = embeddings_ND[runs.anchor_order]
    place_NP, exists_NP = runs.positives
    nearest = nearest_negatives(unit_ND, unit_ND, runs, NegativeRule(1))
    if not exists_NP.numel():
        return Triplets(*(runs.anchor_order[:0],) * 3)
    farthest_N = nearest.positive_similarity.masked_fill(~exists_NP, torch.inf).argmin(dim=1, keepdim=True)
    anchor = (exists_NP.any(dim=1) & (nearest.similarity[:, 0, 0] > -torch.inf)).nonzero().flatten()
    places = (anchor, place_NP.gather(1, farthest_N)[anchor, 0], nearest.place[anchor, 0, 0])
    return Triplets(*(runs.anchor_order[place] for place in places))
