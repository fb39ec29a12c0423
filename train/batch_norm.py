"""Batch norm over the images of all processes, so that the network normalises as one process would.

Shapes: N images of this process, C channels, any number of further dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from ..mining.errors import InputError


def synchronize(network: nn.Module, device: torch.device, prefix: str = "") -> None:
    """Replace every batch norm of `network` by one that takes its moments over all processes, in place.

    The new modules hold the same parameters and buffers under the same names. On CUDA they are torch's own
    (`nn.SyncBatchNorm`, not run on a GPU here); it has none for other devices, so there they are the one below. What
    timm's batch norms do after it, they still do.

    Raises:
        InputError: a batch norm of another class, which may do more than one that could stand in for it.
    """
    for name, child in network.named_children():
        if isinstance(child, _BatchNorm) and not isinstance(child, nn.SyncBatchNorm | SynchronizedBatchNorm):
            new = _like(child, nn.SyncBatchNorm if device.type == "cuda" else SynchronizedBatchNorm)
            if type(child).__module__.startswith("timm.") and hasattr(child, "act"):  # BatchNormAct2d
                new.drop, new.act = child.drop, child.act
                new.register_forward_hook(_drop_and_activate)
            elif type(child) not in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
                raise InputError(
                    f"the network's {prefix + name!r} is a {type(child).__name__}, a batch norm of its own kind, whose moments cannot be "
                    "taken over several processes; set train.sync_batch_norm=false and pretrain.sync_batch_norm=false"
                )
            setattr(network, name, new)
        else:
            synchronize(child, device, f"{prefix}{name}.")


def _drop_and_activate(norm: Any, _: Any, output: Tensor) -> Tensor:
    return norm.act(norm.drop(output))


def _like(norm: _BatchNorm, kind: type[_BatchNorm]) -> _BatchNorm:
    new = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    new.weight, new.bias = norm.weight, norm.bias
    new.running_mean, new.running_var = norm.running_mean, norm.running_var
    new.num_batches_tracked = norm.num_batches_tracked
    return new.train(norm.training)


@contextmanager
def running_statistics_move(network: nn.Module, forward_passes: int) -> Iterator[None]:
    """Let so many forward passes move the running statistics as far as one would; with 0 they rest."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.momentum, norm.track_running_stats) for norm in norms]
    for norm in norms:
        if forward_passes == 0:
            norm.track_running_stats = False
        elif norm.momentum is not None:
            norm.momentum = 1 - (1 - norm.momentum) ** (1 / forward_passes)
    try:
        yield
    finally:
        for norm, (momentum, tracks) in zip(norms, before, strict=True):
            norm.momentum, norm.track_running_stats = momentum, tracks


class SynchronizedBatchNorm(_BatchNorm):
    """Batch norm in training with mean and variance of the images of all processes (Ioffe & Szegedy 2015).

    A process may have no images at all.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected [N, C, ...], got {list(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        output, mean_C, var_C, n = _Normalize.apply(input, self.weight, self.bias, self.eps)
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            factor = self.momentum
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
                if factor is None:
                    factor = 1 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean_C.to(self.running_mean), factor or 0.0)
            unbiased_C = var_C * (n / (n - 1).clamp(min=1))
            self.running_var.lerp_(unbiased_C.to(self.running_var), factor or 0.0)
        return output


class _Normalize(torch.autograd.Function):
    """weight · (x - mean) / sqrt(var + eps) + bias, its moments and slopes summed over processes."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_C: Tensor | None, bias_C: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        others = [0, *range(2, x.dim())]
        exact = x.double() if x.dtype == torch.float64 else x.float()
        rows = torch.full((1,), x.numel() / x.shape[1], dtype=exact.dtype, device=x.device)
        sums = torch.cat((exact.sum(others), rows))
        dist.all_reduce(sums)
        n = sums[-1]
        mean_C = sums[:-1] / n
        shape = [1, -1, *[1] * (x.dim() - 2)]
        squares_C = (exact - mean_C.view(shape)).square_().sum(others)
        dist.all_reduce(squares_C)
        var_C = squares_C / n
        ctx.save_for_backward(x, weight_C, mean_C, (var_C + eps).rsqrt(), n)
        output = functional.batch_norm(x, mean_C, var_C, weight_C, bias_C, training=False, eps=eps)
        ctx.mark_non_differentiable(mean_C, var_C, n)
        return output, mean_C, var_C, n

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, weight_C, mean_C, scale_C, n = ctx.saved_tensors
        others, shape = [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]
        slope = slopes[0].to(mean_C.dtype)
        unit = (x.to(mean_C.dtype) - mean_C.view(shape)) * scale_C.view(shape)
        own_bias_C, own_weight_C = slope.sum(others), (slope * unit).sum(others)
        sums = torch.stack((own_bias_C, own_weight_C))
        dist.all_reduce(sums)
        bias_C, along_C = sums / n
        slope = slope - bias_C.view(shape) - unit * along_C.view(shape)
        factor_C = scale_C if weight_C is None else scale_C * weight_C
        to_x = (slope * factor_C.view(shape)).to(x.dtype)
        return (
            to_x,
            None if weight_C is None else own_weight_C.to(weight_C.dtype),
            None if weight_C is None else own_bias_C.to(weight_C.dtype),
            None,
        )
