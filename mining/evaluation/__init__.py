"""How good embeddings are: each metric by its name, with a 95 % interval over identities.

    settings        EvalConfig and ValidationConfig: who is compared, and by which metrics
    pairs           which images are compared: gallery, probes, distractors
    mated_probes    checked embeddings, each probe with its mate, and the similarities of all others in tiles
    intervals       a metric's value between the bounds of its bootstrap interval
    identification  Rank-k
    verification    TAR@FAR
    coverage        coverage at a precision
    registry        the metrics by name, and all that are asked for at once

The names below are stable. They are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .coverage import coverage_at_precision
    from .identification import rank_k_rates
    from .intervals import Metric, percentile_interval
    from .mated_probes import MatedProbes
    from .pairs import EvaluationPairs, evaluation_pairs
    from .registry import AskedMetric, Evaluation, compute_metrics, parse_metric
    from .settings import EvalConfig, ValidationConfig
    from .verification import TarAtFar, tar_at_far

__all__ = [
    "AskedMetric",
    "EvalConfig",
    "Evaluation",
    "EvaluationPairs",
    "MatedProbes",
    "Metric",
    "TarAtFar",
    "ValidationConfig",
    "compute_metrics",
    "coverage_at_precision",
    "evaluation_pairs",
    "parse_metric",
    "percentile_interval",
    "rank_k_rates",
    "tar_at_far",
]

_HOME = {
    "AskedMetric": "registry",
    "EvalConfig": "settings",
    "Evaluation": "registry",
    "EvaluationPairs": "pairs",
    "MatedProbes": "mated_probes",
    "Metric": "intervals",
    "TarAtFar": "verification",
    "ValidationConfig": "settings",
    "compute_metrics": "registry",
    "coverage_at_precision": "coverage",
    "evaluation_pairs": "pairs",
    "parse_metric": "registry",
    "percentile_interval": "intervals",
    "rank_k_rates": "identification",
    "tar_at_far": "verification",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
