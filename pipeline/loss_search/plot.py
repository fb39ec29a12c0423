"""RUN/search-loss/curve.svg: the found t and tau beside those of softmax, and the rewards of all epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ...train.loss_search.curve import LEAST_SHARE, LossCurve
from ..learning_rate.svg_panel import GREY, Panel, document, left_of, line, path, rounded, text, ticks_of
from .record import Epoch

FOUND, BEST = "#0072B2", "#D55E00"
POINTS = 400


def draw(curve: LossCurve, epochs: Sequence[Epoch], metric: str, title: str) -> str:
    """The plot as an SVG document."""

    def target(cosine: float) -> float:
        return curve.t.at(cosine, -1, 1) - curve.margin

    def probability(p: float) -> float:
        # p / (a·p + 1 - a), written so that no difference of large numbers is 0 at p = 1
        left = p / (p + (1 - curve.a) * (1 - p))
        return max(curve.tau.at(left, 0, 1), LEAST_SHARE * left)

    parts = [
        *_function(0, target, -1, 1, "what stands for the cosine to the own class", "cosine"),
        *_function(1, probability, 0, 1, "what stands for the probability of the own class", "probability"),
        *_rewards(epochs, metric),
    ]
    return document(3, title, parts)


def _function(
    place: int, function: Callable[[float], float], low: float, high: float, title: str, x_title: str
) -> list[str]:
    xs = [low + (high - low) * number / POINTS for number in range(POINTS + 1)]
    ys = [function(x) for x in xs]
    bottom, top = rounded(min(low, *ys), max(high, *ys))
    panel = Panel(left_of(place), (low, high), (bottom, top))
    lines = panel.frame(title, x_title, ticks_of(low, high), ticks_of(bottom, top), "")
    lines.append(line(panel.x(low), panel.y(low), panel.x(high), panel.y(high), GREY, dashed=True))
    lines.append(path([(panel.x(x), panel.y(y)) for x, y in zip(xs, ys, strict=True)], FOUND))
    return lines


def _rewards(epochs: Sequence[Epoch], metric: str) -> list[str]:
    found = [
        (number, 100 * each.reward, each is epoch.candidates[epoch.best])
        for number, epoch in enumerate(epochs, 1)
        for each in epoch.candidates
        if each.reward is not None
    ]
    low, high = rounded(min(reward for _, reward, _ in found), max(reward for _, reward, _ in found))
    panel = Panel(left_of(2), (0.5, len(epochs) + 0.5), (low, high))
    every = math.ceil(len(epochs) / 10)
    ticks = list(range(1, len(epochs) + 1, every))
    lines = panel.frame(f"{metric} of the candidates", "epoch", ticks, ticks_of(low, high), " %")
    for number, reward, best in sorted(found, key=lambda point: point[2]):
        colour, radius = (BEST, 4.5) if best else (GREY, 3)
        lines.append(
            f'<circle cx="{panel.x(number):.1f}" cy="{panel.y(reward):.1f}" r="{radius}" fill="{colour}"/>'
        )
    lines.append(text(panel.left + 6, 60, "best: its weights go on", "start", colour=BEST))
    return lines
