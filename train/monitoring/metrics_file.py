"""metrics.jsonl as it is read: one object per logged step; no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...mining.errors import StaleArtifactError
from ...mining.json_documents import damaged, parse_json, read_bounded

Line = Mapping[str, float | None]

MOST_BYTES = 1 << 30
"""The most bytes of a whole log that are read."""
MOST_LINE_BYTES = 1 << 16
REMEDY = "remove that line, curves and times alone rest on it, or train again with --force"


def read_metrics(path: Path) -> list[dict[str, float | None]]:
    """The lines of a metrics.jsonl, none where there is no file; a last line that a kill cut short is left out.

    Raises:
        StaleArtifactError: a line is damaged; the message says which.
    """
    return [values for _, values in whole_lines(path)]


def whole_lines(path: Path) -> list[tuple[str, dict[str, float | None]]]:
    """As `read_metrics`, each line with its text."""
    return list(_lines(path)) if path.exists() else []


def _lines(path: Path) -> Iterator[tuple[str, dict[str, float | None]]]:
    try:
        data = read_bounded(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        why = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
        raise damaged(path, why, "remove it, curves and times alone rest on it") from error
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].split(b"\n")[:-1], 1):
        yield line.decode(errors="replace"), _values(path, number, line)


def _values(path: Path, number: int, line: bytes) -> dict[str, float | None]:
    if len(line) > MOST_LINE_BYTES:
        raise _damaged(path, number, f"it has {len(line):,} bytes")
    try:
        values = parse_json(line)
    except ValueError as error:
        raise _damaged(path, number, str(error)) from error
    if not isinstance(values, dict) or not all(map(_is_figure, values.values())):
        raise _damaged(path, number, "it is not an object of numbers with a step")
    step = values.get("step")
    if not isinstance(step, int) or not 0 <= step < 1 << 62:
        raise _damaged(path, number, "it is not an object of numbers with a step")
    return values


def _is_figure(value: object) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    )


def _damaged(path: Path, number: int, why: str) -> StaleArtifactError:
    return damaged(path, f"line {number:,}: {why}", REMEDY)


def mean_over_steps(lines: Sequence[Line], name: str) -> float | None:
    """The mean of a column over all steps, as lines may stand for unequal numbers of them; None where no line has it."""
    total, counted, before = 0.0, 0, 0
    for line in lines:
        steps, value = int(line["step"] or 0) + 1 - before, line.get(name)
        before += steps
        if value is not None:
            total, counted = total + value * steps, counted + steps
    return total / counted if counted else None
