"""Which learning rates are tried: a coarse row, wider where its end is the best, then what lies beside the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...mining.errors import InputError

COARSE, FINE = 4.0, 2.0
"""Factors between the rates of the first row, and between the best of them and what is tried beside it."""
EACH_SIDE = 2
"""Rates of the first row on each side of the centre."""
FURTHEST = 5
"""Coarse steps from the centre, beyond which nothing is tried by itself."""
CENTRES = {"adamw": 1e-3, "sgd": 0.05, "adagrad": 0.01}
"""Where the row is centred for an optimiser, unless the network's family has a rate of its own."""


def first_rates(centre: float) -> list[float]:
    """The coarse row around `centre`, rising.

    >>> first_rates(0.001)
    [6.25e-05, 0.00025, 0.001, 0.004, 0.016]
    """
    return [_tidy(centre * COARSE**step) for step in range(-EACH_SIDE, EACH_SIDE + 1)]


def next_rate(figures: Mapping[float, float | None], centre: float) -> float | None:
    """The rate to try after the coarse row; None where the best lies between two that were tried.

    Args:
        figures: of each rate tried so far, more is better; None: it diverged or collapsed.

    >>> next_rate({0.001: 0.7, 0.004: 0.8, 0.016: 0.9}, centre=0.001)  # the best is at the end: further on
    0.064
    >>> next_rate({0.001: 0.7, 0.004: 0.9, 0.016: 0.8}, centre=0.001)  # inside: beside it
    0.002
    >>> next_rate({0.001: 0.7, 0.002: 0.8, 0.004: 0.9, 0.008: 0.8, 0.016: 0.8}, centre=0.001) is None
    True
    >>> next_rate({0.001: 0.9, 0.002: 0.9, 0.004: 0.9}, centre=0.001) is None  # level ground leads nowhere
    True
    """
    best = best_rate(figures)
    if best is None:
        lower = _tidy(min(figures) / COARSE)
        return lower if _is_near(lower, centre) else None
    if best == min(figures) and not _ties(figures, best) and _is_near(wider := _tidy(best / COARSE), centre):
        return wider
    if best == max(figures) and _is_near(wider := _tidy(best * COARSE), centre):
        return wider
    beside = (_tidy(best / FINE), _tidy(best * FINE))
    return next((rate for rate in beside if min(figures) < rate < max(figures) and rate not in figures), None)


def best_rate(figures: Mapping[float, float | None]) -> float | None:
    """The rate with the highest figure, of equal ones the lowest; None where none has any.

    >>> best_rate({0.004: 0.9, 0.001: 0.9, 10.0: None})
    0.001
    """
    known = {rate: figure for rate, figure in figures.items() if figure is not None}
    return min(known, key=lambda rate: (-known[rate], rate)) if known else None


def parse_rates(text: str) -> list[float]:
    """The rates of `--rates 1e-4,3e-4,1e-3`, rising, each once.

    >>> parse_rates("1e-3, 1e-4,1e-3")
    [0.0001, 0.001]

    Raises:
        InputError: one is no number above 0.
    """
    words: Sequence[str] = [word.strip() for word in text.split(",")]
    rates = set()
    for word in words:
        try:
            rate = float(word)
        except ValueError:
            rate = math.nan
        if not (rate > 0 and math.isfinite(rate)):
            raise InputError(
                f"--rates {text}: '{word}' is no learning rate; give numbers above 0, as 1e-4,1e-3,1e-2"
            )
        rates.add(_tidy(rate))
    return sorted(rates)


def _ties(figures: Mapping[float, float | None], lowest: float) -> bool:
    """Whether the next higher rate than the lowest does as well, so that the figures do not rise towards lower ones."""
    next_higher = min((rate for rate in figures if rate > lowest), default=lowest)
    return next_higher != lowest and figures[next_higher] == figures[lowest]


def _tidy(rate: float) -> float:
    """To six digits, so that a rate is the same number however it was reached, and as it is said."""
    return float(f"{rate:g}")


def _is_near(rate: float, centre: float) -> bool:
    return abs(math.log(rate / centre, COARSE)) < FURTHEST + 0.5
