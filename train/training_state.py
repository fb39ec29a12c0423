"""Everything that a training step changes, and how weights move once their gradients are there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from . import distributed
from .networks.backbone import Backbone
from .running_means import RunningMeans

SPARSE = ".sparse"
"""Ended the name of a momentum that torch's SGD kept sparse, in files of earlier versions, which hold it dense."""
KEPT = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
    torch.optim.Adagrad: {"step", "sum"},
    torch.optim.SGD: {"momentum_buffer"},
}
"""What each optimiser keeps of a parameter; SGD nothing where it has no momentum."""
LOST = "the weights hold NaN or infinity: lower the learning rate or lengthen its warm-up"


@dataclass
class TrainingState:
    """What a checkpoint of a training under way holds."""

    network: Backbone
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    """Over the parameters of both."""
    ema: ExponentialAverage | None = None
    """Averaged weights and buffers (Polyak averaging by an exponential mean)."""
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


class ExponentialAverage(AveragedModel):
    """An average of the weights and of batch norm's statistics that begins at those of `network`.

    Torch's own update copies its count to the GPU at every step, and waits for it.
    """

    def __init__(self, network: Backbone, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self.decay = decay
        self.n_averaged.fill_(1)  # the beginning is one of those averaged

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Go towards the weights as they are: decay · average + (1 - decay) · weights; numbers of batches are taken over."""
        averages, weights = ([*one.parameters(), *one.buffers()] for one in (self.module, model))
        floats = [place for place, own in enumerate(averages) if own.is_floating_point()]
        others = [place for place, own in enumerate(averages) if not own.is_floating_point()]
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            [averages[place] for place in floats], [weights[place] for place in floats], 1 - self.decay
        )
        if others:
            torch._foreach_copy_(  # pyright: ignore[reportPrivateImportUsage]
                [averages[place] for place in others], [weights[place] for place in others]
            )
        self.n_averaged += 1


def _clip(parameters: list[nn.Parameter], clip_norm: float) -> None:
    """Scale all gradients so that their joint norm, over the shards of all processes, is at most `clip_norm`."""
    for p in parameters:
        if p.grad is not None and p.grad.is_sparse:
            p.grad = p.grad.coalesce()  # a row that is named twice has one gradient
    apart = [p for p in parameters if distributed.is_shard(p) or (p.grad is not None and p.grad.is_sparse)]
    if not apart:
        nn.utils.clip_grad_norm_(parameters, clip_norm)
        return
    gradients = [p.grad.values() if p.grad.is_sparse else p.grad for p in parameters if p.grad is not None]
    squares = [gradient.float().square().sum() for gradient in gradients]
    shards = [distributed.is_shard(p) for p in parameters if p.grad is not None]
    zero = squares[0].new_zeros(())
    in_shards = sum((s for s, shard in zip(squares, shards, strict=True) if shard), zero)
    elsewhere = sum((s for s, shard in zip(squares, shards, strict=True) if not shard), zero)
    norm = (distributed.summed(in_shards) + elsewhere).sqrt()
    for gradient in gradients:
        gradient.mul_((clip_norm / (norm + 1e-6)).clamp(max=1))


def on_cpu(tensor: Tensor, like: Tensor) -> Tensor:
    """A copy, whole where `like` is a shard; in all processes but 0, which write nothing, meaningless and no copy."""
    if distributed.is_shard(like):
        tensor = distributed.whole_shard(tensor, like)
    if distributed.rank():
        return tensor.detach()
    # clone: safetensors refuses tensors that share memory (tied weights)
    return tensor.detach().cpu().contiguous().clone()


def own_rows(whole: Tensor, like: Tensor) -> Tensor:
    """The rows of a whole tensor that this process holds of the parameter `like`."""
    return whole[distributed.shard_rows(like)] if distributed.is_shard(like) else whole


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """In the order that numbers them in the optimiser's state."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def flat_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors as files hold them: `PARAMETER.NAME`, on the CPU, shards put together."""
    parameters = _parameters(optimizer)
    return {
        f"{index}.{name}": on_cpu(value, parameters[index] if value.ndim else value)
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def load_flat_state(optimizer: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    """Load what `flat_state` gave.

    Raises:
        ValueError: it is of other parameters, or of another optimiser.
    """
    known = next((names for kind, names in KEPT.items() if isinstance(optimizer, kind)), None)
    parameters = _parameters(optimizer)
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        index, _, name = key.partition(".")
        if not index.isdecimal() or int(index) >= len(parameters):
            raise ValueError(f"{key} of optimizer.safetensors is of no parameter")
        if known is not None and name.removesuffix(SPARSE) not in known:
            raise ValueError(f"{key} of optimizer.safetensors is of another optimiser")
        own = own_rows(value, parameters[int(index)]) if value.ndim else value
        if own.ndim and own.shape != parameters[int(index)].shape:
            raise ValueError(f"{key} of optimizer.safetensors is {list(value.shape)}")
        state.setdefault(int(index), {})[name.removesuffix(SPARSE)] = own
    if len({frozenset(values) for values in state.values()}) > 1:
        raise ValueError("optimizer.safetensors does not hold the same for every parameter")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
