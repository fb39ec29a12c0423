"""A small training that one process or several can do; for `several_processes.run_in`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from subspace.train import distributed
from subspace.train.data.batches import ImageBatch
from subspace.train.data.shares import BatchShare
from subspace.train.loop import train_steps
from subspace.train.losses.building import TrainingSet, build_loss
from subspace.train.networks.backbone import Backbone, ImageInput
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.optimizers import build_optimizer
from subspace.train.training_config import LoaderConfig
from subspace.train.training_state import ExponentialAverage, TrainingState

IDENTITIES, IMAGES = 9, 3
"""In a batch; 27 images, so that the shares of 2 and of 4 processes are unequal."""
CLASSES = 40

FIRST_SHARE = (0, 1, 2, 3, 4, 5, 6, 20)
"""Places in a batch; where they are unreadable, the first process of four has no image left."""


class Layers(nn.Module):
    """Two kinds of batch norm, and layers that no loss of a gradient goes unseen in."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.linear = nn.Sequential(nn.Flatten(), nn.Linear(6 * 36, 8), nn.BatchNorm1d(8))

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.convolution(images))


class WithoutBatchNorm(Layers):
    """The same, but that no image sees another."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution[1] = nn.Identity()
        self.linear[2] = nn.Identity()


def batches(steps: range, unreadable: Sequence[int] = (), total: int | None = None) -> Iterator[ImageBatch]:
    """This process's share of a batch a step; noisy copies of patterns."""
    patterns = np.random.default_rng(0).integers(0, 256, (CLASSES, 3, 8, 8))
    for step in steps:
        random = np.random.default_rng(step + 1)
        label = np.repeat(random.permutation(CLASSES)[:IDENTITIES], IMAGES)[:total]
        pixels = patterns[label] + random.normal(0, 90, (len(label), 3, 8, 8))
        images = torch.from_numpy(np.clip(pixels, 0, 255).astype(np.uint8))
        image_id = label * 1000 + np.arange(len(label))
        good = np.ones(len(label), bool)
        good[list(unreadable)] = False
        if distributed.count() == 1:
            yield ImageBatch(step, image_id[good], images[good], [])
            continue
        own = distributed.share(len(label), distributed.rank(), distributed.count())
        share = BatchShare(image_id, own.start, good[own])
        yield ImageBatch(step, image_id[own][good[own]], images[own][good[own]], [], share)


def training_set() -> TrainingSet:
    random = torch.Generator().manual_seed(3)
    means = nn.functional.normalize(torch.randn(CLASSES, 8, generator=random), dim=1)
    return TrainingSet.from_means(means, torch.arange(CLASSES) % 4, 0)


def new_state(
    loss: str, arguments: dict[str, Any], optimizer: OptimizerConfig, body: type[nn.Module]
) -> TrainingState:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Backbone(body(), spec="tiny", input=ImageInput(8), embedding_size=8)
    built = build_loss(loss, arguments, training_set())
    return TrainingState(network, built, build_optimizer([network, built], optimizer))


def train(
    loss: str,
    arguments: dict[str, Any],
    steps: int,
    *,
    optimizer: dict[str, Any] | None = None,
    engine: dict[str, Any] | None = None,
    body: type[nn.Module] = Layers,
    unreadable: Sequence[int] = (),
    ema: float | None = None,
    first: int = 0,
    images: int | None = None,
) -> tuple[list[float], dict[str, Tensor]]:
    """The losses, and all weights and buffers at the end, shards put together."""
    optimizer_config = OptimizerConfig.model_validate(
        {"schedule": "constant", "warmup_steps": 0, **(optimizer or {})}
    )
    state = new_state(loss, arguments, optimizer_config, body)
    if ema is not None:
        state.ema = ExponentialAverage(state.network, ema)
    records = train_steps(
        state,
        batches(range(first, first + steps), unreadable, images),
        lambda step, image_id: image_id // 1000,
        optimizer_config,
        LoaderConfig.model_validate(engine or {}),
        first_step=0,
        total_steps=steps,
        device=torch.device("cpu"),
        seed=0,
        last_step=first + steps - 1,
    )
    values = [float(record.loss) for record in records if record.loss is not None]
    found = {f"network.{name}": tensor for name, tensor in state.network.state_dict().items()}
    for name, tensor in state.loss.state_dict(keep_vars=True).items():
        found[f"loss.{name}"] = (
            distributed.whole_shard(tensor, tensor) if distributed.is_shard(tensor) else tensor
        )
    if state.ema is not None:
        found |= {f"ema.{name}": tensor for name, tensor in state.ema.module.state_dict().items()}
    return values, {name: tensor.detach().clone() for name, tensor in found.items()}


GRADIENT = {"name": "sgd", "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0}
"""One step of it moves the weights by their gradient."""


def gradients_of(
    cases: dict[str, tuple[str, dict[str, Any]]], settings: dict[str, Any] | None = None
) -> dict[str, dict[str, Tensor]]:
    """By case, where one step takes all weights and buffers."""
    return {
        name: train(*case, 1, **{"optimizer": GRADIENT, **(settings or {})})[1]
        for name, case in cases.items()
    }


def curves_of(
    cases: dict[str, tuple[str, dict[str, Any]]], steps: int, settings: dict[str, Any]
) -> dict[str, list[float]]:
    """By case, the loss of every step."""
    return {name: train(*case, steps, **settings)[0] for name, case in cases.items()}
