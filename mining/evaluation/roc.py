"""The ROC curve: how many genuine and how many impostor pairs each threshold accepts, exactly.

Scores are counted by levels, multiples of 2^-21 (4.8e-7): the level of a score is the lowest at or above it. So what lies
above any level is known exactly, in memory that is bounded whatever the number of pairs: cosines have 4.3 million levels.
A threshold accepts what is strictly above it.

Shapes: n distinct levels; F false accept rates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError

STEP = 2.0**-21
"""Between two levels; float32 products of unit rows differ by as much with the order of summation."""
POINTS = 1000
"""Points of a curve to be drawn."""


def accepted_impostors(far: float, n_impostor: int) -> int:
    """floor(FAR * N) for the decimal FAR as written: 0.29 of 100 is 29, where float arithmetic gives 28."""
    return int(Fraction(repr(float(far))) * n_impostor)


def impostors_needed(far: float) -> int:
    """The least number of impostors of which `far` accepts one.

    >>> impostors_needed(1e-3), impostors_needed(0.3)
    (1000, 4)
    """
    return -(-1 // Fraction(repr(float(far))))


def level_of(similarity: np.ndarray) -> np.ndarray:
    """The level of each score: the least integer with score <= level * STEP, exact in float32.

    >>> level_of(np.float32([0.5, 0.5 + 2**-23])).tolist()
    [1048576, 1048577]
    """
    return np.ceil(similarity * similarity.dtype.type(1 / STEP)).astype(np.int64)


@dataclass(frozen=True)
class ScoreCounts:
    """How many scores, or what weight of them, lie above any level.

    >>> scores = ScoreCounts.of(np.array([0.1, 0.5, 0.5]))
    >>> scores.total, scores.above(level_of(np.array([0.0, 0.1, 0.5]))).tolist()
    (3, [3, 2, 0])
    """

    level: np.ndarray
    """int[n], ascending."""
    before: np.ndarray
    """[n + 1], the weight of all scores before each level."""

    @classmethod
    def of(cls, similarity: np.ndarray) -> ScoreCounts:
        """Scores that count once each."""
        level, count = np.unique(level_of(similarity), return_counts=True)
        return cls.weighted(level, count)

    @classmethod
    def weighted(cls, level: np.ndarray, weight: np.ndarray) -> ScoreCounts:
        """Scores by ascending level, with weights."""
        before = np.zeros(len(level) + 1, weight.dtype)
        np.cumsum(weight, out=before[1:])
        return cls(level, before)

    @property
    def total(self) -> int:
        """The weight of all scores."""
        return int(self.before[-1])

    def above(self, edge: np.ndarray | int) -> np.ndarray:
        """The weight of what is strictly above each edge."""
        return self.before[-1] - self.before[np.searchsorted(self.level, edge, side="right")]

    def highest_below(self, accepted: np.ndarray | int) -> np.ndarray:
        """The level of the best score that has at least `accepted` before it, from the top: of the next to accept."""
        place = np.searchsorted(self.before, self.before[-1] - accepted, side="left") - 1
        return self.level[np.maximum(place, 0)]


class Curve(NamedTuple):
    """Points of a ROC curve by descending threshold, each exact; the first accepts nothing, the last everything."""

    threshold: np.ndarray
    """float64[n]; accept what is strictly above."""
    far: np.ndarray
    """float64[n], the share of impostor pairs that is accepted, ascending."""
    tar: np.ndarray
    """float64[n], the share of genuine pairs that is accepted, ascending."""


@dataclass(frozen=True)
class Roc:
    """The ROC curve of genuine and impostor similarities.

    `tar_at_far` and `threshold_at_far` obey one rule. With k = floor(FAR * N) of N impostor pairs, all scores are refused
    that do not exceed the (k+1)-th largest impostor score by more than a level. So at most a share FAR of impostors is
    accepted, ties included, and what float32 rounding may have brought above an equal score is not. That is the best
    TPR at FPR <= FAR of scikit-learn's `roc_curve`, scores less than 1e-6 apart being ties. InsightFace's tables of IJB
    take the point of nearest FPR in its place, which is the same where FAR * N is an integer.

    >>> roc = Roc.of(genuine=[0.9, 0.8, 0.3], impostor=[0.5, 0.2, 0.1, 0.0])
    >>> roc.tar_at_far(0.25), round(roc.threshold_at_far(0.25), 4), roc.tar_at_far(0.1), roc.why_unknown(0.1)
    (1.0, 0.2, None, 'FAR=0.1 needs 10 impostor pairs or more; there are 4')
    >>> roc.far_at_threshold(0.4), round(roc.equal_error_rate, 4)
    (0.25, 0.2917)
    """

    genuine: ScoreCounts
    impostor: ScoreCounts

    @classmethod
    def of(cls, genuine: ArrayLike, impostor: ArrayLike) -> Roc:
        """The curve of scores that are held in memory: float[n] each, 40 bytes a score on the way.

        Raises:
            InputError: no genuine or no impostor pairs, or a score that is not finite.
        """
        return cls(
            ScoreCounts.of(_checked("genuine", genuine)), ScoreCounts.of(_checked("impostor", impostor))
        )

    def edge_at_far(self, far: float) -> int:
        """The level that is the threshold at `far`, however few impostors there are."""
        return int(self.impostor.highest_below(accepted_impostors(far, self.impostor.total))) + 1

    def why_unknown(self, far: float) -> str | None:
        """Why there are too few impostor pairs to say anything at `far`; None where there are enough."""
        if accepted_impostors(far, self.impostor.total):
            return None
        return f"FAR={far:g} needs {impostors_needed(far):,} impostor pairs or more; there are {self.impostor.total:,}"

    def threshold_at_far(self, far: float) -> float | None:
        """The threshold that accepts at most a share `far` of impostors; None where that is less than one pair."""
        return None if self.why_unknown(far) else self.edge_at_far(far) * STEP

    def tar_at_far(self, far: float) -> float | None:
        """The share of genuine pairs above `threshold_at_far(far)`."""
        return None if self.why_unknown(far) else self._share(self.genuine, self.edge_at_far(far))

    def far_at_threshold(self, threshold: float) -> float:
        """The share of impostor pairs above a threshold, which counts as the next level at or above it."""
        return self._share(self.impostor, _edge_of(threshold))

    def tar_at_threshold(self, threshold: float) -> float:
        """The share of genuine pairs above a threshold, which counts as the next level at or above it."""
        return self._share(self.genuine, _edge_of(threshold))

    @property
    def equal_error_rate(self) -> float:
        """(FAR + FRR) / 2 at the threshold where the two differ least, as in torchmetrics' `binary_eer`; FRR is 1 - TAR."""
        edge = self._equal_error_edge()
        return (self._share(self.impostor, edge) + 1 - self._share(self.genuine, edge)) / 2

    @property
    def equal_error_threshold(self) -> float:
        """That threshold; of two that differ equally the higher."""
        return self._equal_error_edge() * STEP

    def curve(self, points: int = POINTS) -> Curve:
        """About `points` points of the curve, or all where there are fewer.

        Half of them are evenly spaced in the logarithm of FAR, half in TAR. Each is exact, and the ends are there.
        """
        edges = np.unique(np.concatenate((self.genuine.level, self.impostor.level)))
        first = np.array([edges[0] - 1])
        if len(edges) > points:
            by_far = np.geomspace(1, max(self.impostor.total, 1), points // 2).round()
            by_tar = np.linspace(0, self.genuine.total, points // 2).round()
            near = (self.impostor.highest_below(by_far), self.genuine.highest_below(by_tar))
            edges = np.unique(np.concatenate((*near, edges[-1:])))
        edges = np.concatenate((first, edges))[::-1]
        far, tar = (scores.above(edges) / max(scores.total, 1) for scores in (self.impostor, self.genuine))
        return Curve(edges * STEP, far, tar)

    def _share(self, scores: ScoreCounts, edge: int) -> float:
        return float(scores.above(edge) / scores.before[-1]) if scores.total else 0.0

    def _equal_error_edge(self) -> int:
        """FAR - FRR falls with the threshold, so that bisection finds where it changes its sign."""

        genuine, impostor = self.genuine.total, self.impostor.total

        def excess(edge: int) -> int:
            """FAR - FRR times both numbers of pairs: whole numbers, so that equal differences are equal."""
            refused = genuine - int(self.genuine.above(edge))
            return int(self.impostor.above(edge)) * genuine - refused * impostor

        low = int(min(self.genuine.level[0], self.impostor.level[0])) - 1
        high = int(max(self.genuine.level[-1], self.impostor.level[-1]))
        edge = _last_where(lambda edge: excess(edge) >= 0, low, high)
        return edge if edge == high or excess(edge) < -excess(edge + 1) else edge + 1


def _last_where(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The last of low..high for which `holds`, which is true at `low` and changes once at most."""
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _edge_of(threshold: float) -> int:
    return int(level_of(np.array([threshold], np.float64))[0])


def _checked(name: str, similarity: ArrayLike) -> np.ndarray:
    scores = np.asarray(similarity)
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    if scores.ndim != 1:
        raise InputError(f"{name} similarities have shape {scores.shape}; give one number per pair")
    if len(scores) == 0:
        raise InputError(f"there are no {name} pairs; give pairs of the same identity and of different ones")
    bad = ~np.isfinite(scores)
    if bad.any():
        raise InputError(
            f"{bad.sum()} of {len(scores)} {name} similarities are NaN or infinite, the first in row {bad.argmax()}"
        )
    return scores
