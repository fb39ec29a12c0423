"""Optimisers by name, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from ..mining.errors import InputError
from .networks.backbone import Backbone
from .networks.head import head_parameters
from .optimizer_config import OptimizerConfig


def build_optimizer(modules: list[nn.Module], config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser over all parameters of `modules` that train at any time; build it before any are frozen.

    Parameters that a network holds still by itself (`requires_grad` is off when it is built) are left out. Those
    frozen later are in: without a gradient they rest, and they need no other optimiser when their turn comes.

    Checkpoints keep the state by a parameter's number, which is a function of `modules` alone: first all with two or
    more dimensions, then the others, each in the order of `modules` and of definition. Groups are runs of neighbours
    with the same weight decay and the same `lr_factor`, see `set_learning_rates`; settings move their borders only.

    Raises:
        InputError: `body_lr_factor` or `head` is given, and a network has no such head; or weight decay of adagrad meets a
            loss with `sparse_gradient`.
    """
    sparse = any(getattr(own, "sparse_gradient", False) for module in modules for own in module.modules())
    if sparse and config.name == "adagrad" and config.weight_decay:
        raise InputError(
            "optimizer.name=adagrad with sparse_gradient=true: weight decay would move all classes; set "
            "optimizer.weight_decay=0, or take adamw or sgd"
        )
    rated = [(p, factor) for module in modules for p, factor in _with_lr_factor(module, config)]
    decaying = [(p, config.weight_decay, factor) for p, factor in rated if p.ndim >= 2]
    others = [(p, 0.0, factor) for p, factor in rated if p.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": [p for p, _, _ in run], "weight_decay": decay, "lr_factor": factor}
        for (decay, factor), run in groupby([*decaying, *others], key=lambda rated: rated[1:])
    ]
    if config.name == "adamw":
        optimizer = RowAdamW(groups, lr=config.lr)
    elif config.name == "adagrad":
        optimizer = torch.optim.Adagrad(groups, lr=config.lr)
        optimizer.register_step_pre_hook(_sums_follow_parameters)
    else:
        nesterov = config.momentum > 0
        optimizer = RowSGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov)
    set_learning_rates(optimizer, config.lr)
    return optimizer


class _MovesRows(torch.optim.Optimizer):
    """Moves the rows of sparse gradients by `_move_rows`, and what has a dense gradient as the optimiser beside it does."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move all parameters that have a gradient."""
        in_rows = [
            (group, parameter, parameter.grad)
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None and parameter.grad.is_sparse
        ]
        for _, parameter, _ in in_rows:
            parameter.grad = None
        value = super().step(closure)
        for group, parameter, gradient in in_rows:
            parameter.grad = gradient
            self._move_rows(group, parameter, gradient.coalesce())
        return value

    def _move_rows(self, group: dict[str, Any], parameter: nn.Parameter, gradient: Tensor) -> None:
        raise NotImplementedError


class RowSGD(_MovesRows, torch.optim.SGD):
    """SGD that moves only the rows of a sparse gradient, and leaves all else of such a parameter as it is.

    Weights and momentum of the other rows rest, as in Partial FC (An et al. 2022). Torch's own SGD moves every row that
    ever had a gradient, and keeps a momentum that grows with each step.

    >>> weight = nn.Parameter(torch.ones(3, 2))
    >>> optimizer = RowSGD([weight], lr=0.5)
    >>> weight.grad = torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (3, 2), check_invariants=True)
    >>> optimizer.step()
    >>> print(weight[:, 0].tolist())
    [1.0, 0.5, 1.0]
    """

    def _move_rows(self, group: dict[str, Any], parameter: nn.Parameter, gradient: Tensor) -> None:
        rows = gradient.indices()[0]
        slope = gradient.values().to(parameter) + group["weight_decay"] * parameter[rows]
        if momentum := group["momentum"]:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            mean = state["momentum_buffer"][rows].mul_(momentum).add_(slope)
            state["momentum_buffer"].index_copy_(0, rows, mean)
            slope = slope.add_(mean, alpha=momentum) if group["nesterov"] else mean
        parameter.index_copy_(0, rows, parameter[rows].add_(slope, alpha=-group["lr"]))


class RowAdamW(_MovesRows, torch.optim.AdamW):
    """AdamW that moves only the rows of a sparse gradient, and leaves all else of such a parameter as it is.

    Weights and moments of the other rows rest, as in Partial FC (An et al. 2022); the bias correction counts the steps
    of the whole parameter, as there. What has a dense gradient moves as in AdamW. Checkpoints are AdamW's.

    >>> weight = nn.Parameter(torch.ones(3, 2))
    >>> optimizer = RowAdamW([weight], lr=0.5, weight_decay=0)
    >>> weight.grad = torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (3, 2), check_invariants=True)
    >>> optimizer.step()
    >>> print(weight[:, 0].tolist())
    [1.0, 0.5, 1.0]
    """

    def _move_rows(self, group: dict[str, Any], parameter: nn.Parameter, gradient: Tensor) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)  # on the CPU, as AdamW has it
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        steps, (first, second), lr = int(state["step"]), group["betas"], group["lr"]
        rows, slope = gradient.indices()[0], gradient.values().to(parameter)
        mean = state["exp_avg"][rows].lerp_(slope, 1 - first)
        square = state["exp_avg_sq"][rows].mul_(second).addcmul_(slope, slope, value=1 - second)
        width = (square / (1 - second**steps)).sqrt_().add_(group["eps"])
        moved = parameter[rows].mul_(1 - lr * group["weight_decay"])
        moved.addcdiv_(mean, width, value=-lr / (1 - first**steps))
        for whole, own in ((state["exp_avg"], mean), (state["exp_avg_sq"], square), (parameter, moved)):
            whole.index_copy_(0, rows, own)


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
