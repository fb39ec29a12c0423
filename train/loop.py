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
from torch import Tensor, nn

from ..mining.randomness import derived_seed
from ..mining.settings import Settings
from .backbones import Backbone
from .collapse import CollapseConfig, mean_distance
from .embedder import Precision, autocast
from .images import BadImage
from .optimizers import OptimizerConfig, learning_rate
from .phases import Phases
from .planned_batches import AugmentConfig, ImageBatch
from .running_means import RunningMeans
from .trackers import TrackerName
from .triplet_loss import TripletStatistics


class LoaderConfig(Settings):
    """What every pass over training images shares."""

    precision: Precision = Field(default="32-true", description="32-true, or bf16-mixed (autocast)")
    num_workers: int = Field(
        default=1, ge=0, description="processes that read and decode images; 0: the training process"
    )
    log_every: int = Field(default=20, ge=1, description="steps between lines of metrics.jsonl")
    save_every: int = Field(default=500, ge=1, description="steps between checkpoints to resume from")
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
        default="batch_ohnm", description="a loss, or a sum such as batch_ohnm + 0.5*arcface; see README"
    )
    loss_args: dict[str, dict[str, Any]] = Field(
        default={"batch_ohnm": {"margin": 0.3, "negatives": 3}},
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
    bad: list[BadImage]
    loss: Tensor | None
    """None where fewer than two images of the batch were readable, so nothing was learned."""
    statistics: TripletStatistics | None
    distance: Tensor | None = None
    """Mean squared distance of all pairs of the batch, 0 to 4; near 0 where embeddings collapse."""
    embeddings: Tensor | None = None
    """float32[b, D], detached; not of unit length."""
    labels: Tensor | None = None
    """int64[b]."""
    batch: ImageBatch | None = None
    """The images, of the first rows of `embeddings`."""


def train_steps(
    network: Backbone,
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[ImageBatch],
    labels_of: Callable[[np.ndarray], np.ndarray],
    config: OptimizerConfig,
    *,
    first_step: int,
    total_steps: int,
    device: torch.device,
    precision: Precision,
    seed: int,
    running: RunningMeans | None = None,
    phases: Phases | None = None,
) -> Iterator[StepRecord]:
    """Train on `batches`, one record a step.

    Args:
        loss: called as loss(embeddings[b, D], labels[b]); its parameters, if any, are in `optimizer`.
        labels_of: image ids int64[b] -> labels int[b].
        first_step: steps that the learning-rate schedule has behind it when batch 0 of this plan begins.
        total_steps: length of the schedule.
        running: takes in the embeddings of every step.
        phases: takes the time of data, forward, loss (with its mining), backward and update.
        seed: dropout is a function of (seed, first_step + batch step), so a resumed run draws the same.
    """
    network.train().to(device)
    loss.train().to(device)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    phases = phases or Phases(device)
    for batch in phases.over("data", batches):
        global_step = first_step + batch.step
        lr = learning_rate(config, global_step, total_steps)
        if len(batch.image_id) < 2:
            yield StepRecord(batch.step, lr, len(batch.image_id), batch.bad, None, None)
            continue
        for group in optimizer.param_groups:
            group["lr"] = lr
        torch.manual_seed(derived_seed(seed, "dropout", global_step))
        labels = torch.from_numpy(labels_of(batch.image_id)).to(device, torch.int64)
        with phases("forward"), autocast(device, precision):
            embeddings = network(batch.images.to(device, non_blocking=True))
        with phases("loss"):
            value = loss(embeddings, labels)
        with phases("backward"):
            optimizer.zero_grad(set_to_none=True)
            value.backward()
        with phases("update"):
            if config.clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters, config.clip_norm)
            optimizer.step()
            if running is not None:
                running.update(embeddings, labels)
        yield StepRecord(
            batch.step,
            lr,
            len(labels),
            batch.bad,
            value.detach(),
            getattr(loss, "statistics", None),
            mean_distance(embeddings),
            embeddings.detach().float(),
            labels,
            batch,
        )
