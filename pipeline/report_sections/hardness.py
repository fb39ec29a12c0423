"""How hard the batches were: planned against random, round by round, and the cosines while training on them."""

from __future__ import annotations

from collections.abc import Callable

from ..report.chart import Chart
from ..report.chart_kinds import dots_over_rounds, lines_over_steps
from ..report.run_report import RunReport
from ..report.section import Section, fill_section
from .training_steps import Line, TrainingSteps, ends_of, logged_steps, table_rows

TITLE = "How hard were the batches?"
PLANNED, RANDOM = "planned batches", "random batches"
POSITIVE, MINED = "one identity", "others, as mined"
NEAREST, NEAREST_THERE = "nearest other", "nearest other, baseline"


def make_hardness(report: RunReport) -> Section:
    """Planned against random hardness of every round, and both cosines over the steps."""
    plans = {
        f"round {folder.index}": folder.record("plan")["summary"]
        for folder in report.rounds
        if folder.finished("plan")
    }
    known = {name: plan for name, plan in plans.items() if plan.get("hardness") is not None}
    steps = logged_steps(report.run)
    charts = [*([_hardness(known)] if known else []), *_cosines(report, steps)]
    return fill_section("hardness", TITLE, answer=_answer(plans, known), charts=charts)


def _answer(plans: dict[str, dict], known: dict[str, dict]) -> str:
    if not plans:
        return "No batches have been planned yet."
    if not known:
        return "The plans of this run do not say how hard they are: their batches are random, or of an older version."
    name, plan = list(known.items())[-1]
    planned, random = plan["hardness"], plan.get("random_hardness")
    words = f"In {name} the nearest other identity of a batch is at cosine {planned:.2f} on average"
    if random is None:
        return f"{words}."
    verdict = (
        "harder than"
        if planned > random + 0.005
        else "as hard as"
        if planned > random - 0.005
        else "easier than"
    )
    return f"{words}; in random batches of the same size at {random:.2f}. The planned batches are {verdict} random ones."


def _hardness(plans: dict[str, dict]) -> Chart:
    rows = [
        {"round": name, "series": series, "value": round(plan[key], 4)}
        for name, plan in plans.items()
        for series, key in ((PLANNED, "hardness"), (RANDOM, "random_hardness"))
        if plan.get(key) is not None
    ]
    gaps = [
        plan["hardness"] - plan["random_hardness"]
        for plan in plans.values()
        if plan.get("random_hardness") is not None
    ]
    least, most = (min(gaps), max(gaps)) if gaps else (0.0, 0.0)
    sentence = (
        f"Planned batches are {least:+.2f} to {most:+.2f} nearer, in cosine, than random ones of the same round. "
        "Every round is measured with its own network, so compare the two of a round, not rounds."
    )
    return Chart(
        "hardness",
        "Cosine to the nearest other identity of the batch",
        f"Dots for each round, planned and random batches. {sentence}",
        sentence,
        dots_over_rounds(rows, list(plans), [PLANNED, RANDOM]),
        ["round", PLANNED, RANDOM],
        [
            [
                name,
                *(
                    f"{plan[key]:.3f}" if plan.get(key) is not None else ""
                    for key in ("hardness", "random_hardness")
                ),
            ]
            for name, plan in plans.items()
        ],
    )


def _cosines(report: RunReport, steps: TrainingSteps) -> list[Chart]:
    """Cosines of the pairs in a batch, whatever the loss; of older logs those of the pairs that were mined."""
    own, near = steps.points("cosine_positive"), steps.points("cosine_nearest_negative")
    if own and near:
        lines = {POSITIVE: own, NEAREST: near}
        if report.baseline is not None:
            lines[NEAREST_THERE] = logged_steps(report.baseline).points("cosine_nearest_negative")
    else:
        lines = {POSITIVE: steps.points(_cosine("d_ap")), MINED: steps.points(_cosine("d_an"))}
    lines = {name: line for name, line in lines.items() if line}
    if len(lines) < 2:
        return []
    ends = ", ".join(f"{name} at {ends_of(line)[1]:.2f}" for name, line in lines.items())
    sentence = f"Cosines at the end: {ends}. A batch teaches where the lines are close."
    rows = [
        {"step": step, "series": name, "value": round(value, 4)}
        for name, line in lines.items()
        for step, value in line
    ]
    return [
        Chart(
            "cosines",
            "Cosines of the pairs in a batch",
            f"Lines over the training steps, for pairs of one identity and of two. {sentence}",
            sentence,
            lines_over_steps(rows, list(lines), boundaries=steps.rounds, number=".3f"),
            ["step", *lines],
            table_rows(lines),
        )
    ]


def _cosine(column: str) -> Callable[[Line], float | None]:
    """The cosine of a logged squared distance d of unit vectors: 1 - d / 2."""
    return lambda line: None if (d := line.get(column)) is None else 1 - d / 2
