"""RUN/lr/lr.svg: the validation figure over the rate, and the loss of each trial over its steps; any browser shows it.

SVG is written as text, since the package depends on nothing that draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .trials import Trial
from .verdict import Verdict

WIDTH, HEIGHT = 860, 380
LEFT, TOP, PANEL_WIDTH, PANEL_HEIGHT, BETWEEN = 62, 46, 330, 260, 96
COLOURS = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#d8a800")
"""Viridis, for rates from the lowest to the highest; its yellow is darkened to show on white."""
GREY = "#888"


@dataclass(frozen=True)
class _Panel:
    """A frame with two axes; `x` and `y` turn values into pixels."""

    left: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    logarithmic: bool = False

    def x(self, value: float) -> float:
        low, high = self.x_range
        if self.logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.left + PANEL_WIDTH * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return TOP + PANEL_HEIGHT * (1 - (value - low) / (high - low))

    def frame(
        self, title: str, x_title: str, x_ticks: Sequence[float], y_ticks: Sequence[float], unit: str
    ) -> list[str]:
        bottom, middle = TOP + PANEL_HEIGHT, self.left + PANEL_WIDTH / 2
        lines = [
            f'<rect x="{self.left}" y="{TOP}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" fill="none" stroke="{GREY}"/>',
            _text(middle, TOP - 12, title, "middle", bold=True),
            _text(middle, bottom + 56, x_title, "middle"),
        ]
        for tick in x_ticks:
            x = self.x(tick)
            lines.append(_line(x, bottom, x, bottom + 4))
            turned = f' transform="rotate(-40 {x:.1f} {bottom + 16})"' if self.logarithmic else ""
            lines.append(_text(x, bottom + 16, f"{tick:g}", "end" if turned else "middle", more=turned))
        for tick in y_ticks:
            y = self.y(tick)
            lines += [
                _line(self.left, y, self.left + PANEL_WIDTH, y, "#ddd"),
                _text(self.left - 6, y + 4, f"{tick:g}{unit}", "end"),
            ]
        return lines


def draw(verdict: Verdict, title: str) -> str:
    """The plot as an SVG document."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="11">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            _text(LEFT, 18, title, "start", bold=True),
            *_figures(verdict),
            *_losses(verdict.trials),
            "</svg>\n",
        ]
    )


def _figures(verdict: Verdict) -> list[str]:
    metric, rates = verdict.metric, [trial.rate for trial in verdict.trials]
    done = [trial for trial in verdict.trials if trial.figure(metric) is not None]
    start = 100 * (verdict.start[metric]["value"] or 0)
    ends = [end for trial in done for end in _interval(trial, metric)]
    low, high = _rounded(min([*ends, start]), max([*ends, start]))
    panel = _Panel(LEFT, (min(rates) / 1.6, max(rates) * 1.6), (low, high), logarithmic=True)
    lines = panel.frame(f"{metric} on validation", "learning rate", rates, _ticks(low, high), " %")
    lines += [
        _line(
            panel.x(panel.x_range[0]),
            panel.y(start),
            panel.x(panel.x_range[1]),
            panel.y(start),
            GREY,
            dashed=True,
        ),
        _text(LEFT + 4, panel.y(start) - 4, "start", "start"),
    ]
    points = [(panel.x(trial.rate), panel.y(_interval(trial, metric)[1])) for trial in done]
    lines.append(_path(points, GREY))
    for trial, (x, y) in zip(done, points, strict=True):
        below, _, above = _interval(trial, metric)
        colour = _colour(verdict.trials, trial)
        lines.append(_line(x, panel.y(below), x, panel.y(above), colour))
        lines.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{6 if trial is verdict.best else 3.5}" fill="{colour}"/>'
        )
    for trial in verdict.trials:
        if trial not in done:
            lines.append(_text(panel.x(trial.rate), TOP + PANEL_HEIGHT - 6, f"× {trial.state}", "middle"))
    return lines


def _losses(trials: Sequence[Trial]) -> list[str]:
    drawn = [trial for trial in trials if trial.losses]
    if not drawn:
        return []
    values = sorted(loss for trial in drawn for _, loss in trial.losses)
    # One trial that goes astray must not press the others flat.
    low, high = _rounded(values[0], values[int(0.98 * (len(values) - 1))])
    steps = max(trial.losses[-1][0] for trial in drawn)
    panel = _Panel(LEFT + PANEL_WIDTH + BETWEEN, (0, steps), (low, high))
    lines = panel.frame("training loss", "step", _ticks(0, steps), _ticks(low, high), "")
    for place, trial in enumerate(drawn):
        colour = _colour(trials, trial)
        lines.append(
            _path([(panel.x(step), panel.y(min(loss, high))) for step, loss in trial.losses], colour)
        )
        lines.append(
            _text(
                panel.left + PANEL_WIDTH - 6, TOP + 14 + 13 * place, f"{trial.rate:g}", "end", colour=colour
            )
        )
    return lines


def _interval(trial: Trial, metric: str) -> tuple[float, float, float]:
    """Low, value and high in percent; the value three times where there is no interval."""
    found = trial.metrics[metric]
    value = found["value"] or 0.0
    low, high = found["low"], found["high"]
    return 100 * (value if low is None else low), 100 * value, 100 * (value if high is None else high)


def _rounded(low: float, high: float) -> tuple[float, float]:
    """A range that holds both and ends on ticks."""
    step = _step(low, high)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return low, high if high > low else low + step


def _ticks(low: float, high: float) -> list[float]:
    step = _step(low, high)
    return [
        round(low + number * step, 10)
        for number in range(round((high - low) / step) + 1)
        if low + number * step <= high + step / 100
    ]


def _step(low: float, high: float) -> float:
    """1, 2 or 5 times a power of ten, of which four to ten fit."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    # A span that is four powers of ten but for the last bit has room for one of them.
    return max((factor * power for factor in (2, 5) if factor * power <= span / 4), default=power)


def _colour(trials: Sequence[Trial], trial: Trial) -> str:
    place = trials.index(trial) / max(1, len(trials) - 1)
    return COLOURS[round(place * (len(COLOURS) - 1))]


def _path(points: Sequence[tuple[float, float]], colour: str) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = GREY, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="1.2"{dashes}/>'


def _text(
    x: float, y: float, words: str, anchor: str, *, bold: bool = False, colour: str = "#222", more: str = ""
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}{more}>{escape(words)}</text>'
