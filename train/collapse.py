"""Collapse of a triplet network, the most frequent failure of its kind: seen early, and what to do then.

When hard negatives outweigh what the network can tell apart, pulling everything into one point pays: every
distance becomes 0, and the loss rests at the margin (softplus: at ln 2) with a gradient of zero. It looks
like slow learning in a log of losses, so the mean distance of all pairs is watched beside it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from ..mining.errors import InputError
from .devices import numbers_of
from .losses.loss import EmbeddingLoss, Rung
from .losses.unit_length import normalized
from .training_config import CollapseConfig

NEAR = 0.05
"""The loss rests when its mean over a window is within this share of its value at collapse."""
FALLEN = 0.5
"""Distances have fallen when their mean over a window is below this share of the largest mean of a batch."""

LEARNING_RATE_RUNGS = (0.3, 0.1, 0.03)


class Collapse(NamedTuple):
    """What was seen over the last window."""

    loss: float
    rest: float
    """The loss of a collapsed network."""
    distance: float
    """Mean squared distance of all pairs of a batch, 0 to 4."""
    peak: float
    """The largest such mean of any batch so far."""

    def __str__(self) -> str:
        return (
            f"the embeddings collapse: the loss rests at {self.loss:.3f} (of one point it is {self.rest:.3f}) "
            f"and the mean distance fell from {self.peak:.3g} to {self.distance:.3g}"
        )


def mean_distance(embeddings_BD: Tensor) -> Tensor:
    """Mean squared distance of all pairs of different rows as unit vectors: (2 - 2·|mean|²) · B/(B-1). O(B · D)."""
    B = len(embeddings_BD)
    return (2 - 2 * normalized(embeddings_BD.detach()).mean(dim=0).square().sum()) * B / max(1, B - 1)


class CollapseGuard:
    """Watches a training, and softens its loss and learning rate rung by rung.

    A collapse is a window of steps whose mean loss rests at the value of one point while the mean distance
    has fallen below half of the largest seen. The rungs are those of the loss (of batch OHNM: k = max(10, 3k)
    negatives; semi-hard negatives only), then the learning rate times 0.3, 0.1, 0.03. What was softened stays so.

    Args:
        loss: softened in place.
    """

    def __init__(self, loss: EmbeddingLoss, config: CollapseConfig) -> None:
        self.config = config
        self.rest = loss.collapsed_value if config.action != "off" else None
        self.lr_factor = 1.0
        self.level = 0
        self.peak = 0.0
        self.sound_step = 0
        """Weights of this step or an earlier one are sound: a whole window after it was, too."""
        self.softened_step = 0
        """Where the latest rung was taken."""
        self._window_step = 0
        self._rungs = [*loss.rungs(), *map(self._lower_rate, LEARNING_RATE_RUNGS)]
        self._losses: list[Tensor | float] = []
        self._distances: list[Tensor | float] = []

    @property
    def goes_back(self) -> bool:
        """Whether a collapse is answered by going back to sound weights."""
        return self.rest is not None and self.config.action in ("soften", "stop")

    def add(self, step: int, loss: Tensor | None, distance: Tensor | None) -> Collapse | None:
        """Take one step's loss and mean distance (None: nothing was learned); say where a window ends in collapse.

        Args:
            step: steps done, this one included.
        """
        if self.rest is None or loss is None or distance is None:
            return None
        self._losses.append(loss)
        self._distances.append(distance)
        if len(self._losses) < self.config.window:
            return None
        losses, distances = numbers_of(self._losses), numbers_of(self._distances)
        self._losses, self._distances = [], []
        self.peak = max(self.peak, *distances)
        seen = Collapse(_mean(losses), self.rest, _mean(distances), self.peak)
        if abs(seen.loss - self.rest) <= NEAR * self.rest and seen.distance < FALLEN * self.peak:
            return seen
        self.sound_step, self._window_step = self._window_step, step
        return None

    def go_back(self, state: dict[str, Any]) -> None:
        """Forget the distances that were reached after a `state()`, whose weights the training goes back to."""
        self.peak = state.get("peak", 0.0)

    def soften(self, step: int) -> str | None:
        """Take the next rung and say which; None where the ladder has no more."""
        if self.level == len(self._rungs):
            return None
        name, take = self._rungs[self.level]
        take()
        self.level += 1
        self.sound_step = self._window_step = self.softened_step = step
        return name

    def state(self) -> dict[str, Any]:
        """Everything that a resumed training needs, as JSON has it; the level alone where nothing is watched."""
        if self.rest is None:
            return {"level": self.level} if self.level else {}
        return {
            "level": self.level,
            "peak": self.peak,
            "sound_step": self.sound_step,
            "softened_step": self.softened_step,
            "window_step": self._window_step,
            "losses": numbers_of(self._losses),
            "distances": numbers_of(self._distances),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a `state()`, taking its rungs again; {} is the beginning."""
        self.inherit(state)
        self._window_step = state.get("window_step", 0)
        self.sound_step, self.softened_step = state.get("sound_step", 0), state.get("softened_step", 0)

    def inherit(self, state: dict[str, Any]) -> None:
        """Begin a round where the `state()` of the last one ended: its rungs, its peak, its unfinished window."""
        self.climb(state.get("level", 0))
        self.peak = state.get("peak", 0.0)
        self._losses, self._distances = list(state.get("losses", [])), list(state.get("distances", []))

    def climb(self, level: int) -> None:
        """Take the rungs up to `level`.

        Raises:
            InputError: there are fewer.
        """
        if level > len(self._rungs):
            raise InputError(
                f"the checkpoint was softened {level} times, but this loss can be {len(self._rungs)} times"
            )
        while self.level < level:
            self.soften(0)

    def _lower_rate(self, factor: float) -> Rung:
        return Rung(f"learning rate x {factor}", lambda: setattr(self, "lr_factor", factor))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
