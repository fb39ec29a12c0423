"""Collapse of a network, the most frequent failure of its kind: seen early, and what to do then.

When hard negatives outweigh what the network can tell apart, pulling everything into one point pays: every
distance becomes 0, and the loss rests with a gradient of zero: a triplet loss at its margin (softplus: at ln 2), one
that takes semi-hard negatives alone at 0, a class loss where all classes are as likely. It looks like slow learning in a
log of losses, so the mean distance of all pairs is watched, whatever the loss.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from ..mining.errors import InputError, StoppedEarly
from .devices import numbers_of
from .losses.loss import EmbeddingLoss, Rung
from .losses.unit_length import normalized
from .training_config import CollapseConfig

NEAR = 0.05
"""The loss rests when its mean over a window is within this share of its value at collapse."""
FALLEN = 0.5
"""With the loss at rest, distances have fallen when their mean over a window is below this share of the peak."""
FALLEN_FAR = 0.05
"""Whatever the loss, they have when it is below this share of the peak and below `NARROW`."""
NARROW = 0.05
"""A mean squared distance at which the mean cosine of two images is 0.975."""
ONE_POINT = 1e-5
"""Embeddings are one point below this, which rounding to bfloat16 alone leaves; also where they never were further apart."""
GROWING = 1.5
"""Distances that grow by this from the first half of a window to the second leave the point: no collapse."""
ROUNDING = 1e-6
"""Below it a mean distance is what float32 makes of 0."""

LEARNING_RATE_RUNGS = (0.3, 0.1, 0.03)


class Collapse(NamedTuple):
    """What was seen over the last window."""

    loss: float
    rest: float | None
    """The loss of a collapsed network; None where it is not known."""
    distance: float
    """Mean squared distance of all pairs of a batch, 0 to 4."""
    peak: float
    """The largest such mean of any batch so far."""

    @property
    def rests(self) -> bool:
        """Whether the loss is that of one point, and distances have fallen."""
        rest, fallen = self.rest, self.distance < FALLEN * self.peak
        return rest is not None and abs(self.loss - rest) <= NEAR * rest and fallen

    @property
    def fell(self) -> bool:
        """Whether distances have fallen so far that the loss does not matter."""
        return self.distance < min(FALLEN_FAR * self.peak, NARROW)

    def __str__(self) -> str:
        fallen = f"the mean distance fell from {self.peak:.3g} to {self.distance:.3g}"
        if self.rests:
            rest = f"the loss rests at {self.loss:.3f} (of one point it is {self.rest:.3f})"
            return f"the embeddings collapse: {rest} and {fallen}"
        if self.fell:
            return f"the embeddings collapse: {fallen}, with a loss of {self.loss:.3f}"
        return (
            f"the embeddings are one point: the mean distance of all pairs is {max(0, self.distance):.1g} and was never "
            f"above {self.peak:.1g}, with a loss of {self.loss:.3f}, so the network tells no two images apart"
        )


def mean_distance(embeddings_BD: Tensor) -> Tensor:
    """Mean squared distance of all pairs of different rows as unit vectors: (2 - 2·|mean|²) · B/(B-1). O(B · D)."""
    B = len(embeddings_BD)
    return (2 - 2 * normalized(embeddings_BD.detach()).mean(dim=0).square().sum()) * B / max(1, B - 1)


class CollapseGuard:
    """Watches a training, and softens its loss and learning rate rung by rung.

    A collapse is a window of steps in which the mean distance of all pairs

    - has fallen below half of the largest seen, while the mean loss rests at the value of one point, or
    - has fallen below a twentieth of it, and below 0.05, whatever the loss, or
    - is what rounding leaves of 0, from the first step on,

    and does not grow. The rungs are those of the loss (of batch OHNM: k = max(10, 3k) negatives; semi-hard negatives
    only), then the learning rate times 0.3, 0.1, 0.03. What was softened stays so.

    Args:
        loss: softened in place.
    """

    def __init__(self, loss: EmbeddingLoss, config: CollapseConfig) -> None:
        self.config = config
        self.rest = loss.collapsed_value
        self.lr_factor = 1.0
        self.level = 0
        self.peak = 0.0
        self.collapses = 0
        """Windows of this training that ended in collapse."""
        self.ended = False
        """Whether the weights at hand are those of a collapse, or those that the training began with."""
        self.sound_step = 0
        """Weights of this step or an earlier one are sound: a whole window after it was, too."""
        self.softened_step = 0
        """Where the latest rung was taken."""
        self._window_step = 0
        self._rungs = [*loss.rungs(), *map(self._lower_rate, LEARNING_RATE_RUNGS)]
        self._losses: list[Tensor | float] = []
        self._distances: list[Tensor | float] = []

    @property
    def watches(self) -> bool:
        """Whether anything is looked at."""
        return self.config.action != "off"

    @property
    def goes_back(self) -> bool:
        """Whether a collapse is answered by going back to sound weights."""
        return self.config.action in ("soften", "stop")

    @property
    def speaks(self) -> bool:
        """Whether the latest collapse is worth a line: the first, second, fourth, eighth, ... of a training is."""
        return self.collapses & (self.collapses - 1) == 0

    def add(self, step: int, loss: Tensor | None, distance: Tensor | None) -> Collapse | None:
        """Take one step's loss and mean distance (None: nothing was learned); say where a window ends in collapse.

        Args:
            step: steps done, this one included.
        """
        if not self.watches or loss is None or distance is None:
            return None
        self._losses.append(loss)
        self._distances.append(distance)
        if len(self._losses) < self.config.window:
            return None
        seen = self._look(whole=True)
        self._losses, self._distances = [], []
        if seen is None:
            self.sound_step, self._window_step = self._window_step, step
            self.ended = False
        return seen

    def at_end(self) -> Collapse | None:
        """Say whether the steps since the last whole window, the last of the training, are a collapse by their distances."""
        if not self._losses or (seen := self._look(whole=False)) is None:
            return None
        self._losses, self._distances = [], []
        return seen

    def _look(self, *, whole: bool) -> Collapse | None:
        losses, distances = numbers_of(self._losses), numbers_of(self._distances)
        self.peak = max(self.peak, *distances)
        seen = Collapse(_mean(losses), self.rest, _mean(distances), self.peak)
        narrow = (seen.fell or seen.distance < ONE_POINT) and not _grow(distances)
        if not (narrow or (whole and seen.rests)):
            return None
        self.collapses += 1
        self.ended = True
        return seen

    def go_back(self, state: dict[str, Any], step: int) -> None:
        """Forget the distances that were reached after a `state()` of `step`, whose weights the training goes back to."""
        self.ended = step == 0 or self.peak < ONE_POINT
        self.peak = state.get("peak", 0.0)

    def stopped_at(self, step: int) -> str:
        """What a training that stops for a collapse says, with the weights of `step` kept."""
        if self.level == len(self._rungs):
            return (
                f"it was softened {self.level} times, which is all that there is; the weights of step {step} are kept: "
                "set train.optimizer.lr lower and begin the round again, or try another loss"
            )
        return (
            f"the weights of step {step} are kept: the same command continues from them, with "
            "train.collapse.action=soften if you like, or set a lower train.optimizer.lr and begin the round again"
        )

    def summary(self) -> dict[str, int]:
        """How many windows ended in collapse, where any did; for the marker of the training."""
        return {"collapses": self.collapses} if self.collapses else {}

    def refuse_end(self, what: str, section: str) -> None:
        """Refuse to call a training done that ends in a collapse, or with the weights that it began with because of one.

        Args:
            what: the training, as messages call it. section: its settings, such as `train`.

        Raises:
            StoppedEarly: it does; what it has come to is saved.
        """
        if self.watches and self.ended:
            raise StoppedEarly(
                f"{what} is not done: its embeddings collapsed and nothing that it learned is left; set "
                f"{section}.optimizer.lr lower and begin it again, or train.collapse.action=off to take it as it is"
            )

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
        if not self.watches:
            return {"level": self.level} if self.level else {}
        return {
            "level": self.level,
            "peak": self.peak,
            "sound_step": self.sound_step,
            "softened_step": self.softened_step,
            "window_step": self._window_step,
            "losses": numbers_of(self._losses),
            "distances": numbers_of(self._distances),
            **({"collapses": self.collapses, "ended": self.ended} if self.collapses else {}),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a `state()`, taking its rungs again; {} is the beginning."""
        self.inherit(state)
        self._window_step = state.get("window_step", 0)
        self.sound_step, self.softened_step = state.get("sound_step", 0), state.get("softened_step", 0)
        self.collapses, self.ended = state.get("collapses", 0), state.get("ended", False)

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


def _grow(distances: list[float]) -> bool:
    half = len(distances) // 2
    return half > 0 and _mean(distances[half:]) > max(GROWING * _mean(distances[:half]), ROUNDING)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
