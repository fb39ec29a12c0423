"""Panels of a plot as SVG text: a frame with two axes, and lines and words in it. Any browser shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LEFT, TOP, PANEL_WIDTH, PANEL_HEIGHT, BETWEEN = 62, 46, 330, 260, 96
HEIGHT = 380
GREY = "#888"


@dataclass(frozen=True)
class Panel:
    """A frame with two axes; `x` and `y` turn values into pixels."""

    left: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    logarithmic: bool = False

    def x(self, value: float) -> float:
        """Pixels from the left."""
        low, high = self.x_range
        if self.logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.left + PANEL_WIDTH * (value - low) / (high - low)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        low, high = self.y_range
        return TOP + PANEL_HEIGHT * (1 - (value - low) / (high - low))

    def frame(
        self, title: str, x_title: str, x_ticks: Sequence[float], y_ticks: Sequence[float], unit: str
    ) -> list[str]:
        """The frame, its titles and its ticks."""
        bottom, middle = TOP + PANEL_HEIGHT, self.left + PANEL_WIDTH / 2
        lines = [
            f'<rect x="{self.left}" y="{TOP}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" fill="none" stroke="{GREY}"/>',
            text(middle, TOP - 12, title, "middle", bold=True),
            text(middle, bottom + 56, x_title, "middle"),
        ]
        for tick in x_ticks:
            x = self.x(tick)
            lines.append(line(x, bottom, x, bottom + 4))
            turned = f' transform="rotate(-40 {x:.1f} {bottom + 16})"' if self.logarithmic else ""
            lines.append(text(x, bottom + 16, f"{tick:g}", "end" if turned else "middle", more=turned))
        for tick in y_ticks:
            y = self.y(tick)
            lines += [
                line(self.left, y, self.left + PANEL_WIDTH, y, "#ddd"),
                text(self.left - 6, y + 4, f"{tick:g}{unit}", "end"),
            ]
        return lines


def document(panels: int, title: str, parts: Sequence[str]) -> str:
    """A plot of so many panels side by side."""
    width = LEFT + panels * PANEL_WIDTH + (panels - 1) * BETWEEN + 42
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" '
            'font-family="sans-serif" font-size="11">',
            f'<rect width="{width}" height="{HEIGHT}" fill="white"/>',
            text(LEFT, 18, title, "start", bold=True),
            *parts,
            "</svg>\n",
        ]
    )


def left_of(panel: int) -> float:
    """Where a panel begins, counted from 0."""
    return LEFT + panel * (PANEL_WIDTH + BETWEEN)


def rounded(low: float, high: float) -> tuple[float, float]:
    """A range that holds both and ends on ticks."""
    step = _step(low, high)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return low, high if high > low else low + step


def ticks_of(low: float, high: float) -> list[float]:
    """Round numbers from low to high."""
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


def path(points: Sequence[tuple[float, float]], colour: str) -> str:
    """A line through points."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str = GREY, *, dashed: bool = False) -> str:
    """A straight line."""
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="1.2"{dashes}/>'


def text(
    x: float, y: float, words: str, anchor: str, *, bold: bool = False, colour: str = "#222", more: str = ""
) -> str:
    """Words; `anchor` is start, middle or end."""
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}{more}>{escape(words)}</text>'
