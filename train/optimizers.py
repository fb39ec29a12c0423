"""Optimisers by name, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from ..mining.settings import Settings


class OptimizerConfig(Settings):
    """How weights move."""

    name: Literal["adamw", "sgd"] = Field(default="adamw", description="adamw, or sgd with Nesterov momentum")
    lr: float = Field(default=1e-3, gt=0, description="peak learning rate (sgd: about 0.02 to 0.1)")
    weight_decay: float = Field(
        default=5e-4, ge=0, description="on matrices and kernels, not on biases or norms"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd")
    schedule: Literal["cosine", "constant"] = Field(
        default="cosine", description="after the warm-up: down to zero over the whole run, or level"
    )
    warmup_steps: int = Field(
        default=100, ge=0, description="steps over which lr rises from zero, once a run"
    )
    clip_norm: float | None = Field(
        default=None, gt=0, description="largest gradient norm; null: no clipping"
    )


def build_optimizer(modules: list[nn.Module], config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser over the trainable parameters of `modules`, in their order."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


def learning_rate(config: OptimizerConfig, step: int, total_steps: int) -> float:
    """The learning rate of `step` (from 0) in a run of `total_steps`: linear warm-up, then the schedule."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
