"""Optimisers by name, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import nn

from ..mining.settings import Settings
from .networks.backbone import Backbone
from .networks.head import head_parameters
from .unfreezing import UnfreezeConfig


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


def build_optimizer(modules: list[nn.Module], config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser over all parameters of `modules` that train at any time; build it before any are frozen.

    Parameters that a network holds still by itself (`requires_grad` is off when it is built) are left out. Those
    frozen later are in: without a gradient they rest, and they need no other optimiser when their turn comes.

    Checkpoints keep the state by a parameter's number, which is a function of `modules` alone: first all with two or
    more dimensions, then the others, each in the order of `modules` and of definition. Groups are runs of neighbours
    with the same weight decay and the same `lr_factor`, see `set_learning_rates`; settings move their borders only.

    Raises:
        InputError: `body_lr_factor` or `head` is given, and a network has no such head.
    """
    rated = [(p, factor) for module in modules for p, factor in _with_lr_factor(module, config)]
    decaying = [(p, config.weight_decay, factor) for p, factor in rated if p.ndim >= 2]
    others = [(p, 0.0, factor) for p, factor in rated if p.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": [p for p, _, _ in run], "weight_decay": decay, "lr_factor": factor}
        for (decay, factor), run in groupby([*decaying, *others], key=lambda rated: rated[1:])
    ]
    if config.name == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=config.lr)
    elif config.name == "adagrad":
        optimizer = torch.optim.Adagrad(groups, lr=config.lr)
        optimizer.register_step_pre_hook(_sums_follow_parameters)
    else:
        nesterov = config.momentum > 0
        optimizer = torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov)
    set_learning_rates(optimizer, config.lr)
    return optimizer


def set_learning_rates(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group of `optimizer` its share of `lr`: `lr_factor`, or all of it where a group has none."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_factor", 1.0)


def learning_rate(config: OptimizerConfig, step: int, total_steps: int) -> float:
    """The learning rate of `step` (from 0) in a run of `total_steps`: linear warm-up, then the schedule.

    cosine lr/2 · (1 + cos(πt)) and poly lr · (1 - t)^power have t rise from 0 after the warm-up to 1 at the end; step
    multiplies by `step_factor` at each of the `milestones`, which are shares of all `total_steps`.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "step":
        # The quotient is rounded like a literal: step 55 of 100 is at 0.55, while 0.55 * 100 is above 55.
        passed = sum(step / max(1, total_steps) >= share for share in config.milestones)
        return config.lr * config.step_factor**passed
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    if config.schedule == "poly":
        return config.lr * (1 - min(1.0, progress)) ** config.power
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _with_lr_factor(module: nn.Module, config: OptimizerConfig) -> Iterator[tuple[nn.Parameter, float]]:
    """The trainable parameters with their share of the learning rate; a loss's own weights have all of it."""
    divided = isinstance(module, Backbone) and (config.body_lr_factor != 1 or config.head is not None)
    head = head_parameters(module, config.head) if divided else frozenset()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            yield parameter, config.body_lr_factor if divided and name not in head else 1.0


def _sums_follow_parameters(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Torch makes AdaGrad's sums when it is built; a network moved to a GPU afterwards leaves them behind."""
    for parameter, state in optimizer.state.items():
        state["sum"] = state["sum"].to(parameter)
