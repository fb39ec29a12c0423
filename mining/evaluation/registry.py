"""The metrics that `eval.metrics` may ask for by name, what computes each, and all of an examination at once.

A metric's name is its family and a number, `TAR@FAR=` and `1e-3`. To add a family, write its file and its row here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from ..errors import InputError
from .coverage import coverage_at_precision, coverage_names
from .identification import rank_k_rates, rank_names
from .intervals import Metric
from .mated_probes import MatedProbes
from .open_set import dir_names, rates_among_distractors
from .retrieval import NAMES, recall_names, retrieval_metrics
from .verification import equal_error_name, equal_error_rates, no_number, tar_at_far, tar_names


class MetricFamily(NamedTuple):
    """Metrics that differ in one number, and are computed together."""

    example: str
    number: Callable[[str], float]
    """The number from its text; a ValueError if it is none."""
    names: Callable[[Sequence[Any]], tuple[str, ...]]
    """The names of the metrics with these numbers; an InputError if one is out of range."""
    compute: Callable[..., tuple[Metric, ...]] | None
    """Given probes, numbers, and `bootstrap`, `seed` and `block` by keyword; None for metrics over all images."""


def _retrieval(name: str) -> MetricFamily:
    return MetricFamily(name, no_number, lambda numbers: (name,), None)


FAMILIES = {
    "Rank-": MetricFamily("Rank-1", int, rank_names, rank_k_rates),
    "TAR@FAR=": MetricFamily("TAR@FAR=1e-4", float, tar_names, tar_at_far),
    "EER": MetricFamily("EER", no_number, equal_error_name, equal_error_rates),
    "coverage@P=": MetricFamily("coverage@P=0.95", float, coverage_names, coverage_at_precision),
    "DIR@FAR=": MetricFamily("DIR@FAR=1e-2", float, dir_names, rates_among_distractors),
    "recall@": MetricFamily("recall@1", int, recall_names, None),
    **{
        name: _retrieval(name) for name in sorted(NAMES, reverse=True)
    },  # mAP@R before mAP, which it begins with
}
"""Families of metrics, by what their names begin with."""


class AskedMetric(NamedTuple):
    """A metric's name, taken apart.

    >>> str(AskedMetric("TAR@FAR=", 0.001))
    'TAR@FAR=1e-3'
    """

    family: str
    """A key of `FAMILIES`."""
    number: float

    def __str__(self) -> str:
        return FAMILIES[self.family].names((self.number,))[0]


def parse_metric(name: str) -> AskedMetric:
    """Take a metric's name apart; other spellings of its number mean the same metric.

    >>> parse_metric("TAR@FAR=1e-3") == parse_metric("TAR@FAR=0.001")
    True

    Raises:
        InputError: no such metric, or a number out of range.
    """
    asked = _read(name)
    if asked is None:
        near = _nearest(name)
        hint = f"; did you mean '{near}'?" if near else ""
        known = ", ".join(family.example for family in FAMILIES.values())
        raise InputError(f"unknown metric '{name}'; choose from {known}, with numbers of your own{hint}")
    try:
        str(asked)
    except InputError as error:
        raise InputError(f"metric '{name}': {error}") from error
    return asked


def _read(name: str) -> AskedMetric | None:
    for key, family in FAMILIES.items():
        if name.startswith(key):
            try:
                return AskedMetric(key, family.number(name.removeprefix(key)))
            except ValueError:
                return None
    return None


def _nearest(name: str) -> str | None:
    """The metric that a wrong name perhaps means, with the number that the name ends with."""
    number = re.search(r"(\d+(\.\d+)?(e-?\d+)?)?$", name, re.IGNORECASE)
    text = number.group() if number else ""
    keys = {key.casefold(): key for key in FAMILIES}
    near = get_close_matches(name.removesuffix(text).casefold(), keys, n=1, cutoff=0.5)
    if not near:
        return None
    asked = _read(keys[near[0]] + text)
    try:
        return str(asked) if asked else FAMILIES[keys[near[0]]].example
    except InputError:
        return FAMILIES[keys[near[0]]].example


@dataclass(frozen=True)
class Evaluation:
    """Metrics, and how much data is behind them.

    >>> import numpy as np
    >>> rows = np.eye(3)
    >>> evaluation = compute_metrics(["Rank-1"], rows, range(3), rows, range(3))
    >>> evaluation["Rank-1"].value, evaluation.probes
    (1.0, 3)
    """

    metrics: tuple[Metric, ...]
    identities: int
    """Identities with probes."""
    probes: int
    gallery: int
    distractors: int
    genuine_pairs: int
    impostor_pairs: int

    def __getitem__(self, name: str) -> Metric:
        """The metric of that name, such as `Rank-1`."""
        return {metric.name: metric for metric in self.metrics}[name]

    def to_json(self) -> dict[str, Any]:
        """Metrics by name, and counts, ready for `json.dumps`."""
        return vars(self) | {"metrics": {metric.name: metric.to_json() for metric in self.metrics}}


def is_retrieval(name: str) -> bool:
    """Whether a metric ranks all images of an identity, not one gallery image of each.

    >>> is_retrieval("mAP"), is_retrieval("Rank-1")
    (True, False)
    """
    return FAMILIES[parse_metric(name).family].compute is None


def compute_mated(
    names: Sequence[str],
    mated: MatedProbes,
    *,
    bootstrap: int = 200,
    seed: int = 0,
    block: int | None = None,
) -> dict[str, Metric]:
    """Compute the metrics of these names over probes and one gallery image of each identity, in this order.

    >>> import numpy as np
    >>> rows = np.eye(3)
    >>> compute_mated(["Rank-1"], MatedProbes.match(rows, range(3), rows, range(3)))["Rank-1"].value
    1.0

    Raises:
        InputError: an unknown name, or one of a metric over all images.
    """
    asked = list(dict.fromkeys(map(parse_metric, names)))
    found: dict[str, Metric] = {}
    tiles = {} if block is None else {"block": block}
    for key in dict.fromkeys(metric.family for metric in asked):
        numbers = [metric.number for metric in asked if metric.family == key]
        compute = FAMILIES[key].compute
        if compute is None:
            raise InputError(f"{FAMILIES[key].example} ranks all images; `retrieval_metrics` computes it")
        found.update(
            {
                metric.name: metric
                for metric in compute(mated, numbers, bootstrap=bootstrap, seed=seed, **tiles)
            }
        )
    return {str(metric): found[str(metric)] for metric in asked}


def compute_metrics(
    names: Sequence[str],
    gallery: ArrayLike,
    gallery_id: ArrayLike,
    probe: ArrayLike,
    probe_id: ArrayLike,
    *,
    distractors: ArrayLike | None = None,
    bootstrap: int = 200,
    seed: int = 0,
    block: int | None = None,
    track: Callable[[int], object] = lambda pairs: None,
) -> Evaluation:
    """Compute the metrics of these names, each once and in this order, with 95 % intervals over identities.

    >>> import numpy as np
    >>> rows = np.eye(10)
    >>> evaluation = compute_metrics(["Rank-1", "TAR@FAR=1e-1", "coverage@P=0.95"], rows, range(10), rows, range(10))
    >>> [(metric.name, metric.value, metric.low, metric.high) for metric in evaluation.metrics]
    [('Rank-1', 1.0, 1.0, 1.0), ('TAR@FAR=1e-1', 1.0, 1.0, 1.0), ('coverage@P=0.95', 1.0, 1.0, 1.0)]

    Args:
        gallery: float32[G, D], unit rows. gallery_id: int[G], distinct.
        probe: float32[P, D], unit rows. probe_id: int[P], each in `gallery_id`.
        distractors: float32[X, D], unit rows of identities that are in neither; Rank-k finds them in the
            gallery, and for DIR@FAR they are the probes without a mate.
        bootstrap: replicates. seed: of the bootstrap. block: rows and columns of a tile.
        track: told how many pairs were compared, or weighed by a replicate of TAR@FAR or EER.

    Raises:
        InputError: an unknown name; NaN, rows not of unit length, no probes, shapes or identities that do not match.
    """
    asked = list(dict.fromkeys(str(parse_metric(name)) for name in names))
    mated = MatedProbes.match(gallery, gallery_id, probe, probe_id, distractors=distractors, track=track)
    draws = {"bootstrap": bootstrap, "seed": seed, "block": block}
    found = compute_mated([name for name in asked if not is_retrieval(name)], mated, **draws)
    if ranked := [name for name in asked if is_retrieval(name)]:
        retrieval = retrieval_metrics(ranked, probe, probe_id, gallery, gallery_id, track=track, **draws)
        found |= {metric.name: metric for metric in retrieval.metrics}
    return Evaluation(
        metrics=tuple(found[name] for name in asked),
        identities=len(mated.probed_row),
        probes=len(mated.probe),
        gallery=len(mated.gallery),
        distractors=len(mated.distractor),
        genuine_pairs=len(mated.probe),
        impostor_pairs=mated.impostor_pairs,
    )
