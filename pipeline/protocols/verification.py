"""Verification: are two images of one identity? Error rates over all pairs of probes and gallery images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ...mining.evaluation.intervals import Metric
from ...mining.evaluation.memory import verification_bytes
from ...mining.evaluation.registry import parse_metric
from ...mining.evaluation.roc import Roc
from ...mining.evaluation.verification import Verification, verify_all_pairs
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

PLOT_FILE = "roc.png"


def verify_images(images: EvaluatedImages, request: ProtocolRequest) -> Planned:
    """Gallery images and probes as `subspace eval` chooses them; every probe with every gallery image."""
    sides = MatedSides.of(images, held_out_by(images), distractors=False)
    names = metric_names("verification", request)
    bootstrap, seed = images.config.eval.bootstrap, derived_seed(images.config.seed, "eval bootstrap")
    words, seconds, memory = images.announce(sides.asked)
    sizes = len(sides.gallery), len(sides.probe)
    seconds += metric_seconds(["EER"], *sizes, 0, images.dimensions, bootstrap)  # and all rates with it
    memory += verification_bytes(sizes[0] * sizes[1])

    def work() -> Outcome:
        mated = sides.embedded(images)
        found = verify_all_pairs(mated, fars_in(names), bootstrap=bootstrap, seed=seed)
        counts = {
            "identities": len(mated.probed_row),
            "probes": len(mated.probe),
            "gallery": len(mated.gallery),
            "genuine_pairs": len(mated.probe),
            "impostor_pairs": mated.impostor_pairs,
        }
        left = (
            f"; {counted(sides.unpaired, 'identity', 'identities')} without a pair left out"
            if sides.unpaired
            else ""
        )
        rests_on = f"{basis(counts)}{left}{rule_of_groups(images)}"
        return verification_outcome(found, names, {**counts, **sides.counts}, rests_on, request.threshold)

    return Planned(
        f"{words}; {sides.in_words()}; {cost_in_words(seconds, memory)}",
        work,
        {"metrics": names, "bootstrap": bootstrap},
    )


def fars_in(names: Sequence[str]) -> list[float]:
    """The FARs of the TAR@FAR metrics among these; one that nobody asked for where there are none."""
    asked = [parse_metric(name) for name in names]
    return [metric.number for metric in asked if metric.family == "TAR@FAR="] or [1e-3]


def verification_outcome(
    found: Verification, names: list[str], counts: dict, rests_on: str, threshold: float | None
) -> Outcome:
    """Metrics of these names, the ROC curve as a table and a plot, and the rates of a threshold."""
    metrics: dict[str, Metric] = {metric.name: metric for metric in found.metrics}
    asked = {name: metrics[name].to_json() for name in names if name in metrics}
    notes = reasons(asked)
    if found.roc is None:
        return Outcome(asked, counts, rests_on, notes)
    if threshold is not None:
        far, tar = found.roc.far_at_threshold(threshold), found.roc.tar_at_threshold(threshold)
        notes = (*notes, f"at similarity > {threshold:g}: FAR {far:.3g}, TAR {tar:.4f}")
        counts = {**counts, "at_threshold": {"threshold": threshold, "far": far, "tar": tar}}
    tables = {CURVE_FILE: curve_table(found.roc)}
    return Outcome(asked, counts, rests_on, notes, tables, {PLOT_FILE: roc_plot(found.roc, asked)})


def curve_table(roc: Roc) -> pa.Table:
    """Points of the curve by descending threshold."""
    curve = roc.curve()
    return pa.table({"threshold": curve.threshold, "far": curve.far, "tar": curve.tar})


def roc_plot(roc: Roc, metrics: dict[str, dict]) -> Curve:
    """The curve from one impostor pair upwards, and the metrics on it."""
    curve = roc.curve()
    marks = {
        f"{metric['value']:.3f}": (metric["far"], metric["value"])
        for name, metric in metrics.items()
        if name.startswith("TAR@") and metric["value"] is not None
    }
    shown = np.asarray(curve.far) > 0
    return Curve(
        "ROC",
        "false accept rate (FAR)",
        "true accept rate (TAR)",
        {"ROC": (curve.far[shown], curve.tar[shown])},
        log_x=True,
        marks=marks,
    )
