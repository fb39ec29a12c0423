"""Everything that a training step changes, and how weights move once their gradients are there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from . import distributed
from .networks.backbone import Backbone
from .running_means import RunningMeans

LOST = "the weights hold NaN or infinity: lower the learning rate or lengthen its warm-up"


@dataclass
class TrainingState:
    """What a checkpoint of a training under way holds."""

    network: Backbone
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    """Over the parameters of both."""
    ema: AveragedModel | None = None
    """Averaged weights and buffers (Polyak averaging by an exponential mean); see `averaged`."""
    scaler: torch.amp.GradScaler | None = None
    """Scales the loss of fp16 training, so that small gradients do not vanish."""
    running: RunningMeans | None = None
    """Takes in the embeddings of every step."""

    def for_training(self, device: torch.device) -> tuple[Backbone, nn.Module, torch.optim.Optimizer]:
        """Network and loss in training mode and on `device`, and the optimiser."""
        self.network.train().to(device)
        self.loss.train().to(device)
        return self.network, self.loss, self.optimizer

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss to take gradients of."""
        return loss if self.scaler is None else self.scaler.scale(loss)

    def problem(self, step: int) -> str | None:
        """What is wrong where the weights after `step` steps are not all numbers; waits for the device.

        A step whose loss is finite can still lose them. Sums hold no copy of a weight: NaN and infinity show in them.
        """
        weights = [*self.network.parameters(), *self.loss.parameters()]
        weights += list(self.ema.parameters()) if self.ema is not None else []
        weights += [
            statistics
            for module in self.network.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
            for statistics in (module.running_mean, module.running_var)
            if statistics is not None
        ]
        sums = [weight.detach().sum(dtype=torch.float32) for weight in weights if weight.is_floating_point()]
        if not sums or torch.stack([total.to(sums[0].device) for total in sums]).isfinite().all():
            return None
        return f"step {step}: {LOST}"

    def update(self, clip_norm: float | None) -> None:
        """Move the weights by their gradients, of norm `clip_norm` at most, and the averaged weights after them."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if clip_norm is not None:
            _clip([p for group in self.optimizer.param_groups for p in group["params"]], clip_norm)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.ema is not None:
            self.ema.update_parameters(self.network)


def averaged(network: Backbone, decay: float) -> AveragedModel:
    """An average of the weights and of batch norm's statistics that begins at those of `network`."""
    ema = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    ema.n_averaged.fill_(1)  # at 0 the first update would throw the beginning away
    return ema


def _clip(parameters: list[nn.Parameter], clip_norm: float) -> None:
    """Scale all gradients so that their joint norm, over the shards of all processes, is at most `clip_norm`."""
    if not any(map(distributed.is_shard, parameters)):
        nn.utils.clip_grad_norm_(parameters, clip_norm)
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    squares = [p.grad.float().square().sum() for p in parameters if p.grad is not None]
    shards = [distributed.is_shard(p) for p in parameters if p.grad is not None]
    zero = squares[0].new_zeros(())
    in_shards = sum((s for s, shard in zip(squares, shards, strict=True) if shard), zero)
    elsewhere = sum((s for s, shard in zip(squares, shards, strict=True) if not shard), zero)
    norm = (distributed.summed(in_shards) + elsewhere).sqrt()
    for gradient in gradients:
        gradient.mul_((clip_norm / (norm + 1e-6)).clamp(max=1))
