"""What the trainings of a run logged, on one step axis over all rounds, thinned to what a chart can show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ...train.monitoring.metrics_file import read_metrics
from ..round_chain import current_rounds
from ..run_directory import RunDirectory
from ..stages.graph import steps_taken

MOST_POINTS = 400
"""Points of a line; longer logs are averaged over equal numbers of log lines."""

Line = Mapping[str, float | None]


@dataclass(frozen=True)
class TrainingSteps:
    """All log lines of a run's rounds; `step` counts from the first step of the first round."""

    lines: list[dict[str, float | None]]
    rounds: list[tuple[int, str]]
    """The step at which each round begins, and its name."""
    ends: dict[str, int]
    """Steps after each trained round, by the name of the network; the start has 0."""

    def points(self, value: str | Callable[[Line], float | None]) -> list[tuple[int, float]]:
        """A logged figure, or one made of a line, as (step, value), at most `MOST_POINTS`; none where none has it."""
        of = value if callable(value) else lambda line: line.get(value)
        found = [(int(line["step"] or 0), got) for line in self.lines if (got := of(line)) is not None]
        if len(found) <= MOST_POINTS:
            return found
        steps, values = np.array([step for step, _ in found]), np.array([got for _, got in found])
        thinned = zip(np.array_split(steps, MOST_POINTS), np.array_split(values, MOST_POINTS), strict=True)
        return [(int(part[-1]), float(of_part.mean())) for part, of_part in thinned]


def logged_steps(run: RunDirectory) -> TrainingSteps:
    """The trainings of a run so far; one that is not done counts as far as its log goes.

    Raises:
        StaleArtifactError: a log or a marker is damaged.
    """
    lines: list[dict[str, float | None]] = []
    begins: list[tuple[int, str]] = []
    ends = {"start": 0}
    for index in current_rounds(run):
        folder, before = run.round(index), steps_taken(run, index)
        here = read_metrics(folder.metrics)
        lines += [{**line, "step": before + int(line["step"] or 0) + 1} for line in here]
        begins += [(before, f"round {index}")] if here else []
        if folder.finished("train"):
            ends[f"round {index}"] = before + folder.record("train")["summary"]["steps"]
    return TrainingSteps(lines, begins, ends)


def logged_start(run: RunDirectory) -> TrainingSteps:
    """Pretraining as far as its log goes; no lines where the starting network is taken as it is.

    Raises:
        StaleArtifactError: the log is damaged.
    """
    here = read_metrics(run.start.metrics)
    return TrainingSteps([{**line, "step": int(line["step"] or 0) + 1} for line in here], [], {})


def ends_of(points: list[tuple[int, float]]) -> tuple[float, float]:
    """The means of the first and of the last tenth of a line, at least a point each.

    >>> ends_of([(1, 4.0), (2, 3.0), (3, 2.0)])
    (4.0, 2.0)
    """
    tenth = max(1, len(points) // 10)
    values = [value for _, value in points]
    return sum(values[:tenth]) / tenth, sum(values[-tenth:]) / tenth


def table_rows(points: Mapping[str, list[tuple[int, float]]], written: str = "{:.3f}") -> list[list[str]]:
    """Lines as a table for reading, about twenty rows: step, and a column a series."""
    steps = sorted({step for line in points.values() for step, _ in line})
    chosen = [
        steps[place] for place in np.unique(np.linspace(0, len(steps) - 1, min(20, len(steps))).astype(int))
    ]
    at = {name: dict(line) for name, line in points.items()}
    return [
        [f"{step:,}", *(written.format(at[name][step]) if step in at[name] else "" for name in points)]
        for step in chosen
    ]
