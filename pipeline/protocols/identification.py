"""Identification: whom does a probe show? One gallery image of each identity, and images of others beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ...mining.evaluation.coverage import coverage_at_precision
from ...mining.evaluation.identification import rank_k_rates
from ...mining.evaluation.intervals import Metric
from ...mining.evaluation.mated_probes import MatedProbes
from ...mining.evaluation.memory import metric_bytes
from ...mining.evaluation.open_set import rates_among_distractors
from ...mining.evaluation.registry import parse_metric
from ...mining.randomness import derived_seed
from ..console import counted
from ..estimates.metric_speed import metric_seconds
from ..stages.evaluate import basis
from .evaluated_images import EvaluatedImages
from .outcome import Curve, Outcome, reasons
from .planned import Planned, cost_in_words
from .registry import CURVE_FILE, metric_names
from .request import ProtocolRequest
from .sides import MatedSides, held_out_by, rule_of_groups

RANKS = (1, 2, 3, 4, 5, 7, 10, 14, 20, 30, 50, 70, 100)
"""Ranks of the CMC curve."""
PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1)
"""Precisions of the curve of coverage."""
FARS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 0.5, 0.7, 0.9)
"""False accept rates of the curve of DIR."""


def identify(images: EvaluatedImages, request: ProtocolRequest) -> Planned:
    """Gallery, probes and distractors as `subspace eval` chooses them.

    Distractors join the gallery for Rank-k. For DIR@FAR they are probes of strangers, and the gallery has none of them.
    """
    sides = MatedSides.of(images, held_out_by(images), distractors=True)
    names = metric_names("identification", request)
    families = {parse_metric(name).family for name in names}
    bootstrap, seed = images.config.eval.bootstrap, derived_seed(images.config.seed, "eval bootstrap")
    words, seconds, memory = images.announce(sides.asked)
    gallery, probes, others = map(len, (sides.gallery, sides.probe, sides.distractor))
    seconds += metric_seconds(names, gallery, probes, others, images.dimensions, bootstrap)
    memory += metric_bytes(names, gallery, probes, others, images.dimensions)

    def work() -> Outcome:
        mated = sides.embedded(images)
        given = {"bootstrap": bootstrap, "seed": seed}
        found: list[Metric] = []
        curves: dict[str, Curve] = {}
        lines: list[tuple[str, Sequence[float], Sequence[Metric]]] = []
        for family in sorted(families):
            asked = [metric.number for metric in map(parse_metric, names) if metric.family == family]
            metrics, x, plot = _FAMILIES[family](mated, asked, given, images.device)
            found += metrics[len(x) :]
            lines.append((family.rstrip("-="), x, metrics[: len(x)]))
            curves |= plot
        metrics = {metric.name: metric.to_json() for metric in found}
        counts = {
            "identities": len(mated.probed_row),
            "probes": len(mated.probe),
            "gallery": len(mated.gallery),
            "distractors": len(mated.distractor),
            "genuine_pairs": len(mated.probe),
            "impostor_pairs": mated.impostor_pairs,
            **sides.counts,
        }
        beside = f"; {counted(len(mated.distractor), 'distractor')} in the gallery of Rank-k, strangers to name for DIR"
        return Outcome(
            {name: metrics[name] for name in names},
            counts,
            f"{basis(counts)}{beside if len(mated.distractor) else ''}{rule_of_groups(images)}",
            notes=reasons({name: metrics[name] for name in names}),
            tables={CURVE_FILE: _table(lines)},
            curves=curves,
        )

    return Planned(
        f"{words}; {sides.in_words()}; {cost_in_words(seconds, memory)}",
        work,
        {"metrics": names, "bootstrap": bootstrap},
    )


Given = Mapping[str, int]


def _ranks(mated: MatedProbes, asked: list[Any], given: Given, device: str) -> Any:
    metrics = rank_k_rates(mated, [*RANKS, *asked], device=device, **given)
    values = [metric.value for metric in metrics[: len(RANKS)]]
    plot = Curve(
        "CMC", "rank k", "share of probes found among the k best", {"Rank-k": (RANKS, values)}, log_x=True
    )
    return metrics, RANKS, {"cmc.png": plot}


def _coverage(mated: MatedProbes, asked: list[Any], given: Given, device: str) -> Any:
    metrics = coverage_at_precision(mated, [*PRECISIONS, *asked], **given)
    values = [metric.value for metric in metrics[: len(PRECISIONS)]]
    plot = Curve(
        "Coverage", "coverage: probes that are named", "precision, at least", {"all": (values, PRECISIONS)}
    )
    return metrics, PRECISIONS, {"coverage.png": plot}


def _open_set(mated: MatedProbes, asked: list[Any], given: Given, device: str) -> Any:
    metrics = rates_among_distractors(mated, [*FARS, *asked], **given)
    known = [
        (far, metric.value) for far, metric in zip(FARS, metrics, strict=False) if metric.value is not None
    ]
    if not known:
        return metrics, FARS, {}
    x, y = np.array(known).T
    plot = Curve(
        "Open set",
        "strangers that are named (FAR)",
        "DIR: probes that are named rightly",
        {"DIR": (x, y)},
        log_x=True,
    )
    return metrics, FARS, {"dir.png": plot}


_FAMILIES = {"Rank-": _ranks, "coverage@P=": _coverage, "DIR@FAR=": _open_set}


def _table(lines: list[tuple[str, Sequence[float], Sequence[Metric]]]) -> pa.Table:
    """A row for each point of each curve, with its interval."""
    rows = [
        {"curve": family, "x": float(at), "value": metric.value, "low": metric.low, "high": metric.high}
        for family, x, metrics in lines
        for at, metric in zip(x, metrics, strict=True)
    ]
    types = [("curve", pa.string()), *((name, pa.float64()) for name in ("x", "value", "low", "high"))]
    return pa.Table.from_pylist(rows, schema=pa.schema(types))
