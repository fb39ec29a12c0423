"""Which triplets of a batch a loss takes, as tables of negatives beside the positives, and the hinge over them.

Choosing needs no gradient, so it may be in half precision; the cosines of what was chosen are exact.

Shapes: B anchors, R references, D numbers in an embedding, P positives of the anchor that has most, Q rows of negatives of an
anchor (P where each positive has its own, else 1), k negatives in a row, r anchors in a block.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ...mining.negative_search import NegativeRule, nearest_negatives, negative_blocks, similarities_at
from .pair_engine import Outcome
from .sorted_pairs import SortedPairs
from .step_generator import random_numbers

CLIPPED_BELOW = 0.5
"""Euclidean distance under which negatives are drawn as if they were this far: their gradient is noise."""
TOO_FAR = 1.4
"""Euclidean distance from which on a negative is never drawn: about that of unrelated directions."""
WHOLE = 2**30
"""Weights are whole numbers when they are added up: sums are the same in any order."""


class Chosen(NamedTuple):
    """Triplets: every positive of an anchor with every negative of its row."""

    positive: Tensor
    """int64[B, P], places among the sorted references."""
    positive_exists: Tensor
    """bool[B, P]."""
    positive_cosine: Tensor
    """float[B, P]."""
    negative: Tensor
    """int64[B, Q, k]."""
    negative_exists: Tensor
    """bool[B, Q, k]."""
    negative_cosine: Tensor
    """float[B, Q, k], -1 at least."""

    @property
    def exists(self) -> Tensor:
        """bool[B, P, k], which triplets there are."""
        return self.positive_exists[:, :, None] & self.negative_exists


def nearest(pairs: SortedPairs, rule: NegativeRule, choose_in: str = "float32") -> Chosen:
    """Every positive with the nearest negatives that `rule` allows.

    Args:
        choose_in: `bfloat16` compares in it, so that negatives that are almost equally near may change places.
    """
    if choose_in == "bfloat16":
        halves = pairs.anchors_BD.bfloat16(), pairs.references_RD.bfloat16()
        found = nearest_negatives(*halves, pairs.runs, rule, barred=pairs.barred)
        return _chosen(pairs, found.place, found.similarity > -torch.inf)
    found = nearest_negatives(pairs.anchors_BD, pairs.references_RD, pairs.runs, rule, barred=pairs.barred)
    exists_BQk = found.similarity > -torch.inf
    positives = (pairs.place_BP, pairs.exists_BP, found.positive_similarity)
    return Chosen(*positives, found.place, exists_BQk, found.similarity.clamp(min=-1))


def hardest_positive(chosen: Chosen) -> Chosen:
    """The same with the farthest positive of each anchor alone."""
    if chosen.positive.shape[1] == 0:
        return chosen
    cosine_BP = chosen.positive_cosine.masked_fill(~chosen.positive_exists, torch.inf)
    farthest_B1 = cosine_BP.argmin(dim=1, keepdim=True)
    positive, exists, cosine = (column.gather(1, farthest_B1) for column in chosen[:3])
    return Chosen(positive, exists, cosine, *chosen[3:])


def semi_hard(pairs: SortedPairs, margin: float, seed: int | None) -> Chosen:
    """Every positive with a negative that is farther, but by less than the margin: the nearest, or any with a seed."""
    if seed is None:
        chosen = nearest(pairs, NegativeRule(1, absolute_margin=0.0))
        inside_BP1 = chosen.negative_cosine > (chosen.positive_cosine - margin / 2)[:, :, None]
        return chosen._replace(negative_exists=chosen.negative_exists & inside_BP1)
    place_BP, exists_BP = torch.zeros_like(pairs.place_BP), torch.zeros_like(pairs.exists_BP)
    draw_BP = random_numbers(tuple(pairs.place_BP.shape), seed, place_BP.device)
    blocks = negative_blocks(pairs.anchors_BD, pairs.references_RD, pairs.runs, beside=6)
    for anchors, cosine_rR, positive_rP in blocks:
        for p, positive_r in enumerate(positive_rP.unbind(dim=1)):
            inside_rR = cosine_rR < positive_r[:, None]
            inside_rR &= cosine_rR > (positive_r - margin / 2)[:, None]
            place_BP[anchors, p], exists_BP[anchors, p] = _drawn(inside_rR.long(), draw_BP[anchors, p])
    return _chosen(pairs, place_BP[:, :, None], exists_BP[:, :, None])


def uniform(pairs: SortedPairs, seed: int) -> Chosen:
    """Every positive with one of the anchor's negatives, each as likely as any other. No similarity is looked at."""
    drawn_BP = random_numbers(tuple(pairs.place_BP.shape), seed, pairs.place_BP.device)
    place_BP1 = pairs.runs.negative(drawn_BP)[:, :, None]
    return _chosen(pairs, place_BP1, torch.ones_like(place_BP1, dtype=torch.bool))


def by_distance(pairs: SortedPairs, seed: int) -> Chosen:
    """Every positive with a negative drawn by the `distance_weights`; none for an anchor whose negatives are all too far."""
    place_BP, exists_BP = torch.zeros_like(pairs.place_BP), torch.zeros_like(pairs.exists_BP)
    draw_BP = random_numbers(tuple(pairs.place_BP.shape), seed, place_BP.device)
    for anchors, cosine_rR, _ in negative_blocks(pairs.anchors_BD, pairs.references_RD, pairs.runs, beside=6):
        euclidean_rR = (2 - 2 * cosine_rR).clamp_(min=0).sqrt_()
        weight_rR = distance_weights(euclidean_rR, cosine_rR > -torch.inf, pairs.anchors_BD.shape[1])
        whole_rR = (weight_rR * WHOLE).long()
        for p, draw_r in enumerate(draw_BP[anchors].unbind(dim=1)):
            place_BP[anchors, p], exists_BP[anchors, p] = _drawn(whole_rR, draw_r)
    return _chosen(pairs, place_BP[:, :, None], exists_BP[:, :, None])


def distance_weights(euclidean_BR: Tensor, negative_BR: Tensor, embedding_size: int) -> Tensor:
    """Chance of each reference to be an anchor's negative: float[B, R], rows of sum 1, or 0 where none can be.

    w ~ 1/q(d), q the density of the distance d of random points on the sphere:
    log w = (2 - D) log d - ((D - 3)/2) log(1 - d²/4), with d no smaller than 0.5, and w = 0 from d = 1.4 on.
    Relative to the likeliest of the row, so that a large D does not underflow every weight of an anchor.
    """
    drawn_BR = negative_BR & (euclidean_BR < TOO_FAR)
    d_BR = euclidean_BR.clamp(CLIPPED_BELOW, TOO_FAR)
    log_BR = (2 - embedding_size) * d_BR.log() - (embedding_size - 3) / 2 * (1 - d_BR.square() / 4).log()
    return log_BR.masked_fill(~drawn_BR, -torch.inf).softmax(dim=1).masked_fill(~drawn_BR, 0)


def _drawn(weight_rR: Tensor, draw_r: Tensor) -> tuple[Tensor, Tensor]:
    """A column of each row by its whole weight, and whether any has one: int64[r], bool[r]."""
    upto_rR = weight_rR.cumsum(dim=1)
    total_r = upto_rR[:, -1]
    aim_r = draw_r % total_r.clamp(min=1)
    column_r = torch.searchsorted(upto_rR, aim_r[:, None], right=True)[:, 0]
    return column_r.clamp(max=weight_rR.shape[1] - 1), total_r > 0


def _chosen(pairs: SortedPairs, place_BQk: Tensor, exists_BQk: Tensor) -> Chosen:
    cosine_BT = similarities_at(pairs.anchors_BD, pairs.references_RD, place_BQk.flatten(1))
    positives = (pairs.place_BP, pairs.exists_BP, pairs.positive_cosine)
    return Chosen(*positives, place_BQk, exists_BQk, cosine_BT.view(place_BQk.shape))


def hinge(
    pairs: SortedPairs,
    chosen: Chosen,
    margin: float,
    *,
    squared: bool = True,
    soft_margin: bool = False,
    margin_inside: bool = False,
    mean_over_active: bool = True,
) -> Outcome:
    """Mean over triplets of [d_ap - d_an + m]+ or a softplus, and the share that violates, mean d_ap, mean d_an.

    Args:
        soft_margin: softplus(d_ap - d_an).
        margin_inside: with it, softplus(d_ap - d_an + m).
    """
    exists_BPk = chosen.exists
    d_ap_BP1, slope_ap_BP = distance(chosen.positive_cosine, squared)
    d_ap_BP1 = d_ap_BP1[:, :, None]
    d_an_BQk, slope_an_BQk = distance(chosen.negative_cosine, squared)
    violation_BPk = d_ap_BP1 - d_an_BQk + margin
    active_BPk = (violation_BPk > 0) & exists_BPk
    count, active = exists_BPk.sum(), active_BPk.sum()
    if soft_margin:
        beyond_BPk = violation_BPk if margin_inside else d_ap_BP1 - d_an_BQk
        total = (functional.softplus(beyond_BPk) * exists_BPk).sum()
        weight_BPk = beyond_BPk.sigmoid() * exists_BPk
    else:
        total = (violation_BPk * active_BPk).sum()
        weight_BPk = active_BPk.to(violation_BPk)
    divide_by = active if mean_over_active and not soft_margin else count
    scale = 1 / divide_by.clamp(min=1).to(total)
    by_row_BQk = weight_BPk if chosen.negative.shape[1] == weight_BPk.shape[1] else weight_BPk.sum(1, True)
    slope_BT = torch.cat((weight_BPk.sum(2) * slope_ap_BP, (-slope_an_BQk * by_row_BQk).flatten(1)), dim=1)
    pairs.add(torch.cat((chosen.positive, chosen.negative.flatten(1)), dim=1), slope_BT * scale)
    sums = (active, (d_ap_BP1 * exists_BPk).sum(), (d_an_BQk * exists_BPk).sum())
    return Outcome(total * scale, tuple(value / count for value in sums))


def distance(cosine: Tensor, squared: bool) -> tuple[Tensor, Tensor]:
    """Distance of unit vectors by their cosine, 2 - 2·s or its root, and its slope."""
    d = 2 - 2 * cosine
    if squared:
        return d, torch.full_like(d, -2.0)
    # The root's slope is infinite at 0, where two images have one embedding.
    root = d.clamp(min=1e-12).sqrt()
    return root, torch.where(d > 1e-12, -1 / root, 0.0)
