"""What a training will take, said before it begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ...mining.machine import RESERVE, memory_with, peak_memory
from ...train import distributed
from ...train.checkpoint import saving_seconds
from ...train.data.images import ImageStore
from ...train.data.settings import AugmentConfig
from ...train.devices import pick_device, settled
from ...train.networks.backbone import Backbone
from ...train.networks.layer_memory import training_bytes
from ...train.optimizer_config import OptimizerConfig
from ...train.optimizers import build_optimizer
from ...train.speed import LoadedWork, change_seconds, decode_seconds, step_speed
from ...train.training_config import LoaderConfig
from ...train.workers import loader_bytes, worker_count
from ..console import amount
from ..estimates.estimate import Estimate
from ..options import Options


class TrainingWork(NamedTuple):
    """What a training takes."""

    loaded: LoadedWork
    saving: float
    """Seconds in which its states are written and, at first, what they begin with is read."""
    weights: int
    """Bytes of the weights of network and loss."""
    memory: float
    """Bytes of this process and its loader processes; on a GPU without what lies there."""
    disk: float
    """Bytes of three states: that of the end, and while a newer one is written that and the one before."""
    steps: int
    images_per_batch: float
    """On average; repeats, which are embedded once, not counted."""

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self.loaded.seconds + self.saving

    def estimate(self, whose: str = "") -> Estimate:
        """In a line, `whose` before it."""
        return Estimate(
            f"{whose}{self.steps:,} steps of about {self.images_per_batch:,.0f} images",
            self.seconds,
            f"{self.loaded.slow_decoding}, {amount(self.memory)} of memory, of which {amount(4 * self.weights)} of weights, "
            f"gradients and optimiser state, {amount(self.disk)} of disk",
        )


def training_work(
    network: Backbone,
    loss: Callable[[], nn.Module],
    loader: LoaderConfig,
    optimizer: OptimizerConfig,
    augment: AugmentConfig,
    options: Options,
    *,
    steps: int,
    P: int,
    images_per_batch: float,
    store: ImageStore,
    sample: np.ndarray,
    folder: Path,
    beside: float = 0.0,
    saved_beside: float = 0.0,
) -> TrainingWork:
    """What a training takes, from a few steps that are timed here and the decoding of some images.

    Args:
        network: a copy, which is changed.
        loss: makes a copy of the loss, whose labels may be 0..P-1. Left out where several processes train, since those
            would have to meet in it.
        images_per_batch: as `TrainingWork` has it.
        sample: image ids, int64[n], of which some are decoded.
        folder: an existing one, on the disk that states are written to.
        beside: bytes of memory that the training takes beside network, loss, optimiser and batches.
        saved_beside: bytes of a saved state beside those of network, loss and optimiser.
    """
    count, device = distributed.count(), pick_device(options.device)
    own = max(2, round(images_per_batch / count))
    changing = change_seconds(augment, network.input, device, own)
    learned = loss() if count == 1 else None
    modules: list[nn.Module] = [network, *([learned] if learned is not None else [])]
    speed = step_speed(
        network,
        learned,
        build_optimizer(modules, optimizer),
        device,
        settled(device, loader.precision, loader.channels_last),
        torch.arange(round(images_per_batch)) % P,
        min(own, loader.chunk_size or own),
    )
    twice = 4 / 3 if loader.chunk_size is not None and loader.chunk_size < own else 1  # forward once more
    compute = steps * (own * (speed.image * twice + changing) + speed.batch)
    decode = steps * own * decode_seconds(store, sample, network.input)
    work = LoadedWork(compute, decode, worker_count(loader.num_workers, device), device)
    weights = sum(parameter.numel() for module in modules for parameter in module.parameters()) * 4
    # the timed steps made the weights, their gradients, the optimiser's state and the whole loss: all in the peak so far
    layers = 0.0
    if device.type == "cpu":
        layers = training_bytes(network) * min(own, loader.chunk_size or own)
    # 4: weights and state once more as they are saved; and a step that does not fit where the timed ones had been
    beside += layers + loader_bytes(work.num_workers, own, network.input) + 4 * weights
    memory = memory_with(beside) + (RESERVE - 1) * peak_memory()
    state = 3 * weights + saved_beside  # the optimiser keeps two numbers for each weight
    # What it begins with is read; the first state, those on the way and the last are written.
    passes = 3 + steps // loader.save_every
    saving = passes * saving_seconds(folder, state)
    return TrainingWork(work, saving, weights, memory, 3 * state, steps, images_per_batch)
