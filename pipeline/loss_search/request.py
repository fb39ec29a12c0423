"""What a search for a loss is asked for; without torch, so that a wrong option is refused at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...mining.errors import InputError
from ...train.loss_search.spaces import MOST_EXPONENT, MOST_MARGIN, Space, SpaceName
from ...train.training_config import check_whole_updates

SPACES: tuple[SpaceName, ...] = ("am-lfs", "search-softmax")
MOST_SCALE: Mapping[SpaceName, float] = {"am-lfs": 1e4, "search-softmax": MOST_EXPONENT / MOST_MARGIN}
"""Beyond the second a float does not hold the a of every margin."""

OPTIONS = ("space", "bins", "scale", "epochs", "candidates", "steps", "sigma", "random", "eta")
"""The fields of a request, which are called as its options."""


@dataclass(frozen=True)
class Request:
    """The options of `subspace search-loss`, checked."""

    space: Space
    epochs: int
    candidates: int
    """B, in each epoch."""
    steps: int | None
    """In an epoch; None: as many as the plan has for each."""
    sigma: float
    eta: float
    learns: bool
    """Whether the mean moves; otherwise every epoch draws from the same Gaussian."""

    @classmethod
    def checked(
        cls, space: str, *, bins: int, scale: float, epochs: int, candidates: int, steps: int | None,
        sigma: float, eta: float, learns: bool,
    ) -> Request:  # fmt: skip
        """Check the options.

        Raises:
            InputError: an unknown space, or a number that is out of range.
        """
        known: dict[str, SpaceName] = {name: name for name in SPACES}
        if space not in known:
            raise InputError(f"--space {space} is unknown; choose from {', '.join(SPACES)}")
        for option, value, low, high in (
            ("--scale", scale, 1e-3, MOST_SCALE[known[space]]),
            ("--sigma", sigma, 1e-6, 10),
            ("--eta", eta, 0, 10),
        ):
            if not (math.isfinite(value) and low <= value <= high):
                raise InputError(f"{option} {value:g} must be a number from {low:g} to {high:g}")
        if candidates < 2 and learns:
            raise InputError(
                "--candidates 1 teaches nothing: rewards are compared within an epoch; give 2 or more"
            )
        return cls(Space(known[space], bins, scale), epochs, candidates, steps, sigma, eta, learns)

    def steps_of(self, plan: int, accumulate: int = 1) -> int:
        """Steps of an epoch, where the plan has so many batches.

        Args:
            accumulate: batches of one update of the network, `train.accumulate`; an epoch ends with an update.

        Raises:
            InputError: the plan has too few, or `--steps` are no whole updates.
        """
        fitting = plan // self.epochs // accumulate * accumulate
        steps = max(accumulate, fitting) if self.steps is None else self.steps
        check_whole_updates(steps, accumulate)
        if steps * self.epochs > plan:
            few = "a batch" if accumulate == 1 else f"{accumulate:,} batches (train.accumulate)"
            raise InputError(
                f"{self.epochs} epochs of {steps:,} steps are {self.epochs * steps:,}, but the plan has {plan:,} batches: give "
                f"--steps {fitting} or fewer --epochs, or plan more (plan.steps)"
                if fitting
                else f"{self.epochs} epochs need {few} each, but the plan has {plan:,}: give fewer --epochs"
            )
        return steps

    def fields(self, steps: int) -> Mapping[str, Any]:
        """What a search's results depend on, of the options."""
        return {
            "space": self.space.name,
            **({"bins": self.space.bins} if self.space.name == "am-lfs" else {}),
            "scale": self.space.scale,
            "epochs": self.epochs,
            "candidates": self.candidates,
            "steps": steps,
            "sigma": self.sigma,
            **({"eta": self.eta} if self.learns else {"random": True}),
        }
