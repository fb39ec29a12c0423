"""metrics.jsonl: how far a training came, how its figures went, and where its time went."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ...mining.errors import InputError
from ...train.monitoring.metrics_file import read_metrics
from ...train.monitoring.phase_seconds import sum_phases
from ..console import duration, percent
from ..stage_words import PHASE_WORDS
from .summary import Summary


class Figure(NamedTuple):
    """What a key of the log is called, and how its values are written."""

    words: str
    write: Callable[[float], str]


def _decimals(value: float) -> str:
    return f"{value:.3f}"


FIGURES = {
    "loss": Figure("loss", _decimals),
    "active_fraction": Figure("triplets active", lambda value: percent(value, 1)),
    "active_images": Figure("images active", lambda value: percent(value, 1)),
    "cosine_positive": Figure("cosine of one identity", _decimals),
    "cosine_negative": Figure("cosine of two identities", _decimals),
    "cosine_nearest_negative": Figure("cosine to the nearest other identity", _decimals),
    "cosine_target": Figure("cosine to the own class", _decimals),
    "cosine_nontarget": Figure("cosine to the nearest other class", _decimals),
    "d_ap": Figure("distance anchor to positive", _decimals),
    "d_an": Figure("distance anchor to negative", _decimals),
    "d_all": Figure("mean squared distance of all pairs", _decimals),
    "lr": Figure("learning rate", lambda value: f"{value:.1e}"),
    "images_per_second": Figure("images/s", lambda value: f"{value:,.0f}"),
}
"""The figures of the lines of the log, by their keys."""


def summarize_log(path: Path) -> Summary:
    """Summarise a metrics.jsonl; a last line that a kill cut short is left out.

    Raises:
        InputError: missing. StaleArtifactError: damaged.
    """
    lines = _read(path)
    summary = Summary(str(path), "metrics", title="log of a training")
    summary.add("lines", len(lines), unit="one for each window of steps")
    if not lines:
        return summary
    summary.add("steps", int(lines[-1]["step"]) + 1, "training steps")
    seconds = lines[-1].get("seconds")
    if seconds is not None:
        summary.facts["seconds"] = seconds
        summary.show("time", words=duration(seconds))
    summary.add("unreadable", int(sum(line.get("unreadable") or 0 for line in lines)), "unreadable images")
    rows = [["figure", "first", "last", "lowest", "at step", "highest", "at step"]]
    for key, figure in FIGURES.items():
        known = [(line[key], int(line["step"]) + 1) for line in lines if _is_known(line.get(key))]
        if known:
            ends = known[0], known[-1], min(known), max(known)
            summary.facts[key] = {
                name: value
                for name, (value, _) in zip(("first", "last", "lowest", "highest"), ends, strict=True)
            }
            first, last, (lowest, low_step), (highest, high_step) = ends
            rows.append(
                [figure.words, figure.write(first[0]), figure.write(last[0]), figure.write(lowest),
                 f"{low_step:,}", figure.write(highest), f"{high_step:,}"]
            )  # fmt: skip
    if len(rows) > 1:
        summary.show_table("figures", rows)
    _add_phases(summary, lines)
    return summary


def _add_phases(summary: Summary, lines: list[dict[str, Any]]) -> None:
    phases = sum_phases(lines)
    if not phases:
        return
    summary.facts["phases"] = phases
    total = sum(phases.values()) or 1.0
    rows = [
        [PHASE_WORDS.get(name, name), duration(seconds), percent(seconds / total)]
        for name, seconds in phases.items()
    ]
    summary.show_table("where the time went", [["phase", "time", "share"], *rows])


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        raise InputError(f"{path} does not exist")
    lines = read_metrics(path)
    if not lines and path.read_bytes()[:1] not in (b"", b"{"):  # nor what a kill has left of the first line
        raise InputError(f"{path} is not the log of a training: no line of it is whole")
    return lines


def _is_known(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
