"""The share of triplets that still teach, over all steps, beside a baseline's; of other losses the share of images."""

from __future__ import annotations

from ..report.chart import Chart
from ..report.chart_kinds import PERCENT, lines_over_steps
from ..report.run_report import RunReport
from ..report.section import Section, fill_section
from .training_steps import ends_of, logged_steps, table_rows

TITLE = "How much was left to learn?"
THIS, BASELINE = "this run", "baseline"
COLUMNS = {
    "active_fraction": ("triplets", "of the triplets of a batch still broke the margin"),
    "active_images": (
        "images",
        "of the images of a batch still had a look-alike about as near as an image of their own",
    ),
}
"""What logs have of it, the better first, and what is active."""


def make_activity(report: RunReport) -> Section:
    """The active share over time."""
    steps = logged_steps(report.run)
    column = next((name for name in COLUMNS if steps.points(name)), None)
    if column is None:
        return fill_section("activity", TITLE, answer=_nothing(report, bool(steps.lines)), charts=[])
    what, words = COLUMNS[column]
    lines = {THIS: steps.points(column)}
    if report.baseline is not None:
        lines[BASELINE] = logged_steps(report.baseline).points(column)
    lines = {name: line for name, line in lines.items() if line}
    first, last = ends_of(lines[THIS])
    sentence = (
        f"{100 * first:.1f} % {words} at the beginning, {100 * last:.1f} % at the end. Only these teach."
    )
    if BASELINE in lines:
        there = ends_of(lines[BASELINE])
        sentence += f" Of the baseline's it was {100 * there[0]:.1f} % and {100 * there[1]:.1f} %."
    shares = {name: [(step, 100 * value) for step, value in line] for name, line in lines.items()}
    rows = [
        {"step": step, "series": name, "value": round(value, 3)}
        for name, line in shares.items()
        for step, value in line
    ]
    chart = Chart(
        "active",
        f"Active share of {what}",
        f"A line over the training steps for each run, in percent. {sentence}",
        sentence,
        lines_over_steps(rows, list(lines), boundaries=steps.rounds, axis=PERCENT, number=".1f", zero=True),
        ["step", *lines],
        table_rows(shares, "{:.1f} %"),
    )
    return fill_section("activity", TITLE, answer="", charts=[chart])


def _nothing(report: RunReport, trained: bool) -> str:
    if not trained:
        return "Nothing has been trained in a round yet."
    return f"The log of this run has no active share: its loss, {report.settings.train.loss}, did not report one."
