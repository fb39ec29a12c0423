"""What a protocol comes to: figures with their intervals, what they rest on, tables and curves; and how it is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ..console import aligned
from ..terminal_text import printable_line


@dataclass(frozen=True)
class Curve:
    """One plot: lines by their label, each x and y as arrays or lists of numbers."""

    title: str
    x: str
    y: str
    lines: Mapping[str, tuple[Any, Any]]
    log_x: bool = False
    marks: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Points to be marked, by their label."""


@dataclass(frozen=True)
class Outcome:
    """What one protocol measured.

    >>> rates = {"Rank-1": {"value": 0.5, "low": 0.25, "high": 0.75}}
    >>> outcome = Outcome(rates, {"probes": 4}, "on 4 probes")
    >>> print(outcome.in_words())
    metric   value  95 % interval
    --------------------------------
    Rank-1  0.5000  [0.2500, 0.7500]
    on 4 probes
    """

    metrics: Mapping[str, Mapping[str, float | None]]
    """Metrics by name: value, low, high, and where it is so, threshold."""
    counts: Mapping[str, Any]
    """What it rests on, for programs."""
    basis: str
    """The same in words."""
    notes: tuple[str, ...] = ()
    """What is to be said below."""
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    """Each by the name of its file."""
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """Each by the name of its file."""

    def in_words(self) -> str:
        """An aligned table, and below what it rests on."""
        thresholds = any(found.get("threshold") is not None for found in self.metrics.values())
        head = ["metric", "value", "95 % interval", *(["threshold"] if thresholds else [])]
        rows = [head]
        for name, found in self.metrics.items():
            threshold = found.get("threshold")
            at = "" if threshold is None else f"similarity > {threshold:.4f}"
            rows.append([name, _number(found["value"]), _interval(found), *([at] if thresholds else [])])
        return "\n".join(
            [aligned(rows, text=(0, 2, 3)), printable_line(self.basis), *map(printable_line, self.notes)]
        )

    def to_json(self) -> dict[str, Any]:
        """Metrics by name, and counts, ready for `json.dumps`."""
        return {"metrics": {name: dict(found) for name, found in self.metrics.items()}, **self.counts}


def reasons(metrics: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Why metrics have no value, in words, for those that say so.

    >>> reasons({"EER": {"value": None, "reason": "there are no impostor pairs"}, "Rank-1": {"value": 1.0}})
    ('EER: there are no impostor pairs',)
    """
    return tuple(f"{name}: {found['reason']}" for name, found in metrics.items() if found.get("reason"))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _interval(found: Mapping[str, float | None]) -> str:
    low, high = found.get("low"), found.get("high")
    return "" if low is None or high is None else f"[{low:.4f}, {high:.4f}]"
