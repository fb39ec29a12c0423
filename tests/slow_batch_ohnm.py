"""Batch OHNM by its definition, in loops: what the kernel and the path among references are checked against."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from subspace.train.losses.batch_ohnm import BatchOHNMLoss


def slow_loss(
    loss: BatchOHNMLoss,
    anchors: Tensor,
    labels: list[int],
    references: Tensor,
    ref_labels: list[int],
    own_start: int | None,
) -> tuple[Tensor, list[float], list[float]]:
    """The loss by its definition, its statistics, and how far everything is from a kink."""
    unit_a, unit_r = ([row / row.norm() for row in rows] for rows in (anchors, references))
    barred = {frozenset(pair) for pair in loss.never.tolist()}
    rule, triplets, kinks = loss.rule, [], []
    for a, label in enumerate(labels):
        for p, positive in enumerate(ref_labels):
            if positive != label or (own_start is not None and p == own_start + a):
                continue
            s_ap, allowed = unit_a[a] @ unit_r[p], []
            others = [
                unit_a[a] @ unit_r[n]
                for n, other in enumerate(ref_labels)
                if other != label and frozenset((label, other)) not in barred
            ]
            others.sort(key=lambda s: -s.item())
            for s_an in others[: rule.range_max]:
                if rule.max_similarity is not None:
                    kinks.append(abs(s_an.item() - rule.max_similarity))
                    if s_an > rule.max_similarity:
                        continue
                if rule.absolute_margin is not None:
                    kinks.append(abs((s_an - s_ap).item() + rule.absolute_margin))
                    if s_an >= s_ap - rule.absolute_margin:
                        continue
                if rule.share_of_positive is not None:
                    kinks.append(abs((s_an - rule.share_of_positive * s_ap).item()))
                    if s_an >= rule.share_of_positive * s_ap:
                        continue
                allowed.append(s_an)
            for s_an in allowed[rule.range_min : rule.range_min + rule.negatives]:
                d_ap, d_an = 2 - 2 * s_ap, 2 - 2 * s_an
                triplets.append((d_ap, d_an) if loss.squared else (d_ap.sqrt(), d_an.sqrt()))
    violations = [d_ap - d_an + loss.margin for d_ap, d_an in triplets]
    active = [violation for violation in violations if violation > 0]
    kinks += [abs(violation.item()) for violation in violations]
    if loss.soft_margin:
        inside = loss.margin if loss.margin_inside else 0
        terms = [torch.nn.functional.softplus(d_ap - d_an + inside) for d_ap, d_an in triplets]
    else:
        terms = active
    if not triplets:
        return anchors.sum() * 0, [math.nan] * 3, kinks
    divide_by = len(active) if loss.mean_over_active and not loss.soft_margin else len(triplets)
    value = sum(terms, start=anchors.sum() * 0) / max(1, divide_by)
    means = [sum(pair[i].item() for pair in triplets) / len(triplets) for i in (0, 1)]
    return value, [len(active) / len(triplets), *means], kinks
