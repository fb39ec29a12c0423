"""Learning curves: loss, learning rate, and the validation of every round, on one step axis; and the loss of pretraining."""

from __future__ import annotations

import math

from ..configuration.early_stop import best_of
from ..report.chart import Chart
from ..report.chart_kinds import PERCENT, lines_over_steps
from ..report.run_report import RunReport
from ..report.section import Section, fill_section
from ..round_chain import is_measured
from .outcome import elsewhere_in_words, network_words, on_same_images
from .training_steps import TrainingSteps, ends_of, logged_start, logged_steps, table_rows

TITLE = "Learning curves"


def make_curves(report: RunReport) -> Section:
    """Loss, validation and learning rate; then pretraining, whose steps are before all others and of another loss."""
    steps = logged_steps(report.run)
    charts = [*_loss(steps), *_validation(report, steps), *_rate(steps)]
    answer = "" if charts else "Nothing has been trained in a round yet."
    return fill_section("curves", TITLE, answer=answer, charts=[*charts, *_pretraining(report)])


def _line(
    name: str,
    title: str,
    alt: str,
    sentence: str,
    points: list[tuple[int, float]],
    steps: TrainingSteps,
    **how: object,
) -> Chart:
    rows = [{"step": step, "series": title, "value": value} for step, value in points]
    spec = lines_over_steps(rows, [title], boundaries=steps.rounds, **how)  # pyright: ignore[reportArgumentType]
    written = "{:.2e}" if name == "rate" else "{:.4f}"
    return Chart(name, title, alt, sentence, spec, ["step", title], table_rows({title: points}, written))


def _loss(steps: TrainingSteps) -> list[Chart]:
    points = steps.points("loss")
    if not points:
        return []
    first, last = ends_of(points)
    sentence = (
        f"The loss went from {first:.3f} to {last:.3f}. It may rise where a round begins: its batches are drawn anew, "
        "and are as hard as the network of that moment finds them."
    )
    return [_line("loss", "Loss", f"A line over the training steps. {sentence}", sentence, points, steps)]


def _pretraining(report: RunReport) -> list[Chart]:
    steps = logged_start(report.run)
    points = steps.points("loss")
    if not points:
        return []
    first, last = ends_of(points)
    sentence = (
        f"The loss of pretraining ({report.settings.pretrain.loss}) went from {first:.3f} to {last:.3f}."
    )
    alt = f"A line over the steps of pretraining. {sentence}"
    return [_line("pretraining", "Loss of pretraining", alt, sentence, points, steps)]


def _rate(steps: TrainingSteps) -> list[Chart]:
    points = steps.points("lr")
    if not points:
        return []
    values = [value for _, value in points]
    sentence = f"The learning rate is at most {max(values):.2g} and ends at {values[-1]:.2g}."
    return [
        _line(
            "rate", "Learning rate", f"A line over the training steps. {sentence}", sentence, points, steps,
            axis={"format": "~g"}, number=".2e", zero=True,
        )
    ]  # fmt: skip


def _validation(report: RunReport, steps: TrainingSteps) -> list[Chart]:
    metric = report.settings.early_stop.metric
    done = [folder for folder in report.folders if is_measured(folder, "validate")]
    same, elsewhere = on_same_images(done, "validate")
    found = {
        network_words(folder): values
        for folder in same
        if network_words(folder) in steps.ends
        and (values := folder.examined("validate")["metrics"].get(metric)) is not None
        and values["value"] is not None
    }
    points = [(steps.ends[name], 100 * values["value"]) for name, values in found.items()]
    if len(points) < 2:
        return []
    names = list(dict.fromkeys((network_words(report.run.start), *found)))
    best = names[best_of([found[name]["value"] if name in found else -math.inf for name in names])]
    sentence = (
        f"{metric} on the validation identities went from {points[0][1]:.1f} % to {points[-1][1]:.1f} %; "
        f"the best network is that of {best}, {100 * found[best]['value']:.1f} %."
    )
    if elsewhere:
        sentence += f" {elsewhere_in_words(elsewhere)}"
    rows = [{"step": step, "series": metric, "value": round(value, 3)} for step, value in points]
    spec = lines_over_steps(rows, [metric], boundaries=steps.rounds, axis=PERCENT, number=".1f")
    spec["layer"].append(
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "color": "var(--c1)"},
            "encoding": {
                "x": {"field": "step", "type": "quantitative"},
                "y": {"field": "value", "type": "quantitative"},
            },
        }
    )
    table = [
        [name, f"{steps.ends[name]:,}", f"{100 * values['value']:.1f} %"] for name, values in found.items()
    ]
    alt = f"A dot for each network over the training steps. {sentence}"
    return [
        Chart(
            "validation", f"{metric} on validation", alt, sentence, spec, ["network", "step", metric], table
        )
    ]
