"""The training loop: next batch, embed, mine, loss, step.

The loop is a generator. Between two records everything (weights, optimiser, losses with state) is
consistent, so the caller logs, saves and stops there, and the loop knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ..mining.randomness import derived_seed
from ..mining.settings import Settings
from . import distributed
from .collapse import CollapseConfig, mean_distance
from .data.batches import AugmentConfig, ImageBatch
from .data.images import BadImage
from .data.shares import by_all_or_none, readable_images
from .embedder import Precision
from .losses.batch_ohnm import TripletStatistics
from .losses.building import DEFAULT_ARGS
from .monitoring.phase_clock import Phases
from .monitoring.trackers import TrackerName
from .network_pass import NetworkPass
from .optimizers import OptimizerConfig, learning_rate, set_learning_rates
from .training_state import TrainingState
from .unfreezing import Unfreezing


class LoaderConfig(Settings):
    """What every training of a network shares."""

    precision: Precision = Field(
        default="32-true",
        description="32-true, or autocast to bf16-mixed or 16-mixed (fp16, with a scaled loss)",
    )
    chunk_size: int | None = Field(
        default=None,
        ge=4,
        description="images that a process embeds at a time, for large batches on small memory, up to a third slower: the "
        "same gradients, except that batch norm sees the chunks; null: its whole share",
    )
    accumulate: int = Field(
        default=1, ge=1, description="batches whose gradients are averaged for one step of the optimiser"
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay of the averaged weights that extraction and evaluation then use, e.g. 0.999; null: none",
    )
    channels_last: bool = Field(
        default=False, description="memory layout; faster on GPUs with mixed precision"
    )
    compile: bool = Field(
        default=False, description="torch.compile the network; the first steps take minutes longer"
    )
    sync_batch_norm: bool = Field(
        default=True, description="with several processes, batch norm over the images of all of them"
    )
    num_workers: int = Field(
        default=1,
        ge=0,
        description="processes that read and decode images, for each training process; 0: that one itself",
    )
    log_every: int = Field(default=20, ge=1, description="steps between lines of metrics.jsonl")
    save_every: int = Field(default=500, ge=1, description="steps between checkpoints to resume from")
    save_minutes: float | None = Field(
        default=None, gt=0, description="also save when so much time has passed since the last checkpoint"
    )
    keep_last: int = Field(
        default=1, ge=1, description="checkpoints on the way that are kept; more than 1: also after the end"
    )
    trackers: tuple[TrackerName, ...] = Field(
        default=("tensorboard",), description="where metrics.jsonl is also shown: tensorboard, wandb, mlflow"
    )
    pictures_every: int = Field(
        default=500,
        ge=0,
        description="steps between looks at a batch (similarities, hardest triplets); 0: none",
    )


class TrainConfig(LoaderConfig):
    """One round of training on a plan."""

    loss: str = Field(
        default="multi_similarity",
        description="a loss, or a sum such as batch_ohnm + 0.5*arcface; see README",
    )
    loss_args: dict[str, dict[str, Any]] = Field(
        default=DEFAULT_ARGS,
        description="settings of each loss, by its name",
    )
    collapse: CollapseConfig = CollapseConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    augment: AugmentConfig = AugmentConfig()


@dataclass(frozen=True)
class StepRecord:
    """What one step did. Tensors stay on the device: reading one waits for the step to finish."""

    step: int
    lr: float
    images: int
    """Readable images of the whole batch."""
    bad: list[BadImage]
    """The unreadable ones that this process met."""
    loss: Tensor | None
    """None where fewer than two images of the batch were readable, so nothing was learned."""
    statistics: TripletStatistics | None
    distance: Tensor | None = None
    """Mean squared distance of all pairs of the batch, 0 to 4; near 0 where embeddings collapse."""
    bad_elsewhere: int = 0
    """Unreadable images that the other processes met."""
    updated: bool = True
    """Whether the weights have moved by all gradients so far; only then a checkpoint holds everything."""
    batch: ImageBatch | None = None
    """The images of this process; of process 0 they are the first rows of `embeddings`."""
    embeddings: Tensor | None = None
    """float32[b, D] of the whole batch, detached; not of unit length."""
    labels: Tensor | None = None
    """int64[b] of the whole batch."""

    @property
    def unreadable(self) -> int:
        """Unreadable images of the whole batch."""
        return len(self.bad) + self.bad_elsewhere


def train_steps(
    state: TrainingState,
    batches: Iterable[ImageBatch],
    labels_of: Callable[[int, np.ndarray], np.ndarray],
    optimizer_config: OptimizerConfig,
    config: LoaderConfig,
    *,
    first_step: int,
    total_steps: int,
    device: torch.device,
    seed: int,
    last_step: int | None = None,
    unfreezing: Unfreezing | None = None,
    phases: Phases | None = None,
) -> Iterator[StepRecord]:
    """Train on `batches`, one record a step; with the other processes, where there are several.

    Args:
        state: everything that a step changes; the network's batch norms are replaced where they are synchronised.
        labels_of: number of the batch and image ids int64[b] -> labels int[b].
        first_step: steps that the learning-rate schedule has behind it when batch 0 of this plan begins.
        total_steps: length of the schedule.
        unfreezing: of the network; decides by the step of the run which of its parameters train.
        phases: takes the time of data, forward, loss (with its mining), backward and update.
        seed: dropout is a function of (seed, first_step + batch step), so a resumed run draws the same.
        last_step: the number of the last batch, after which no gradient is left waiting for more.

    Raises:
        InputError: what reading a batch met, in this process or another.
    """
    network, loss, optimizer = state.for_training(device)
    passes = NetworkPass(
        network,
        device,
        precision=config.precision,
        sync_batch_norm=config.sync_batch_norm,
        channels_last=config.channels_last,
        chunk_size=config.chunk_size,
        compiled=config.compile,
    )
    waiting = 0
    phases = phases or Phases(device)
    for batch in by_all_or_none(phases.over("data", batches)):
        global_step = first_step + batch.step
        lr = learning_rate(optimizer_config, global_step, total_steps)
        image_id, start, planned = batch.image_id, 0, len(batch.image_id) + len(batch.bad)
        if batch.share is not None:
            image_id, start = readable_images(batch.share)
            planned = len(batch.share.planned)
        value = statistics = distance = embeddings = labels = None
        if len(image_id) >= 2:
            labels = torch.from_numpy(labels_of(batch.step, image_id)).to(device, torch.int64)
            if unfreezing is not None and unfreezing.apply(global_step):
                passes.trainable_has_changed()
            with phases("forward"):
                own = passes.forward(
                    batch.images, planned, len(image_id), derived_seed(seed, "dropout", global_step)
                )
                embeddings = distributed.gathered(own, start, len(image_id))
            with phases("loss"):
                value = loss(embeddings, labels)
            with phases("backward"):
                if waiting == 0:
                    optimizer.zero_grad(set_to_none=True)
                state.scaled(value / config.accumulate).backward()
                passes.backward()
            waiting += 1
            embeddings = embeddings.detach()
            value, distance = distributed.as_first(value.detach(), mean_distance(embeddings))
            statistics = getattr(loss, "statistics", None)
            if state.running is not None:
                state.running.update(embeddings, labels)
        updated = (batch.step + 1) % config.accumulate == 0 or batch.step == last_step
        if updated and waiting:
            set_learning_rates(optimizer, lr)
            with phases("update"):
                state.update(optimizer_config.clip_norm)
            waiting = 0
        yield StepRecord(
            batch.step,
            lr,
            len(image_id),
            batch.bad,
            value,
            statistics,
            distance,
            planned - len(image_id) - len(batch.bad),
            updated,
            batch,
            embeddings,
            labels,
        )
