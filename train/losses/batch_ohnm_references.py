"""Batch OHNM among references: what `batch_ohnm_kernel.py` does within a batch, for anchors and references that differ.

Shapes: B anchors, R references, P positives of the anchor that has most, k negatives, Q rows of negatives of
an anchor (P where each positive has its own limit, else 1), p pairs of labels.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.nn import functional

from ...mining.errors import SubspaceWarning
from ...mining.triplets import NegativeRule
from .anchors import AnchorPairs


def batch_ohnm_among(
    pairs: AnchorPairs,
    rule: NegativeRule,
    never: Tensor,
    *,
    margin: float,
    squared: bool,
    soft_margin: bool,
    mean_over_active: bool,
) -> tuple[Tensor, Tensor]:
    """Loss (scalar), and statistics [3]: active share, mean d_ap, mean d_an. Settings as in `BatchOHNMLoss`.

    Memory is O(B · (R + P · k)): negatives with a limit of their own for each pair are searched one positive
    of every anchor at a time. Gradients flow to anchors and references alike.

    Args:
        never: int64[p, 2] pairs of labels that are never each other's negatives, or [0, 2].
    """
    cosine_BR = pairs.cosine()
    positive_BP, is_pair_BP = pairs.positive_table()
    cosine_ap_BP = cosine_BR.gather(1, positive_BP)
    negative_BQk, exists_BQk = _nearest_negatives(
        cosine_BR.detach(), cosine_ap_BP.detach(), pairs, rule, never
    )
    cosine_an_BQk = cosine_BR.gather(1, negative_BQk.flatten(1)).view(negative_BQk.shape)

    exists_BPk = is_pair_BP[:, :, None] & exists_BQk
    d_ap_BP1, d_an_BQk = _distance(cosine_ap_BP, squared)[:, :, None], _distance(cosine_an_BQk, squared)
    difference_BPk = d_ap_BP1 - d_an_BQk
    active_BPk = (difference_BPk.detach() + margin > 0) & exists_BPk
    count, active = exists_BPk.sum(), active_BPk.sum()
    if count == 0:
        warnings.warn(
            "a batch without triplets (no anchor has a positive and a negative among the references): its loss is 0",
            SubspaceWarning,
            stacklevel=2,
        )
    sums = [active.to(cosine_BR.dtype), *((d.detach() * exists_BPk).sum() for d in (d_ap_BP1, d_an_BQk))]
    if soft_margin:
        total = (functional.softplus(difference_BPk) * exists_BPk).sum()
    else:
        total = ((difference_BPk + margin) * active_BPk).sum()
    divide_by = active if mean_over_active and not soft_margin else count
    return total / divide_by.clamp(min=1), torch.stack(sums) / count


def _nearest_negatives(
    cosine_BR: Tensor, cosine_ap_BP: Tensor, pairs: AnchorPairs, rule: NegativeRule, never: Tensor
) -> tuple[Tensor, Tensor]:
    """Reference rows of the negatives that `rule` allows, and where they exist: int64[B, Q, k], bool[B, Q, k]."""
    allowed_BR = pairs.negative.clone()
    for anchor, reference in _either_way(never, pairs):
        allowed_BR[(pairs.labels == anchor).nonzero(), pairs.ref_labels == reference] = False
    if rule.max_similarity is not None:
        allowed_BR &= cosine_BR <= rule.max_similarity
    allowed_cosine_BR = cosine_BR.masked_fill(~allowed_BR, -torch.inf)
    if rule.relative_margin is None:
        row_Bk, value_Bk = rule.nearest(allowed_cosine_BR)
        return row_Bk[:, None], value_Bk[:, None] > -torch.inf
    limit_BP = cosine_ap_BP - rule.relative_margin
    width = max(0, min(rule.negatives, cosine_BR.shape[1] - rule.skip))
    row_BPk = torch.zeros((*limit_BP.shape, width), dtype=torch.int64, device=limit_BP.device)
    exists_BPk = torch.zeros_like(row_BPk, dtype=torch.bool)
    for positive, limit_B in enumerate(limit_BP.unbind(dim=1)):
        below_BR = allowed_cosine_BR.masked_fill(allowed_cosine_BR >= limit_B[:, None], -torch.inf)
        row_BPk[:, positive], value_Bk = rule.nearest(below_BR)
        exists_BPk[:, positive] = value_Bk > -torch.inf
    return row_BPk, exists_BPk


def _either_way(never: Tensor, pairs: AnchorPairs) -> list[list[int]]:
    """Pairs of an anchor's and a reference's label that `never` bars, of those that are present."""
    pairs_p2 = torch.cat((never, never.flip(1))).to(pairs.labels.device)
    present_p = torch.isin(pairs_p2[:, 0], pairs.labels) & torch.isin(pairs_p2[:, 1], pairs.ref_labels)
    return pairs_p2[present_p].tolist()


def _distance(cosine: Tensor, squared: bool) -> Tensor:
    # The root's slope is infinite at 0, where two images have one embedding.
    return 2 - 2 * cosine if squared else (2 - 2 * cosine).clamp(min=1e-12).sqrt()
