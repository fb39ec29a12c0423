"""The nearest negatives of every anchor, block by block: never anchors × references numbers at once.

Anchors and references come sorted by label, so an identity is a run of columns. No block waits for the device.

Shapes: B anchors, R references, r anchors in a block, D numbers in an embedding, Q rows of negatives of an anchor (one,
or one for each limit), k negatives in a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .block_sizes import rows_at_a_time, similarities_at_a_time
from .errors import InputError
from .label_runs import LabelRuns
from .similarity_tiles import Tiling

FEWEST_TILES = 10
"""Four a side: from so many on, half the product is worth more than one look at whole rows."""
GROUP = 64
"""Columns whose largest number stands for them all in the first of two looks."""


@dataclass(frozen=True)
class NegativeRule:
    """Which images of other identities may be an anchor's negatives."""

    negatives: int = 3
    """k: the nearest that are allowed. One alone may be mislabelled or indistinguishable and lead to collapse."""
    range_min: int = 0
    """Leave out this many of the nearest that are allowed: ranks range_min+1 to range_min+k of them serve."""
    max_similarity: float | None = None
    """Leave out images with a higher cosine: probably the same identity under another name."""
    absolute_margin: float | None = None
    """Only images with cosine < cos(anchor, positive) - this; 0 is FaceNet's semi-hard rule."""
    share_of_positive: float | None = None
    """Only images with cosine < this · cos(anchor, positive)."""
    range_max: int | None = None
    """Look at this many of the nearest and no further, whatever the rules above leave of them; None: at all."""

    def __post_init__(self) -> None:
        if self.negatives < 1 or self.range_min < 0:
            raise InputError(
                f"negatives={self.negatives} must be at least 1 and range_min={self.range_min} at least 0"
            )
        if self.range_max is not None and self.range_max <= self.range_min:
            raise InputError(
                f"range_max={self.range_max} must be above range_min={self.range_min}, or no negative is left"
            )

    @property
    def per_positive(self) -> bool:
        """Whether each positive has negatives of its own, and not all of an anchor the same."""
        return self.absolute_margin is not None or self.share_of_positive is not None

    @property
    def ranks(self) -> int:
        """How many of the nearest that are allowed are found, those that are left out counted."""
        wanted = self.range_min + self.negatives
        return wanted if self.range_max is None else min(wanted, self.range_max)

    def limit(self, positive: Tensor) -> Tensor:
        """Cosine that a negative stays below, by the cosine of the positive."""
        limit = torch.full_like(positive, torch.inf)
        if self.absolute_margin is not None:
            limit = positive - self.absolute_margin
        return limit if self.share_of_positive is None else limit.minimum(self.share_of_positive * positive)

    def nearest(self, similarity_rR: Tensor) -> tuple[Tensor, Tensor]:
        """Values and columns of the ranks that serve, -inf where a row has fewer: float[r, k], int64[r, k]."""
        values, columns = largest(similarity_rR, min(self.ranks, similarity_rR.shape[1]))
        return values[:, self.range_min :], columns[:, self.range_min :]


class Negatives(NamedTuple):
    """Negatives of every anchor, nearest first, and its positives."""

    similarity: Tensor
    """float[B, Q, k], cosine; -inf where there is no further negative."""
    place: Tensor
    """int64[B, Q, k], among the sorted references."""
    positive_similarity: Tensor
    """float[B, P], cosine to what `LabelRuns.positives` names."""


def largest(values_rR: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest numbers of each row, falling, and their columns: float[r, k], int64[r, k].

    The k largest lie in the k groups of columns that have the largest maxima, so all but those are looked at once.
    """
    r, R = values_rR.shape
    if 4 * k * GROUP > R:
        return values_rR.topk(k, dim=1)  # pyright: ignore[reportReturnType]
    whole = R - R % GROUP
    group_rk = values_rR[:, :whole].view(r, -1, GROUP).amax(dim=2).topk(k, dim=1).indices
    column_rc = (group_rk[:, :, None] * GROUP + torch.arange(GROUP, device=group_rk.device)).flatten(1)
    if whole < R:
        rest = torch.arange(whole, R, device=column_rc.device)
        column_rc = torch.cat((column_rc, rest.expand(r, -1)), dim=1)
    values_rk, place_rk = values_rR.gather(1, column_rc).topk(k, dim=1)
    return values_rk, column_rc.gather(1, place_rk)


def negative_blocks(
    anchors_BD: Tensor,
    references_RD: Tensor,
    runs: LabelRuns,
    barred: list[tuple[slice, slice]] | None = None,
    beside: int = 0,
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield similarities of some anchors at a time: to all references float[r, R], -inf to their own identity, and to their
    positives float[r, P].

    The blocks are the caller's to change.

    Args:
        beside: float32 numbers that the caller holds for each similarity besides, so that blocks are smaller.
    """
    B, R = len(anchors_BD), len(references_RD)
    positive_BP = runs.positives[0]
    offset = torch.arange(runs.most + 1, device=anchors_BD.device)
    # A run that is shorter than the longest names its last column again.
    own_identity_Bn = torch.minimum(runs.first[:, None] + offset, runs.last[:, None] - 1).clamp_(min=0)
    absent_B1 = (runs.first == runs.last)[:, None] if (runs.ends[0] == runs.ends[1]).any() else None
    rows = rows_at_a_time(B, R * (1 + beside), anchors_BD.device)
    for start in range(0, B, rows):
        anchors = slice(start, min(start + rows, B))
        similarity_rR = anchors_BD[anchors] @ references_RD.T
        positive_rP = similarity_rR.gather(1, positive_BP[anchors])
        column_rn = own_identity_Bn[anchors]
        kept_r1 = None if absent_B1 is None else similarity_rR.gather(1, column_rn[:, :1])
        similarity_rR.scatter_(1, column_rn, -torch.inf)
        if absent_B1 is not None and kept_r1 is not None:
            # An identity that is not among the references has named a column of another one.
            masked_r1 = kept_r1.masked_fill(~absent_B1[anchors], -torch.inf)
            similarity_rR.scatter_(1, column_rn[:, :1], masked_r1)
        for one, other in barred or ():
            similarity_rR[max(0, one.start - start) : max(0, one.stop - start), other] = -torch.inf
        yield anchors, similarity_rR, positive_rP


def nearest_negatives(
    anchors_BD: Tensor,
    references_RD: Tensor,
    runs: LabelRuns,
    rule: NegativeRule,
    *,
    barred: list[tuple[slice, slice]] | None = None,
) -> Negatives:
    """Search the negatives that `rule` allows. Call it without gradients.

    Cost: one B × R × D matrix product and one look at it, of a large batch that is its own references half the product;
    with `range_max` a whole one, with a limit by the positive also as many looks as P.

    Args:
        anchors_BD: float[B, D], unit length, sorted by label.
        references_RD: float[R, D], likewise.
        barred: of `LabelRuns.barred`.
    """
    tiling = Tiling(anchors_BD, references_RD, runs)
    whole = rule.per_positive or rule.range_max is not None
    if not whole and tiling.symmetric and len(tiling) >= FEWEST_TILES:
        return _in_tiles(tiling, rule, barred or ())
    B, width = len(anchors_BD), max(0, min(rule.ranks, len(references_RD)) - rule.range_min)
    shape = (B, runs.most if rule.per_positive else 1, width)
    found = Negatives(
        anchors_BD.new_empty(shape),
        torch.empty(shape, dtype=torch.int64, device=anchors_BD.device),
        anchors_BD.new_empty((B, runs.most)),
    )
    for anchors, similarity_rR, positive_rP in negative_blocks(anchors_BD, references_RD, runs, barred):
        found.positive_similarity[anchors] = positive_rP
        candidate_rn = None
        if rule.range_max is not None and rule.range_max < similarity_rR.shape[1]:
            similarity_rR, candidate_rn = largest(similarity_rR, rule.range_max)
        if rule.max_similarity is not None:
            similarity_rR.masked_fill_(similarity_rR > rule.max_similarity, -torch.inf)
        limits = rule.limit(positive_rP).unbind(dim=1) if rule.per_positive else (None,)
        for q, limit_r in enumerate(limits):
            below_rR = similarity_rR
            if limit_r is not None:
                below_rR = similarity_rR.masked_fill(similarity_rR >= limit_r[:, None], -torch.inf)
            found.similarity[anchors, q], place_rk = rule.nearest(below_rR)
            found.place[anchors, q] = place_rk if candidate_rn is None else candidate_rn.gather(1, place_rk)
    return found


def _in_tiles(tiling: Tiling, rule: NegativeRule, barred: Sequence[tuple[slice, slice]]) -> Negatives:
    """The same for a batch that is its own references, from half of its similarities."""
    anchors_BD, runs = tiling.anchors_BD, tiling.runs
    ranks = min(rule.ranks, len(anchors_BD))
    best_Bk = anchors_BD.new_full((len(anchors_BD), ranks), -torch.inf)
    place_Bk = torch.zeros(best_Bk.shape, dtype=torch.int64, device=best_Bk.device)
    for tile in tiling:
        if tile.negative is not None:
            tile.cosine.masked_fill_(~tile.negative, -torch.inf)
        for one, other in barred:
            rows, columns = (_inside(*pair) for pair in ((one, tile.rows), (other, tile.columns)))
            tile.cosine[rows, columns] = -torch.inf
        if rule.max_similarity is not None:
            tile.cosine.masked_fill_(tile.cosine > rule.max_similarity, -torch.inf)
        for cosine, _, anchors, references in tile.ways():
            value_ik, column_ik = largest(cosine.contiguous(), min(ranks, cosine.shape[1]))
            value_in = torch.cat((best_Bk[anchors], value_ik), dim=1)
            place_in = torch.cat((place_Bk[anchors], column_ik + references.start), dim=1)
            best_Bk[anchors], kept_ik = value_in.topk(ranks, dim=1)
            place_Bk[anchors] = place_in.gather(1, kept_ik)
    positive_BP = similarities_at(anchors_BD, anchors_BD, runs.positives[0])
    return Negatives(best_Bk[:, None, rule.range_min :], place_Bk[:, None, rule.range_min :], positive_BP)


def _inside(range_: slice, of: slice) -> slice:
    """The part of a range that lies in `of`, counted from the beginning of `of`."""
    return slice(max(0, range_.start - of.start), max(0, min(range_.stop, of.stop) - of.start))


def similarities_at(anchors_BD: Tensor, references_RD: Tensor, place_BT: Tensor) -> Tensor:
    """Cosines of each anchor to T references: float[B, T], some anchors at a time."""
    B, T = place_BT.shape
    cosine_BT = anchors_BD.new_empty((B, T))
    rows = max(1, similarities_at_a_time(anchors_BD.device) // max(1, T * anchors_BD.shape[1]))
    for start in range(0, B, rows):
        some = slice(start, start + rows)
        cosine_BT[some] = torch.linalg.vecdot(references_RD[place_BT[some]], anchors_BD[some, None])
    return cosine_BT
