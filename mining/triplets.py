"""Which triplets of a batch to learn from: every anchor-positive pair, and the anchor's nearest negatives.

Exact and blockwise: the batch is sorted by label, so that an identity is a range of columns, and similarities
are made for some anchors at a time. Memory is O(B · r), never B × B. That also serves subsets far larger than
a batch, whose hardest triplets are mined offline.

Shapes: B images in a batch, N images in a subset, D numbers in an embedding, r anchors in a block, n anchor-positive pairs of a
block, m rows of negatives (one for each anchor, or one for each pair), k negatives in a row, T triplets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .errors import InputError

SIMILARITIES_AT_A_TIME = 2**21
LEAST_ANCHORS_AT_A_TIME = 128


@dataclass(frozen=True)
class NegativeRule:
    """Which images of other identities may be an anchor's negatives."""

    negatives: int = 3
    """k: the nearest that are allowed. One alone may be mislabelled or indistinguishable and lead to collapse."""
    skip: int = 0
    """Leave out this many of the nearest first: ranks skip+1 to skip+k serve."""
    max_similarity: float | None = None
    """Leave out images with a higher cosine: probably the same identity under another name."""
    relative_margin: float | None = None
    """Only images with cosine < cos(anchor, positive) - this; 0 is FaceNet's semi-hard rule."""

    def __post_init__(self) -> None:
        if self.negatives < 1 or self.skip < 0:
            raise InputError(f"negatives={self.negatives} must be at least 1 and skip={self.skip} at least 0")

    def nearest(self, similarity_rB: Tensor) -> tuple[Tensor, Tensor]:
        """Columns and values of the ranks that serve, -inf where a row has fewer: int64[r, k], float[r, k]."""
        wanted = min(self.skip + self.negatives, similarity_rB.shape[1])
        values, columns = similarity_rB.topk(wanted, dim=1)
        return columns[:, self.skip :], values[:, self.skip :]


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


class MinedBlock(NamedTuple):
    """Pairs and negatives of consecutive anchors of the sorted batch."""

    pair_anchor: Tensor
    """int64[n], row of the sorted batch."""
    pair_positive: Tensor
    """int64[n]."""
    pair_similarity: Tensor
    """float[n], cosine."""
    row_of_pair: Tensor
    """int64[n], the pair's row of negatives."""
    row_anchor: Tensor
    """int64[m], the anchor of a row of negatives."""
    negative: Tensor
    """int64[m, k], nearest first."""
    negative_similarity: Tensor
    """float[m, k], cosine; -inf where there is no further negative."""


def mine_blocks(
    unit_BD: Tensor, labels_B: Tensor, rule: NegativeRule, never: Tensor | None = None
) -> Iterator[MinedBlock]:
    """Mine a batch whose labels are sorted, some anchors at a time. Call it without gradients.

    Cost: one B × B × D matrix product and one pass for the k largest; with `relative_margin`, one such pass
    for every positive of an anchor.

    Args:
        unit_BD: float[B, D], unit length.
        labels_B: int[B], ascending.
        never: int[p, 2] pairs of labels that are never each other's negatives (suspected duplicates).
    """
    B = len(labels_B)
    first_B = torch.searchsorted(labels_B, labels_B)
    last_B = torch.searchsorted(labels_B, labels_B, right=True)
    barred = [] if never is None else _column_ranges(labels_B, never)
    rows = max(LEAST_ANCHORS_AT_A_TIME, SIMILARITIES_AT_A_TIME // max(1, B))
    for start in range(0, B, rows):
        anchors = slice(start, min(start + rows, B))
        similarity_rB = unit_BD[anchors] @ unit_BD.T

        row, column = _same_identity(first_B[anchors], last_B[anchors])
        same_similarity = similarity_rB[row, column]
        similarity_rB[row, column] = -torch.inf
        other_image = column != row + start
        row, column, pair_similarity = row[other_image], column[other_image], same_similarity[other_image]
        for one, other in barred:
            similarity_rB[max(0, one.start - start) : max(0, one.stop - start), other] = -torch.inf
        if rule.max_similarity is not None:
            similarity_rB.masked_fill_(similarity_rB > rule.max_similarity, -torch.inf)
        if rule.relative_margin is None:
            row_of_pair, row_anchor = row, torch.arange(anchors.start, anchors.stop, device=row.device)
            nearest = rule.nearest(similarity_rB)
        else:
            row_of_pair, row_anchor = torch.arange(len(row), device=row.device), row + start
            nearest = _nearest_below(similarity_rB, row, pair_similarity - rule.relative_margin, rule)
        yield MinedBlock(row + start, column, pair_similarity, row_of_pair, row_anchor, *nearest)


@torch.no_grad()
def mine_batch_ohnm(
    embeddings_BD: Tensor,
    labels_B: Tensor,
    negatives: int = 3,
    *,
    rule: NegativeRule | None = None,
    never: Tensor | None = None,
) -> Triplets:
    """Pair every anchor-positive pair of the batch with the anchor's nearest negatives.

    Batch OHNM (Wang, Zhang, Lan 2017): all positives, hard negatives only. An image without a second image
    of its identity is a negative for others and never an anchor.

    Args:
        embeddings_BD: float[B, D], unit length.
        labels_B: int[B], identity of each image, in any order.
        negatives: k; fewer are used where the batch has fewer other-identity images.
        rule: instead of `negatives`, a finer choice of them.
        never: int[p, 2] pairs of labels that are never each other's negatives.

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
    order = labels_B.argsort(stable=True)
    rule = rule or NegativeRule(negatives)
    found: list[tuple[Tensor, ...]] = [(order[:0],) * 3]
    for block in mine_blocks(embeddings_BD[order], labels_B[order], rule, never):
        pair, rank = (block.negative_similarity[block.row_of_pair] > -torch.inf).nonzero(as_tuple=True)
        negative = block.negative[block.row_of_pair[pair], rank]
        found.append((block.pair_anchor[pair], block.pair_positive[pair], negative))
    return Triplets(*(order[torch.cat(column)] for column in zip(*found, strict=True)))


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
    order = labels_N.argsort(stable=True)
    found: list[tuple[Tensor, ...]] = [(order[:0],) * 3]
    for block in mine_blocks(embeddings_ND[order], labels_N[order], NegativeRule(1)):
        farthest_first = block.pair_similarity.argsort()
        pair = farthest_first[block.row_of_pair[farthest_first].argsort(stable=True)]
        row = block.row_of_pair[pair]
        taken = block.negative_similarity[row, 0] > -torch.inf
        taken[1:] &= row[1:] != row[:-1]  # the first pair of each anchor
        pair, row = pair[taken], row[taken]
        found.append((block.pair_anchor[pair], block.pair_positive[pair], block.negative[row, 0]))
    return Triplets(*(order[torch.cat(column)] for column in zip(*found, strict=True)))


def _same_identity(first_r: Tensor, last_r: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of every entry of a block whose columns first..last-1 hold the anchor's own identity."""
    count_r = last_r - first_r
    row = torch.repeat_interleave(count_r)
    place = torch.arange(len(row), device=row.device) - (count_r.cumsum(0) - count_r)[row]
    return row, first_r[row] + place


def _nearest_below(
    similarity_rB: Tensor, row: Tensor, limit: Tensor, rule: NegativeRule
) -> tuple[Tensor, Tensor]:
    """As `NegativeRule.nearest`, for pairs whose negatives must stay below a limit each: int64[n, k], float[n, k]."""
    width = min(rule.skip + rule.negatives, similarity_rB.shape[1]) - rule.skip
    columns = [row.new_empty((0, max(0, width)))]
    values = [limit.new_empty((0, max(0, width)))]
    step = max(1, SIMILARITIES_AT_A_TIME // similarity_rB.shape[1])
    for part in range(0, len(row), step):
        pairs = slice(part, part + step)
        similarity_pB = similarity_rB[row[pairs]]
        similarity_pB.masked_fill_(similarity_pB >= limit[pairs, None], -torch.inf)
        found = rule.nearest(similarity_pB)
        columns.append(found[0])
        values.append(found[1])
    return torch.cat(columns), torch.cat(values)


def _column_ranges(labels_B: Tensor, never: Tensor) -> list[tuple[slice, slice]]:
    """Row and column ranges of the sorted batch that `never` bars, both ways, of pairs that are present."""
    pairs_p2 = torch.cat((never, never.flip(1))).to(labels_B)
    first_p2 = torch.searchsorted(labels_B, pairs_p2)
    last_p2 = torch.searchsorted(labels_B, pairs_p2, right=True)
    present = (first_p2 < last_p2).all(dim=1)
    ranges = zip(first_p2[present].tolist(), last_p2[present].tolist(), strict=True)
    return [(slice(first[0], last[0]), slice(first[1], last[1])) for first, last in ranges]
