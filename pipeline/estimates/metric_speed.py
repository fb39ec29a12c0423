"""How long the metrics of an examination take: their comparisons, and the replicates of their intervals.

What a replicate of TAR@FAR costs for each pair is timed here. What the metrics do with a similarity was measured once, in places
of a partial sort, which is timed (`compared_seconds`).
"""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import cache
from statistics import median

import numpy as np

from ...mining.clustering.product_speed import compared_seconds
from ...mining.evaluation.impostor_scores import KEPT, ImpostorScores
from ...mining.evaluation.memory import kept_pairs
from ...mining.evaluation.registry import parse_metric
from ...mining.evaluation.roc import ScoreCounts

VERIFIED, RANKED, RETRIEVED = 7.5, 0.5, 1.0
"""What is done with a similarity: it is counted by level, compared with one, or ranked among others."""
PASSES = 3
PER_REPLICATE = 200e-6
"""Seconds of a replicate whatever it weighs: thresholds looked for."""
VERIFICATION = ("TAR@FAR=", "EER")


def metric_seconds(
    names: Collection[str], gallery: int, probes: int, distractors: int, dimensions: int, bootstrap: int
) -> float:
    """Seconds of the metrics of these names over probes and one gallery image of each identity, with their intervals.

    >>> few, many = (metric_seconds(["TAR@FAR=1e-3"], 1000, 1000, 0, 64, bootstrap) for bootstrap in (1, 200))
    >>> 0 < few < many
    True
    """
    families = {parse_metric(name).family for name in names}
    pairs = {
        "Rank-": (probes * (gallery + distractors), RANKED),
        "coverage@P=": (probes * gallery, RANKED),
        "DIR@FAR=": ((probes + distractors) * gallery, RANKED),
        **dict.fromkeys(VERIFICATION, (probes * gallery, VERIFIED)),
    }
    seconds = 0.0
    for family in families & pairs.keys():
        compared, looks = pairs[family]
        weighed = kept_pairs(probes * gallery) if family in VERIFICATION else probes
        seconds += compared_seconds(compared, dimensions, looks) + replicate_seconds(weighed, bootstrap)
    return seconds


def retrieval_seconds(queries: int, gallery: int, dimensions: int) -> float:
    """Seconds in which so many queries rank so many gallery images."""
    return compared_seconds(queries * gallery, dimensions, RETRIEVED)


def replicate_seconds(pairs: float, bootstrap: int) -> float:
    """Seconds of so many replicates, each of which weighs so many pairs."""
    return bootstrap * (pairs * _pair_seconds() + PER_REPLICATE)


@cache
def _pair_seconds() -> float:
    """A replicate timed on made-up pairs, as many as are all kept, by the processor time of this thread."""
    random = np.random.default_rng(0)
    rows = random.integers(1000, size=(2, KEPT), dtype=np.int32)
    level = np.arange(KEPT)
    scores = ImpostorScores(
        ScoreCounts.weighted(level, level), level, rows[0], rows[1], np.ones(KEPT, np.int64)
    )
    weight_G, took = random.integers(4, size=1000), []
    for _ in range(PASSES):
        began = time.thread_time()
        scores.drawn(weight_G)
        took.append(time.thread_time() - began)
    return median(took) / KEPT
