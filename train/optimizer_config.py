"""Settings of the optimiser and of staged unfreezing; no torch."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ..mining.settings import Settings


class UnfreezeConfig(Settings):
    """Fine-tuning in stages: which part of a pretrained network trains when."""

    head_steps: Annotated[int, Field(ge=0)] | Literal["all"] = Field(
        default=0, description="first steps of the run, in which the head alone trains; all: for ever"
    )
    block_steps: int = Field(
        default=0,
        ge=0,
        description="from then on the next lower block joins every so many steps; 0: all blocks at once",
    )

    @property
    def active(self) -> bool:
        """Whether anything is ever frozen."""
        return self.head_steps != 0 or self.block_steps > 0

    def stage_at(self, step: int) -> int | None:
        """How many blocks below the head train at `step` of the run (from 0); None: all."""
        if self.head_steps == "all" or step < self.head_steps:
            return 0
        return 1 + (step - self.head_steps) // self.block_steps if self.block_steps else None


class OptimizerConfig(Settings):
    """How weights move."""

    name: Literal["adamw", "sgd", "adagrad"] = Field(
        default="adamw", description="adamw, sgd with Nesterov momentum, or adagrad"
    )
    lr: float = Field(
        default=1e-3,
        gt=0,
        description="peak learning rate: search it before anything else (adamw: the small network takes 0.016, see "
        "BENCHMARKS.md; sgd: about 0.02 to 0.1; adagrad: 0.01)",
    )
    body_lr_factor: float = Field(
        default=1.0,
        gt=0,
        description="the network below its head learns at this share of lr; 0.1 is usual where it is pretrained",
    )
    head: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="modules of the network that are its head, by name; null: its last linear layer and what follows",
    )
    weight_decay: float = Field(
        default=5e-4, ge=0, description="on matrices and kernels, not on biases or norms"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd")
    schedule: Literal["cosine", "step", "poly", "constant"] = Field(
        default="cosine",
        description="after the warm-up: down to zero over the whole run (cosine, poly), in steps, or level",
    )
    milestones: tuple[float, ...] = Field(
        default=(0.5, 0.75, 0.9), description="of step: shares of the run after which the rate falls"
    )
    step_factor: float = Field(
        default=0.1, gt=0, le=1, description="of step: what each milestone multiplies the rate with"
    )
    power: float = Field(default=2.0, gt=0, description="of poly: lr * (share of the run left) ** power")
    warmup_steps: int = Field(
        default=100, ge=0, description="steps over which lr rises from zero, once a run"
    )
    clip_norm: float | None = Field(
        default=None, gt=0, description="largest gradient norm; null: no clipping"
    )
    unfreeze: UnfreezeConfig = UnfreezeConfig()

    @field_validator("milestones")
    @classmethod
    def _milestones_rise(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < share < 1 for share in shares) or any(a >= b for a, b in pairwise(shares)):
            raise ValueError("milestones are rising shares of the run, between 0 and 1, such as [0.5,0.75]")
        return shares
