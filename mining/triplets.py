"""Which triplets of a batch to learn from.

Shapes: B images in a batch, D numbers in an embedding, T triplets, k negatives per anchor.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ROWS_AT_A_TIME = 2048


class Triplets(NamedTuple):
    """Row numbers into the batch, each int64[T]."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor


@torch.no_grad()
def mine_batch_ohnm(embeddings_BD: Tensor, labels_B: Tensor, negatives: int = 3) -> Triplets:
    """Pair every anchor-positive pair of the batch with the anchor's `negatives` nearest negatives.

    Batch OHNM (Wang, Zhang, Lan 2017): all positives, hard negatives only; more than one negative,
    because the single nearest is often mislabelled or indistinguishable and drives collapse. An image
    without a second image of its identity is a negative for others and never an anchor. Exact; similarities are held
    `ROWS_AT_A_TIME` rows at a time, so memory is O(B · rows).

    Args:
        embeddings_BD: float[B, D], unit length.
        labels_B: int[B], identity of each image.
        negatives: k; fewer are used where the batch has fewer other-identity images.
    """
    nothing = torch.empty(0, dtype=torch.int64, device=labels_B.device)
    anchors, positives, negatives_ = [nothing], [nothing], [nothing]
    for start in range(0, len(labels_B), ROWS_AT_A_TIME):
        rows = slice(start, start + ROWS_AT_A_TIME)
        same_rB = labels_B[rows, None] == labels_B[None, :]
        similarity_rB = (embeddings_BD[rows] @ embeddings_BD.T).masked_fill(same_rB, -torch.inf)
        nearest = similarity_rB.topk(min(negatives, len(labels_B)), dim=1)
        same_rB.diagonal(offset=start).fill_(False)
        row, positive = same_rB.nonzero(as_tuple=True)
        exists = nearest.values[row] > -torch.inf  # [pairs, k]
        anchors.append((row + start)[:, None].expand_as(exists)[exists])
        positives.append(positive[:, None].expand_as(exists)[exists])
        negatives_.append(nearest.indices[row][exists])
    return Triplets(torch.cat(anchors), torch.cat(positives), torch.cat(negatives_))
