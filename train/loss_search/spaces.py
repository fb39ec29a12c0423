"""Spaces of losses: from numbers that a Gaussian draws to a curve. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .curve import LossCurve, Piecewise

SpaceName = Literal["am-lfs", "search-softmax"]
MOST_MARGIN, MOST_EXPONENT = 2.0, 700.0
START_MARGIN = 0.2


@dataclass(frozen=True)
class Space:
    """A family of losses with D numbers in it, theta.

    am-lfs: slopes and biases of t and tau on M bins each, D = 4M, beginning at softmax (Li et al. 2019).
    search-softmax: D = 1, p' = p / (a·p + 1 - a) with a = 1 - e^(s·theta) (Wang et al. 2020). Theta is the margin that `a`
    amounts to and is searched in its place, since a spans many powers of ten; below 0 it counts as 0.

    >>> Space("am-lfs", bins=6, scale=16).size, Space("search-softmax", bins=6, scale=16).size
    (24, 1)
    """

    name: SpaceName
    bins: int
    """M; search-softmax has none."""
    scale: float
    """s of every curve."""

    @property
    def size(self) -> int:
        """D."""
        return 4 * self.bins if self.name == "am-lfs" else 1

    @property
    def start(self) -> np.ndarray:
        """The mean that a search begins with, float64[D]."""
        if self.name == "search-softmax":
            return np.array([START_MARGIN])
        one, zero = np.ones(self.bins), np.zeros(self.bins)
        return np.concatenate((one, zero, one, zero))

    def curve(self, theta: Sequence[float] | np.ndarray) -> LossCurve:
        """The loss of theta, float[D].

        >>> curve = Space("search-softmax", bins=1, scale=16).curve([0.25])
        >>> round(curve.margin, 6), round(curve.a, 2)
        (0.25, -53.6)
        """
        numbers = [float(number) for number in theta]
        if self.name == "search-softmax":
            exponent = min(self.scale * min(max(numbers[0], 0.0), MOST_MARGIN), MOST_EXPONENT)
            return LossCurve(self.scale, a=-float(np.expm1(exponent)))
        t_slopes, t_biases, tau_slopes, tau_biases = (
            tuple(numbers[part * self.bins : (part + 1) * self.bins]) for part in range(4)
        )
        return LossCurve(self.scale, Piecewise(t_slopes, t_biases), Piecewise(tau_slopes, tau_biases))

    def in_words(self, theta: Sequence[float] | np.ndarray) -> str:
        """How far theta is from where a search begins, in a few characters.

        >>> Space("search-softmax", bins=1, scale=16).in_words([0.25])
        'a -53.6, margin 0.250'
        """
        if self.name == "search-softmax":
            curve = self.curve(theta)
            return f"a {curve.a:.3g}, margin {curve.margin:.3f}"
        moved = np.asarray(theta) - self.start
        return f"{np.linalg.norm(moved):.3f} from softmax"
