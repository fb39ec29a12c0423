"""metrics.jsonl as it is read: one object per logged step; no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path


def read_metrics(path: Path) -> list[dict[str, float | None]]:
    """The lines of a metrics.jsonl; a last line that a kill cut short is left out."""
    return [json.loads(line) for line in whole_lines(path)]


def whole_lines(path: Path) -> list[str]:
    """The lines of a file, but for a last one that a kill cut short."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def mean_over_steps(lines: Sequence[Mapping[str, float | None]], name: str) -> float | None:
    """The mean of a column over all steps, as lines may stand for unequal numbers of them; None where no line has it."""
    total, counted, before = 0.0, 0, 0
    for line in lines:
        steps, value = int(line["step"] or 0) + 1 - before, line[name]
        before += steps
        if value is not None:
            total, counted = total + value * steps, counted + steps
    return total / counted if counted else None
