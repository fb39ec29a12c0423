"""How long the metrics of an examination take: their comparisons, and the replicates of their intervals.

What a replicate of TAR@FAR costs for each pair is timed here. What else is done with a pair was measured once, in such pairs, and
what other metrics do with a similarity in places of a partial sort, which is timed too (`compared_seconds`).
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

RANKED, RETRIEVED = 0.5, 1.0
"""What is done with a similarity: it is compared with one, or ranked among others."""
COUNTED, SORTED = 5, 40
"""To count a pair by its level, and to sort one that is kept, in pairs that a replicate weighs: 28 and 200 ns where that is 5."""
PAIRS, PASSES = 2 * KEPT, 3
FREED = 3_000_000
"""Numbers of 8 bytes: below the 32 MiB up to which the C library learns from what is freed."""
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
    seconds, kept = 0.0, kept_pairs(probes * gallery)
    for family, compared in _pairs(names, gallery, probes, distractors).items():
        seconds += compared_seconds(compared, dimensions, RANKED if family not in VERIFICATION else 0.0)
        if family in VERIFICATION:
            seconds += _pair_seconds() * (COUNTED * compared + SORTED * kept) + replicate_seconds(
                kept, bootstrap
            )
        else:
            seconds += replicate_seconds(probes, bootstrap)
    return seconds


def metric_pairs(names: Collection[str], gallery: int, probes: int, distractors: int, bootstrap: int) -> int:
    """Pairs that these metrics compare, or weigh in a replicate of TAR@FAR or EER: what `compute_metrics` tells its `track`.

    >>> metric_pairs(["Rank-1", "EER"], 10, 20, 5, 200)
    40500
    """
    pairs = _pairs(names, gallery, probes, distractors)
    verified = len(pairs.keys() & set(VERIFICATION))
    return sum(pairs.values()) + verified * bootstrap * kept_pairs(probes * gallery)


def _pairs(names: Collection[str], gallery: int, probes: int, distractors: int) -> dict[str, int]:
    """The pairs that each family compares; retrieval has its own."""
    every = {
        "Rank-": probes * (gallery + distractors),
        "coverage@P=": probes * gallery,
        "DIR@FAR=": (probes + distractors) * gallery,
        **dict.fromkeys(VERIFICATION, probes * gallery),
    }
    return {family: every[family] for family in {parse_metric(name).family for name in names} & every.keys()}


def retrieval_seconds(queries: int, gallery: int, dimensions: int) -> float:
    """Seconds in which so many queries rank so many gallery images."""
    return compared_seconds(queries * gallery, dimensions, RETRIEVED)


def replicate_seconds(pairs: float, bootstrap: int) -> float:
    """Seconds of so many replicates, each of which weighs so many pairs."""
    return bootstrap * (pairs * _pair_seconds() + PER_REPLICATE)


@cache
def _pair_seconds() -> float:
    """A replicate timed on made-up pairs, by the processor time of this thread."""
    np.ones(
        FREED
    )  # memory that is freed is kept from here on, as in an evaluation: else each pass would ask for it anew
    random = np.random.default_rng(0)
    rows = random.integers(1000, size=(2, PAIRS), dtype=np.int32)
    level = np.arange(PAIRS)
    scores = ImpostorScores(
        ScoreCounts.weighted(level, level), level, rows[0], rows[1], np.ones(PAIRS, np.int64)
    )
    weight_G, took = random.integers(4, size=1000), []
    for _ in range(PASSES):
        began = time.thread_time()
        scores.drawn(weight_G)
        took.append(time.thread_time() - began)
    return median(took) / PAIRS
