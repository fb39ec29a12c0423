"""Batch OHNM in one pass: loss and gradient together, without ever holding B × B numbers.

A triplet loss touches few of the B² similarities: those of the mined pairs. So the gradient with respect to
the unit embeddings U, dL/dU = (G + Gᵀ) U with G sparse, is made block by block while the similarities are at
hand; what remains of it across U, divided by the embeddings' lengths, is the gradient of the embeddings, and
backward multiplies that by the incoming scalar. The operator is opaque to `torch.compile`, which
therefore traces a model with this loss without a graph break.

Shapes: as in `mining/triplets.py`.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ...mining.errors import SubspaceWarning
from ...mining.triplets import MinedBlock, NegativeRule, mine_blocks
from .unit_length import SHORTEST, check_finite, normalized, working_dtype

SLOPES_AT_A_TIME = 2**22


@torch.library.custom_op("subspace::batch_ohnm", mutates_args=())
def fused_batch_ohnm(
    embeddings_BD: Tensor,
    labels_B: Tensor,
    never: Tensor,
    margin: float,
    negatives: int,
    skip: int,
    max_similarity: float,
    relative_margin: float,
    squared: bool,
    soft_margin: bool,
    mean_over_active: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss (scalar), its gradient [B, D], and statistics [3]: active share, mean d_ap, mean d_an.

    Operators take no None: NaN stands for an absent `max_similarity` or `relative_margin`, and an empty
    [0, 2] for an absent `never`.

    Raises:
        InputError: NaN or infinity among the embeddings.
    """
    unit_BD = normalized(embeddings_BD)
    check_finite(unit_BD)
    rule = NegativeRule(
        negatives,
        skip,
        None if max_similarity != max_similarity else max_similarity,
        None if relative_margin != relative_margin else relative_margin,
    )
    order = labels_B.argsort(stable=True)
    sorted_BD = unit_BD[order]
    gradient_BD = torch.zeros_like(sorted_BD)
    totals = sorted_BD.new_zeros(5)  # loss, triplets, active ones, sum of d_ap, sum of d_an
    slopes = _SparseSlopes([], [], [])
    for block in mine_blocks(sorted_BD, labels_B[order], rule, never if len(never) else None):
        totals += _add_block(slopes, block, margin, squared, soft_margin)
        if slopes.size >= SLOPES_AT_A_TIME:
            slopes.flush(sorted_BD, gradient_BD)
    slopes.flush(sorted_BD, gradient_BD)
    loss, count, active, d_ap, d_an = totals.unbind()
    if count == 0:
        warnings.warn(
            "a batch without triplets (one identity, or no identity with two images): its loss is 0",
            SubspaceWarning,
            stacklevel=2,
        )
    scale = 1 / (active if mean_over_active and not soft_margin else count).clamp(min=1)
    result_BD = torch.empty_like(gradient_BD)
    result_BD[order] = gradient_BD
    length_B1 = embeddings_BD.to(unit_BD).norm(dim=1, keepdim=True)
    along_B1 = torch.linalg.vecdot(result_BD, unit_BD)[:, None] * (length_B1 >= SHORTEST)
    result_BD.addcmul_(unit_BD, along_B1, value=-1).mul_(scale / length_B1.clamp(min=SHORTEST))
    return loss * scale, result_BD, torch.stack((active, d_ap, d_an)) / count


class _SparseSlopes(NamedTuple):
    """dL/ds of some similarities s of two images: the entries of G."""

    first: list[Tensor]
    second: list[Tensor]
    slope: list[Tensor]

    @property
    def size(self) -> int:
        return sum(map(len, self.slope))

    def flush(self, unit_BD: Tensor, gradient_BD: Tensor) -> None:
        """Add (G + Gᵀ) U to the gradient, a weighted sum of rows for every image, and begin anew."""
        row = torch.cat((*self.first, *self.second))
        column = torch.cat((*self.second, *self.first))
        order = row.argsort()
        starts = torch.searchsorted(row[order], torch.arange(len(unit_BD), device=row.device))
        weights = torch.cat(self.slope).repeat(2)[order]
        gradient_BD += functional.embedding_bag(
            column[order], unit_BD, starts, mode="sum", per_sample_weights=weights
        )
        for entries in self:
            entries.clear()


def _add_block(slopes: _SparseSlopes, block: MinedBlock, margin: float, squared: bool, soft: bool) -> Tensor:
    """Add the slopes of a block's similarities; return its sums for the totals."""
    exists_nk = block.negative_similarity[block.row_of_pair] > -torch.inf
    d_ap_n, slope_ap_n = _distance(block.pair_similarity, squared)
    d_an_mk, slope_an_mk = _distance(block.negative_similarity.clamp(min=-1), squared)
    d_ap_nk, d_an_nk = d_ap_n[:, None].expand_as(exists_nk), d_an_mk[block.row_of_pair]
    violation_nk = d_ap_nk - d_an_nk + margin
    active_nk = (violation_nk > 0) & exists_nk
    if soft:
        loss_nk = functional.softplus(d_ap_nk - d_an_nk) * exists_nk
        weight_nk = torch.sigmoid(d_ap_nk - d_an_nk) * exists_nk
    else:
        loss_nk = violation_nk * active_nk
        weight_nk = active_nk.to(violation_nk.dtype)

    weight_mk = torch.zeros_like(d_an_mk).index_add_(0, block.row_of_pair, weight_nk)
    slopes.first.extend((block.pair_anchor, block.row_anchor[:, None].expand_as(block.negative).flatten()))
    slopes.second.extend((block.pair_positive, block.negative.flatten()))
    slopes.slope.extend((weight_nk.sum(dim=1) * slope_ap_n, (-slope_an_mk * weight_mk).flatten()))
    sums = (
        loss_nk.sum(),
        exists_nk.sum(),
        active_nk.sum(),
        (d_ap_nk * exists_nk).sum(),
        (d_an_nk * exists_nk).sum(),
    )
    return torch.stack([total.to(violation_nk.dtype) for total in sums])


def _distance(similarity: Tensor, squared: bool) -> tuple[Tensor, Tensor]:
    """Distance of unit vectors by their cosine, and its slope."""
    distance = 2 - 2 * similarity
    if squared:
        return distance, torch.full_like(distance, -2.0)
    # The root's slope is infinite at 0, where two images have one embedding.
    root = distance.clamp(min=1e-12).sqrt()
    return root, torch.where(distance > 1e-12, -1 / root, 0.0)


@fused_batch_ohnm.register_fake
def _(embeddings_BD: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    unit_BD = torch.empty_like(embeddings_BD, dtype=working_dtype(embeddings_BD))
    return unit_BD.new_empty(()), unit_BD, unit_BD.new_empty(3)


def _save_gradient(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1], output[2])
    ctx.set_materialize_grads(False)  # no zeros for the outputs that have none
    ctx.dtype = inputs[0].dtype


def _backward(ctx: Any, loss_slope: Tensor | None, *rest: Tensor | None) -> tuple[Tensor | None, ...]:
    if loss_slope is None:
        return (None,) * 11
    (gradient_BD,) = ctx.saved_tensors
    return ((loss_slope * gradient_BD).to(ctx.dtype), *(None,) * 10)


fused_batch_ohnm.register_autograd(_backward, setup_context=_save_gradient)
