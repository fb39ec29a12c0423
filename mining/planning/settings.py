"""What a batch is made of: settings of the plan, and the named strategies as points of one family."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from ..settings import Settings

Strategy = Literal["mixed", "custom", "random", "subspace", "doppelganger", "graph"]


class Draw(NamedTuple):
    """How a batch is drawn."""

    group_size: int
    """g: a seed and its g-1 nearest identities."""
    random_fraction: float
    """Share of the batch that is drawn from all identities; 1: batches have no subspace."""


def draw_of(
    strategy: Strategy, P: int, group_size: int | None = None, random_fraction: float | None = None
) -> Draw:
    """Return what a strategy means for batches of P identities; numbers that are given refine it.

        strategy      g            random_fraction
        mixed         any, or 8    below 1, or 0.75; a smaller g where 8 do not fit
        custom        any, or 1    any, or 0
        random        1            1
        subspace      1            below 1, or 0
        doppelganger  2..8, or 4   below 1, or 0
        graph         P            0

    Raises:
        ValueError: a number that is given contradicts the strategy.
    """
    usual_share = {"mixed": 0.75, "random": 1.0}.get(strategy, 0.0)
    share = usual_share if random_fraction is None else random_fraction
    lowest, usual, highest = {
        "mixed": (1, max(1, min(8, round((1 - share) * P))), None),
        "custom": (1, 1, None),
        "random": (1, 1, 1),
        "subspace": (1, 1, 1),
        "doppelganger": (2, 4, 8),
        "graph": (P, P, P),
    }[strategy]
    g = usual if group_size is None else group_size
    if g < lowest or (highest is not None and g > highest):
        has = f"{lowest}" if lowest == highest else f"{lowest} to {highest}"
        raise ValueError(
            f"plan.group_size={g} contradicts plan.strategy={strategy}, which has {has}; "
            f"set plan.group_size=null or plan.strategy=custom"
        )
    fixed = strategy in ("random", "graph")
    if (fixed and share != usual_share) or (strategy in ("mixed", "subspace", "doppelganger") and share == 1):
        has = f"{usual_share:.0f}" if fixed else "less than 1"
        raise ValueError(
            f"plan.random_fraction={share} contradicts plan.strategy={strategy}, which has {has}; "
            f"set plan.random_fraction=null or plan.strategy=custom"
        )
    return Draw(g, share)


class PlanConfig(Settings):
    """What a batch is made of.

    Example:
        >>> from subspace.mining import PlanConfig
        >>> PlanConfig(P=128).draw
        Draw(group_size=8, random_fraction=0.75)
        >>> PlanConfig(strategy="subspace").draw
        Draw(group_size=1, random_fraction=0.0)
    """

    steps: int = Field(
        default=1000, ge=1, description="batches in a round; clusters are renewed after each round"
    )
    P: int = Field(default=128, ge=2, description="identities in a batch")
    K: int = Field(default=2, ge=1, description="images of each identity in a batch")
    strategy: Strategy = Field(
        default="mixed",
        description="mixed (g=8, 75 % random), random, subspace, doppelganger (g=4), graph (g=P), or custom: as the "
        "next two say",
    )
    group_size: int | None = Field(
        default=None,
        ge=1,
        description="g: a seed and its g-1 nearest identities of the subspace; null: the strategy's, or 1 where that is custom",
    )
    random_fraction: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of the batch drawn from all identities; null: the strategy's, or 0 where that is custom",
    )
    order: Literal["interleaved", "sequential"] = Field(
        default="interleaved", description="batches of all subspaces shuffled, or subspace after subspace"
    )
    locality_window: int | None = Field(
        default=None,
        ge=1,
        description="with order=sequential: seeds in manifest order, shuffled within this many batches; null: wholly",
    )
    singletons: Literal["negatives_only", "drop", "augment"] = Field(
        default="negatives_only",
        description="identities with one image: negatives only, left out, or augmented into pairs",
    )
    duplicates: Literal["together", "apart"] = Field(
        default="together",
        description="suspected duplicates (duplicates.parquet): in a batch like any two, or apart, never each other's "
        "negatives; together while the network is young, since it suspects many that are not",
    )
    max_images: int | None = Field(
        default=None,
        ge=1,
        description="at most this many images of an identity serve in a round; each round draws anew; null: all",
    )
    max_appearances: int | None = Field(
        default=None,
        ge=1,
        description="an identity is in at most this many batches of a pass, its own turn included; null: no limit",
    )

    @property
    def draw(self) -> Draw:
        """Group size and random share, as the strategy and the numbers given say."""
        return draw_of(self.strategy, self.P, self.group_size, self.random_fraction)

    @property
    def seeds_per_batch(self) -> int:
        """Groups in a batch; the rest of the batch, P - g · seeds, is drawn from all identities."""
        g, share = self.draw
        return min(self.P // g, round((1 - share) * self.P / g))

    @model_validator(mode="after")
    def _a_group_fits(self) -> PlanConfig:
        g, share = self.draw
        if self.seeds_per_batch == 0 and share < 1:
            raise ValueError(
                f"plan.group_size={g} does not fit into the {1 - share:.0%} of plan.P={self.P} "
                f"that plan.random_fraction={share} leaves; set a larger plan.P, or a lower plan.random_fraction"
            )
        return self

    @model_validator(mode="after")
    def _windows_are_of_a_sequence(self) -> PlanConfig:
        if self.locality_window is not None and self.order != "sequential":
            raise ValueError(
                f"plan.locality_window={self.locality_window} needs plan.order=sequential, not {self.order}"
            )
        return self

    @model_validator(mode="after")
    def _appearances_fill_the_batches(self) -> PlanConfig:
        mean = self.P / (self.seeds_per_batch or self.P)
        if self.max_appearances is not None and self.max_appearances < mean:
            raise ValueError(
                f"plan.max_appearances={self.max_appearances} is too low: a pass with plan.P={self.P} and "
                f"plan.group_size={self.draw.group_size} shows every identity {mean:.1f} times on average"
            )
        return self
