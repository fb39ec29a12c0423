"""The share of triplets that still teach, over all steps, beside a baseline's."""

from __future__ import annotations

from ..report.chart import Chart
from ..report.chart_kinds import PERCENT, lines_over_steps
from ..report.run_report import RunReport
from ..report.section import Section, section
from .training_steps import ends_of, table_rows, training_steps

TITLE = "How much was left to learn?"
THIS, BASELINE = "this run", "baseline"


def make_activity(report: RunReport) -> Section:
    """The active share over time."""
    steps = training_steps(report.run)
    lines = {THIS: steps.points("active_fraction")}
    if report.baseline is not None:
        lines[BASELINE] = training_steps(report.baseline).points("active_fraction")
    lines = {name: line for name, line in lines.items() if line}
    if THIS not in lines:
        return section("activity", TITLE, answer=_nothing(report, bool(steps.lines)), charts=[])
    first, last = ends_of(lines[THIS])
    answer = (
        f"{100 * first:.1f} % of the triplets of a batch still broke the margin at the beginning, "
        f"{100 * last:.1f} % at the end. Only these teach anything."
    )
    if BASELINE in lines:
        there = ends_of(lines[BASELINE])
        answer += f" Of the baseline's it was {100 * there[0]:.1f} % and {100 * there[1]:.1f} %."
    rows = [
        {"step": step, "series": name, "value": round(100 * value, 3)}
        for name, line in lines.items()
        for step, value in line
    ]
    chart = Chart(
        "active",
        "Active share of triplets",
        f"A line over the training steps for each run, in percent. {answer}",
        answer,
        lines_over_steps(rows, list(lines), boundaries=steps.rounds, axis=PERCENT, number=".1f", zero=True),
        ["step", *lines],
        table_rows(
            {name: [(step, 100 * value) for step, value in line] for name, line in lines.items()}, "{:.1f} %"
        ),
    )
    return section("activity", TITLE, answer="", charts=[chart])


def _nothing(report: RunReport, trained: bool) -> str:
    if not trained:
        return "Nothing has been trained in a round yet."
    return f"The log of this run has no active share: its loss, {report.settings.train.loss}, did not report one."
