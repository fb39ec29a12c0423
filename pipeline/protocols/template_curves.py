"""Curves of 1:N among templates: Rank-k and DIR@FAR of each gallery, of all joined, and of their mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from ...mining.evaluation.intervals import Metric
from ...mining.evaluation.open_set import dir_names
from .identification import FARS, RANKS
from .outcome import Curve

Found = Mapping[str, Sequence[Metric]]
"""Metrics by gallery, among them `Rank-k` of `RANKS`, and where there are strangers `DIR@FAR` of `FARS`."""
_COLUMNS = ("x", "value", "low", "high")


def curves_table(found: Found) -> pa.Table:
    """A row for each point of each curve of each gallery, with its interval.

    >>> found = {"G1": [Metric(f"Rank-{k}", 0.5, 0.4, 0.6) for k in RANKS]}
    >>> curves_table(found).slice(0, 1).to_pylist()
    [{'gallery': 'G1', 'curve': 'Rank', 'x': 1.0, 'value': 0.5, 'low': 0.4, 'high': 0.6}]
    """
    rows = [
        {
            "gallery": gallery,
            "curve": curve,
            "x": float(x),
            "value": point.value,
            "low": point.low,
            "high": point.high,
        }
        for gallery, metrics in found.items()
        for curve, x, point in _points(metrics)
    ]
    text, number = pa.string(), pa.float64()
    schema = pa.schema([("gallery", text), ("curve", text), *((name, number) for name in _COLUMNS)])
    return pa.Table.from_pylist(rows, schema=schema)


def curves_of(found: Found) -> dict[str, Curve]:
    """The plots, by the names of their files: a line for each gallery; none of DIR where nobody is a stranger."""
    plots: dict[str, Curve] = {}
    for file, which, title, x_label, y_label in (
        ("cmc.png", "Rank", "CMC of templates", "rank k", "share of probes found among the k best"),
        (
            "dir.png",
            "DIR@FAR",
            "Open set of templates",
            "strangers that are named (FAR)",
            "DIR: probes that are named rightly",
        ),
    ):
        lines = {}
        for gallery, metrics in found.items():
            known = [
                (x, point.value)
                for curve, x, point in _points(metrics)
                if curve == which and point.value is not None
            ]
            if known:
                lines[gallery] = tuple(zip(*known, strict=True))
        if lines:
            plots[file] = Curve(title, x_label, y_label, lines, log_x=True)
    return plots


def _points(metrics: Sequence[Metric]) -> Iterator[tuple[str, float, Metric]]:
    by_name = {metric.name: metric for metric in metrics}
    for curve, axis, names in (
        ("Rank", RANKS, [f"Rank-{k}" for k in RANKS]),
        ("DIR@FAR", FARS, dir_names(FARS)),
    ):
        for x, name in zip(axis, names, strict=True):
            if name in by_name:
                yield curve, x, by_name[name]
