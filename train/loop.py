"""The training loop: next batch, embed, mine, loss, step.

The loop is a generator. Between two records everything (weights, optimiser, losses with state) is
consistent, so the caller logs, saves and stops there, and the loop knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from ..mining.device_copies import to_device
from ..mining.randomness import derived_seed
from . import distributed
from .collapse import mean_distance
from .data.batches import ImageBatch
from .data.shares import by_all_or_none, readable_images
from .devices import backward_products, settled
from .monitoring.phase_clock import Phases
from .network_pass import NetworkPass
from .optimizer_config import OptimizerConfig
from .optimizers import learning_rate, set_learning_rates
from .step_record import StepImages, StepRecord, named_by_step
from .training_config import LoaderConfig
from .training_state import TrainingState
from .unfreezing import Unfreezing


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
    before_step: Callable[[StepImages], None] | None = None,
) -> Iterator[StepRecord]:
    """Train on `batches`, one record a step; with the other processes, where there are several.

    Args:
        state: everything that a step changes; the network's batch norms are replaced where they are synchronised.
        labels_of: number of the batch and image ids int64[b] -> labels int[b].
        first_step: steps that the learning-rate schedule has behind it when batch 0 of this plan begins.
        total_steps: length of the schedule.
        unfreezing: of the network; decides by the step of the run which of its parameters train.
        phases: takes the time of data, forward, loss (with its mining), backward, running means and update.
        seed: dropout is a function of (seed, first_step + batch step), so a resumed run draws the same.
        last_step: the number of the last batch, after which no gradient is left waiting for more.
        before_step: hears which images can be read before anything changes, and ends the training by raising.

    Raises:
        InputError: what reading a batch met, in this process or another.
    """
    network, loss, optimizer = state.for_training(device)
    arithmetic = settled(device, config.precision, config.channels_last)
    passes = NetworkPass(
        network,
        device,
        arithmetic=arithmetic,
        sync_batch_norm=config.sync_batch_norm,
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
        if before_step is not None:
            before_step(StepImages(batch.step, planned, len(image_id), batch.bad))
        value = statistics = distance = embeddings = labels = None
        if len(image_id) >= 2:
            with phases("data"):
                named = torch.from_numpy(labels_of(batch.step, image_id)).to(torch.int64)
                labels = to_device(named, device)
            if unfreezing is not None and unfreezing.apply(global_step):
                passes.trainable_has_changed()
            with phases("forward"), named_by_step(batch.step):
                own = passes.forward(
                    batch.images, planned, len(image_id), derived_seed(seed, "dropout", global_step)
                )
                embeddings = distributed.gathered(own, start, len(image_id))
            with phases("loss"), named_by_step(batch.step):
                value = loss(embeddings, named)  # on the CPU, so that nothing waits for the device
                shown, distance = distributed.as_first(value.detach(), mean_distance(embeddings))
                statistics = getattr(loss, "statistics", None)
            with phases("backward"), backward_products(arithmetic.precision):
                if waiting == 0:
                    optimizer.zero_grad(set_to_none=True)
                state.scaled(value / config.accumulate).backward()
                passes.backward()
            waiting += 1
            value, embeddings = shown, embeddings.detach()
            if state.running is not None:
                with phases("means"):
                    state.running.update(embeddings, labels)
        updated = (batch.step + 1) % config.accumulate == 0 or batch.step == last_step
        if updated and waiting:
            with phases("update"):
                set_learning_rates(optimizer, lr)
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
