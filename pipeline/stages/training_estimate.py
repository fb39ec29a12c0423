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
from ..estimates.estimate import Estimate, of_memory
from ..options import Options


class TrainingWork(NamedTuple):
    """What a training takes."""

    loaded: LoadedWork
    saving: float
    """Seconds in which its states are written and, at first, what they begin with is read."""
    weights: int
    """Bytes of the weights of network and loss, of those that processes share this one's."""
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
            f"{self.loaded.slow_decoding}, {of_memory(self.memory)}, of which {amount(4 * self.weights)} of weights, "
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
    places: Callable[[], np.ndarray] | None = None,
) -> TrainingWork:
    """What a training takes, from a few steps that are timed here and the decoding of some images.

    Args:
        network: a copy, which is changed.
        loss: makes a copy of the loss. Not timed where several processes train, since those would have to meet in it.
        images_per_batch: as `TrainingWork` has it.
        sample: image ids, int64[n], of which some are decoded.
        folder: an existing one, on the disk that states are written to.
        beside: bytes of memory that the training takes beside network, loss, optimiser and batches.
        saved_beside: bytes of a saved state beside those of network, loss and optimiser.
        places: int[b] of the images of a batch among the identities, for a loss whose labels are such; None: 0..P-1 do.
    """
    count, device = distributed.count(), pick_device(options.device)
    own = max(2, round(images_per_batch / count))
    changing = change_seconds(augment, network.input, device, own)
    learned = loss()
    labels = torch.arange(round(images_per_batch)) % P
    if places is not None and getattr(learned, "labels_are_places", False):
        labels = torch.from_numpy(places())
    alone = [learned] if count == 1 else []
    speed = step_speed(
        network,
        learned if alone else None,
        build_optimizer([network, *alone], optimizer),
        device,
        settled(device, loader.precision, loader.channels_last),
        labels,
        min(own, loader.chunk_size or own),
    )
    twice = 4 / 3 if loader.chunk_size is not None and loader.chunk_size < own else 1  # forward once more
    compute = steps * (own * (speed.image * twice + changing) + speed.batch)
    decode = steps * own * decode_seconds(store, sample, network.input)
    work = LoadedWork(compute, decode, worker_count(loader.num_workers, device), device)
    of_network, of_loss = (4 * sum(p.numel() for p in module.parameters()) for module in (network, learned))
    (body, statistics), (head, tables) = _saved_bytes(network), _saved_bytes(learned)
    averaged = 0 if loader.ema is None else body + statistics
    once = statistics + tables + averaged  # the optimiser keeps two numbers for each weight, none for these
    # the timed steps made the weights, their gradients, the optimiser's state and the whole loss: all in the peak so far
    if device.type == "cpu":
        beside += training_bytes(network) * min(own, loader.chunk_size or own) + averaged
        beside += 0 if alone else 3 * of_loss  # which no step was timed with
    # 4: weights and state once more as they are saved; and a step that does not fit where the timed ones had been
    beside += loader_bytes(work.num_workers, own, network.input) + 4 * (body + head) + once
    memory = memory_with(beside) + (RESERVE - 1) * peak_memory()
    state = 3 * (body + head) + once + saved_beside
    # What it begins with is read; the first state, those on the way and the last are written.
    passes = 3 + steps // loader.save_every
    saving = passes * saving_seconds(folder, state)
    return TrainingWork(work, saving, of_network + of_loss, memory, 3 * state, steps, images_per_batch)


def _saved_bytes(module: nn.Module) -> tuple[int, int]:
    """Bytes of the weights that a saved state has of a module, those of all processes, and of its buffers."""
    weights = buffers = 0
    for tensor in module.state_dict(keep_vars=True).values():
        if isinstance(tensor, nn.Parameter):
            weights += distributed.whole_bytes(tensor)
        else:
            buffers += tensor.nbytes
    return weights, buffers
