"""RUN/lr/lr.svg: the validation figure over the rate, and the loss of each trial over its steps; any browser shows it.

SVG is written as text, since the package depends on nothing that draws.
"""

from __future__ import annotations

from collections.abc import Sequence

from .svg_panel import (
    GREY,
    LEFT,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    TOP,
    Panel,
    document,
    left_of,
    line,
    path,
    rounded,
    text,
    ticks_of,
)
from .trials import Trial
from .verdict import Verdict

COLOURS = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#d8a800")
"""Viridis, for rates from the lowest to the highest; its yellow is darkened to show on white."""


def draw(verdict: Verdict, title: str) -> str:
    """The plot as an SVG document."""
    return document(2, title, [*_figures(verdict), *_losses(verdict.trials)])


def _figures(verdict: Verdict) -> list[str]:
    metric, rates = verdict.metric, [trial.rate for trial in verdict.trials]
    done = [trial for trial in verdict.trials if trial.figure(metric) is not None]
    start = 100 * (verdict.start[metric]["value"] or 0)
    ends = [end for trial in done for end in _interval(trial, metric)]
    low, high = rounded(min([*ends, start]), max([*ends, start]))
    panel = Panel(LEFT, (min(rates) / 1.6, max(rates) * 1.6), (low, high), logarithmic=True)
    lines = panel.frame(f"{metric} on validation", "learning rate", rates, ticks_of(low, high), " %")
    lines += [
        line(
            panel.x(panel.x_range[0]),
            panel.y(start),
            panel.x(panel.x_range[1]),
            panel.y(start),
            GREY,
            dashed=True,
        ),
        text(LEFT + 4, panel.y(start) - 4, "start", "start"),
    ]
    points = [(panel.x(trial.rate), panel.y(_interval(trial, metric)[1])) for trial in done]
    lines.append(path(points, GREY))
    for trial, (x, y) in zip(done, points, strict=True):
        below, _, above = _interval(trial, metric)
        colour = _colour(verdict.trials, trial)
        lines.append(line(x, panel.y(below), x, panel.y(above), colour))
        lines.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{6 if trial is verdict.best else 3.5}" fill="{colour}"/>'
        )
    for trial in verdict.trials:
        if trial not in done:
            lines.append(text(panel.x(trial.rate), TOP + PANEL_HEIGHT - 6, f"× {trial.state}", "middle"))
    return lines


def _losses(trials: Sequence[Trial]) -> list[str]:
    drawn = [trial for trial in trials if trial.losses]
    if not drawn:
        return []
    values = sorted(loss for trial in drawn for _, loss in trial.losses)
    # One trial that goes astray must not press the others flat.
    low, high = rounded(values[0], values[int(0.98 * (len(values) - 1))])
    steps = max(trial.losses[-1][0] for trial in drawn)
    panel = Panel(left_of(1), (0, steps), (low, high))
    lines = panel.frame("training loss", "step", ticks_of(0, steps), ticks_of(low, high), "")
    for place, trial in enumerate(drawn):
        colour = _colour(trials, trial)
        lines.append(path([(panel.x(step), panel.y(min(loss, high))) for step, loss in trial.losses], colour))
        lines.append(
            text(panel.left + PANEL_WIDTH - 6, TOP + 14 + 13 * place, f"{trial.rate:g}", "end", colour=colour)
        )
    return lines


def _interval(trial: Trial, metric: str) -> tuple[float, float, float]:
    """Low, value and high in percent; the value three times where there is no interval."""
    found = trial.metrics[metric]
    value = found["value"] or 0.0
    low, high = found["low"], found["high"]
    return 100 * (value if low is None else low), 100 * value, 100 * (value if high is None else high)


def _colour(trials: Sequence[Trial], trial: Trial) -> str:
    place = trials.index(trial) / max(1, len(trials) - 1)
    return COLOURS[round(place * (len(COLOURS) - 1))]
