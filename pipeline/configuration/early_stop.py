"""Which round is the best so far, and when to stop for want of a better one, by a metric of the validation."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, field_validator

from ...mining.settings import Settings

LESS_IS_BETTER = ("EER",)
"""Metrics of which less is better; of all others more is."""


class EarlyStopConfig(Settings):
    """Which round is the best, and when to stop for want of a better one: by the validation identities alone."""

    metric: str = Field(
        default="Rank-1",
        description="metric of validation.json, such as Rank-1 or TAR@FAR=1e-3; more is better",
    )
    patience: int | None = Field(
        default=None, ge=1, description="stop after this many rounds in a row without a gain; null: never"
    )
    min_delta: float = Field(
        default=0.0, ge=0, lt=1, description="what a round must add to count as a gain, e.g. 0.005 of Rank-1"
    )

    @field_validator("metric")
    @classmethod
    def _more_is_better(cls, name: str) -> str:
        if name in LESS_IS_BETTER:
            raise ValueError(
                f"less {name} is better, and this wants a metric of which more is; give TAR@FAR=1e-3"
            )
        return name

    def stops_after(self, values: Sequence[float]) -> bool:
        """Whether these values, of the start and each round so far, are the end."""
        return self.patience is not None and rounds_without_gain(values, self.min_delta) >= self.patience


def best_of(values: Sequence[float]) -> int:
    """The index of the highest value; of equal ones the first round's, before the start's (index 0).

    >>> best_of([1.0, 1.0, 1.0]), best_of([0.9, 0.8])
    (1, 0)
    """
    return max(range(len(values)), key=lambda index: (values[index], index > 0, -index))


def rounds_without_gain(values: Sequence[float], min_delta: float) -> int:
    """How many values in a row, up to the last, have not gained on the last one that did.

    A value gains if it is above the one that gained last by more than `min_delta`; the first gains always. So
    small steps add up until they are a gain.
    """
    level, since = values[0], 0
    for value in values[1:]:
        if value > level + min_delta:
            level, since = value, 0
        else:
            since += 1
    return since
