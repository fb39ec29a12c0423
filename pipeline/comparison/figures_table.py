"""The start, the best and the last network of each run side by side: figures with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .comparability import apart_and_overlapping
from .compared_run import ComparedRun

WHICH = ("start", "best", "last")
NONE_YET, NOT_ASKED = "not yet", "not asked for"
"""What is said of a network that was not measured, and of a metric that its measurement was not asked for."""

Metric = Mapping[str, Any]


def metrics_of(runs: Mapping[str, ComparedRun], kind: str) -> dict[tuple[str, str], dict[str, Metric | None]]:
    """A metric of each run, by the metric's name and which network it is of; None where a run has none."""
    names = dict.fromkeys(
        metric
        for run in runs.values()
        for network in run.networks
        for metric in network.figures.get(kind, {}).get("metrics", {})
    )
    found: dict[tuple[str, str], dict[str, Metric | None]] = {}
    for metric in names:
        for which in WHICH:
            of_runs = {name: _metric(run, which, kind, metric) for name, run in runs.items()}
            if any(one is not None for one in of_runs.values()):
                found[metric, which] = of_runs
    return found


def _metric(run: ComparedRun, which: str, kind: str, metric: str) -> Metric | None:
    network = run.network(which, kind)
    return None if network is None else network.figures[kind]["metrics"].get(metric)


def figures_rows(runs: Mapping[str, ComparedRun], kind: str, comparable: bool) -> list[list[str]]:
    """Rows of a table under their head: a metric of a network in each, a column for each run.

    Args:
        comparable: whether it is said if the intervals overlap.
    """
    rows = [["metric", "network", *runs, *(["95 % intervals"] if comparable else [])]]
    before = None
    for (metric, which), of_runs in metrics_of(runs, kind).items():
        cells = (
            NOT_ASKED if one is None and runs[name].network(which, kind) else _in_percent(one)
            for name, one in of_runs.items()
        )
        row = [metric if metric != before else "", which, *cells]
        rows.append([*row, *([overlap_in_words(of_runs)] if comparable else [])])
        before = metric
    return rows


def overlap_in_words(of_runs: Mapping[str, Metric | None]) -> str:
    """Whether intervals overlap, for a cell: overlap, apart, or how many pairs are apart."""
    apart, overlapping = apart_and_overlapping(of_runs)
    if not apart:
        return "overlap" if overlapping else ""
    return "apart" if not overlapping else f"{len(apart)} of {len(apart) + len(overlapping)} pairs apart"


def networks_rows(runs: Mapping[str, ComparedRun]) -> list[list[str]]:
    """Rows of a table: how far each run is, and which networks its figures are of."""
    rows = [["", *runs]]
    trained: Sequence[ComparedRun] = list(runs.values())
    rows.append(["rounds trained", *(f"{len(run.networks) - 1:,}" for run in trained)])
    rows.append(["training steps", *(f"{run.networks[-1].steps:,}" for run in trained)])
    rows.append(["images shown", *(f"{run.networks[-1].images:,}" for run in trained)])
    rows.append(["best network", *(run.best or NONE_YET for run in trained)])
    rows.append(["last network", *(run.networks[-1].name for run in trained)])
    return rows


def _in_percent(metric: Metric | None) -> str:
    """95.2 [92.4, 97.4], in percent; not yet where it was not measured."""
    if metric is None:
        return NONE_YET
    if metric["value"] is None:
        return "unknown"
    value = f"{100 * metric['value']:.1f}"
    if metric["low"] is None or metric["high"] is None:
        return value
    return f"{value} [{100 * metric['low']:.1f}, {100 * metric['high']:.1f}]"
