"""What all losses over pairs and triplets run on: loss and gradient in one pass, without B × R numbers at once.

A rule says which of the similarities count and how. It is given anchors and references as unit vectors, sorted by label, and
hands back the loss and dL/ds of every similarity s that has one: of some in tables, or of all, tile by tile. From those
the engine makes the gradient of anchors and references, (G U, Gᵀ U), and takes it through the normalisation. Backward only
multiplies by the incoming scalar. The operator is opaque to `torch.compile`, which traces a model with a
loss that draws nothing without a graph break, and it waits for the device only where labels lie there.

Shapes: B anchors (the batch), R references (the batch itself unless others are given), D numbers in an embedding, P positives
of the anchor that has most, T similarities of an anchor.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...mining.errors import InputError
from ...mining.label_runs import LabelRuns
from .sorted_pairs import SortedPairs
from .unit_length import check_finite, check_images, through_normalisation, unit_and_length, working_dtype

STATISTICS = 6
"""Numbers that a rule hands back for the log; those that it has not are NaN."""


class Outcome(NamedTuple):
    """What a rule found."""

    loss: Tensor
    """Scalar."""
    statistics: tuple[Tensor, ...] = ()
    """Scalars, `STATISTICS` at most."""


Rule = Callable[..., Outcome]
RULES: dict[str, Rule] = {}
"""What each loss does with the `SortedPairs` of a batch, by name; called with its settings, too."""


def rule(name: str) -> Callable[[Rule], Rule]:
    """Register a rule under a name."""

    def register(function: Rule) -> Rule:
        RULES[name] = function
        return function

    return register


def pair_loss(
    name: str,
    settings: dict[str, Any],
    embeddings_BD: Tensor,
    labels_B: Tensor,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    own_start: int | None = None,
    never: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Loss by the rule `name`, a scalar with gradient, and its statistics, float[6].

    On a GPU embeddings that are not finite make the loss NaN; to raise there would be to wait for the device.

    Args:
        settings: of the rule: numbers, words, flags, None, and dicts of them.
        embeddings_BD: float[B, D], the anchors, of any length; compared in float32, or in float64 where they come so.
        labels_B: int[B], any integers, in any order. On the CPU they cost no wait for a GPU.
        ref_emb: float[R, D], where positives and negatives come from; None: the batch itself.
        ref_labels: int[R].
        own_start: where the batch is among the references, the row of its first image there (a memory appended to
            the batch: 0; batches gathered from several processes: rank · B). None: it is not.
        never: int[p, 2] pairs of labels that are never each other's negatives.

    Raises:
        InputError: shapes that do not fit each other, an empty batch; on the CPU also NaN or infinity.
    """
    check_pairs(embeddings_BD, labels_B, ref_emb, ref_labels, own_start)
    if ref_emb is None or ref_labels is None:
        references, ref_labels = embeddings_BD.new_empty((0, embeddings_BD.shape[1])), labels_B[:0]
    else:
        references = ref_emb
    wanted = torch.is_grad_enabled() and (embeddings_BD.requires_grad or references.requires_grad)
    loss, _, _, statistics = fused_pair_loss(
        embeddings_BD,
        labels_B,
        references,
        ref_labels,
        -1 if own_start is None else own_start,
        labels_B.new_empty((0, 2)) if never is None else never,
        name,
        repr(_plain(settings)),
        wanted,
    )
    return loss, statistics


def check_pairs(
    embeddings_BD: Tensor,
    labels_B: Tensor,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    own_start: int | None = None,
) -> None:
    """Refuse arguments of `pair_loss` that do not fit each other.

    Raises:
        InputError: as `pair_loss` says.
    """
    check_images("embeddings", embeddings_BD, labels_B)
    if ref_emb is None or ref_labels is None:
        if ref_emb is not None or ref_labels is not None or own_start is not None:
            raise InputError(
                "ref_emb and ref_labels go together, and own_start goes with them: give all or none"
            )
        return
    check_images("references", ref_emb, ref_labels)
    B, R = len(embeddings_BD), len(ref_emb)
    if ref_emb.shape[1] != embeddings_BD.shape[1]:
        raise InputError(f"references have {ref_emb.shape[1]} numbers, embeddings {embeddings_BD.shape[1]}")
    if own_start is not None and not 0 <= own_start <= R - B:
        raise InputError(f"own_start={own_start}: a batch of {B} does not fit in {R} references there")


@torch.library.custom_op("subspace::pair_loss", mutates_args=())
def fused_pair_loss(
    embeddings_BD: Tensor,
    labels_B: Tensor,
    ref_emb_RD: Tensor,
    ref_labels_R: Tensor,
    own_start: int,
    never: Tensor,
    name: str,
    settings: str,
    wants_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss (scalar), its gradients [B, D] and [R, D], and statistics [6].

    Operators take no None: `ref_emb_RD` is [0, D] where the batch is its own references, `own_start` is -1 for none.
    """
    # A loss is computed as it is, wherever it is called.
    with torch.autocast(embeddings_BD.device.type, enabled=False):
        alone = len(ref_emb_RD) == 0
        unit_BD, length_B1 = unit_and_length(embeddings_BD)
        unit_RD, length_R1 = (unit_BD, length_B1) if alone else unit_and_length(ref_emb_RD.to(unit_BD.dtype))
        for unit in (unit_BD,) if alone else (unit_BD, unit_RD):
            check_finite(unit)
        runs = LabelRuns.of(
            labels_B, None if alone else ref_labels_R, None if alone or own_start < 0 else own_start
        )
        barred = runs.barred(never, labels_B, labels_B if alone else ref_labels_R)
        pairs = SortedPairs(unit_BD, None if alone else unit_RD, runs, barred)
        pairs.wants_gradient = wants_gradient
        outcome = RULES[name](pairs, **_settings(settings))
        loss = outcome.loss.to(unit_BD.dtype)
        if unit_BD.device.type != "cpu":  # not looked at above: NaN stays NaN
            loss = loss + 0 * (unit_BD.sum() + unit_RD.sum())
        statistics = [value.to(loss) for value in outcome.statistics]
        statistics += [loss.new_full((), torch.nan)] * (STATISTICS - len(statistics))
        sides = (
            (pairs.anchor_slope_BD, pairs.runs.anchor_order, unit_BD, length_B1),
            (
                pairs.reference_slope_RD,
                pairs.runs.reference_order,
                unit_RD[:0] if alone else unit_RD,
                length_R1,
            ),
        )
        gradients = []
        for slope, order, unit, length in sides:
            gradients.append(torch.zeros_like(unit) if slope is None else torch.empty_like(unit))
            if slope is not None:
                gradients[-1][order] = slope
                through_normalisation(gradients[-1], unit, length)
        return loss, gradients[0], gradients[1], torch.stack(statistics)


@fused_pair_loss.register_fake
def _(embeddings_BD: Tensor, labels_B: Tensor, ref_emb_RD: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    unit_BD = torch.empty_like(embeddings_BD, dtype=working_dtype(embeddings_BD))
    unit_RD = torch.empty_like(ref_emb_RD, dtype=unit_BD.dtype)
    return unit_BD.new_empty(()), unit_BD, unit_RD, unit_BD.new_empty(STATISTICS)


def _save_gradients(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(output[1], output[2])
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)  # no zeros for the outputs that have none
    ctx.dtypes = inputs[0].dtype, inputs[2].dtype


def _backward(ctx: Any, loss_slope: Tensor | None, *rest: Tensor | None) -> tuple[Tensor | None, ...]:
    if loss_slope is None:
        return (None,) * 9
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        raise RuntimeError("this loss has no second derivative: call backward without create_graph=True")
    anchors, references = (
        (loss_slope * gradient).to(dtype) if needed else None
        for gradient, dtype, needed in zip(
            ctx.saved_tensors, ctx.dtypes, (ctx.needs_input_grad[0], ctx.needs_input_grad[2]), strict=True
        )
    )
    return anchors, None, references, *(None,) * 6


fused_pair_loss.register_autograd(_backward, setup_context=_save_gradients)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """The same without NumPy's numbers, whose text is no number's."""
    return {
        key: _plain(value)
        if isinstance(value, dict)
        else value.item()
        if isinstance(value, np.generic)
        else value
        for key, value in settings.items()
    }


@lru_cache(maxsize=64)
def _settings(text: str) -> dict[str, Any]:
    return ast.literal_eval(text)
