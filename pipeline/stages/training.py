"""The shell around the training loop: progress, metrics, checkpoints to resume from, a clean stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...mining.artifacts import displaced
from ...mining.errors import StoppedEarly
from ...train import distributed
from ...train.augmented_batches import augment_batches
from ...train.checkpoint_meta import CheckpointMeta
from ...train.collapse import Collapse, CollapseGuard
from ...train.data.batches import DecodedBatches, ImageBatch, load_batches
from ...train.data.device_copies import copied_ahead
from ...train.data.loader_processes import PATIENCE, ImagesStayedAway, Patience
from ...train.data.plan_reader import Plan
from ...train.devices import Arithmetic, peak_gpu_memory, settled
from ...train.loop import train_steps
from ...train.losses.loss import EmbeddingLoss
from ...train.monitoring.metrics_log import MetricsLog, in_words
from ...train.monitoring.phase_clock import Phases
from ...train.networks.backbone import Backbone
from ...train.optimizer_config import OptimizerConfig
from ...train.running_means import Staleness
from ...train.step_record import StepImages, StepRecord
from ...train.training_config import CollapseConfig, LoaderConfig
from ...train.training_state import ExponentialAverage, TrainingState
from ...train.unfreezing import Unfreezing
from ...train.workers import worker_count
from ..child_processes import orphaned
from ..console import counted
from ..faults.missing_in_training import MissingInTraining
from ..monitoring.training_curves import open_log
from ..options import Options
from .saved_states import SaveClock, SavedStates
from .stage import Stage
from .training_processes import training_device


@dataclass(frozen=True)
class Training:
    """Everything that one training on one plan needs."""

    stage: Stage
    plan: Plan
    dataset: DecodedBatches
    labels_of: Callable[[int, np.ndarray], np.ndarray]
    network: Backbone
    loss: EmbeddingLoss
    optimizer: torch.optim.Optimizer
    optimizer_config: OptimizerConfig
    loader: LoaderConfig
    meta: CheckpointMeta
    first_step: int
    """Where on the learning-rate schedule this plan begins."""
    total_steps: int
    """Length of the learning-rate schedule."""
    seed: int
    missing: MissingInTraining
    """Judges and counts the images that cannot be read; its counts are part of every checkpoint."""
    patience: Patience = PATIENCE
    begin_with: Path | None = None
    """Checkpoint whose optimiser and loss state this training takes over; None begins them afresh."""
    collapse: CollapseConfig | None = None
    """None: nothing is watched."""
    staleness: Staleness | None = None
    """Gathers running means, and ends the training where they say so; None: neither."""
    names_of: Callable[[np.ndarray], list[str]] | None = None
    """Image ids to names of identities, for pictures."""

    @cached_property
    def guard(self) -> CollapseGuard:
        """Watches for collapse; part of every checkpoint."""
        return CollapseGuard(self.loss, self.collapse or CollapseConfig(action="off"))

    @cached_property
    def unfreezing(self) -> Unfreezing:
        """Which parameters train at which step of the run."""
        return Unfreezing(self.network, self.optimizer_config.unfreeze, self.optimizer_config.head)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @cached_property
    def arithmetic(self) -> Arithmetic:
        """What the settings come to there."""
        return settled(self.device, self.loader.precision, self.loader.channels_last)

    @cached_property
    def num_workers(self) -> int:
        """How many processes decode ahead."""
        return worker_count(self.loader.num_workers, self.device)

    @cached_property
    def state(self) -> TrainingState:
        """What a step changes; made once network and loss are on their device."""
        device, config = self.device, self.loader
        if self.staleness is not None:
            self.staleness.running.keep_near(device)
        return TrainingState(
            self.network,
            self.loss,
            self.optimizer,
            ExponentialAverage(self.network, config.ema) if config.ema is not None else None,
            torch.amp.GradScaler(device.type) if self.arithmetic.precision == "16-mixed" else None,
            self.staleness.running if self.staleness else None,
        )

    @cached_property
    def states(self) -> SavedStates:
        """What is kept on disk."""
        meta = replace(self.meta, arithmetic={"device": self.device.type, **asdict(self.arithmetic)})
        return SavedStates(self.stage.folder.path, self.loader, meta, self.state, self.guard, self.missing)

    def run(self, options: Options) -> dict[str, Any]:
        """Train to the end of the plan and save; return the summary for the marker.

        Called by every process where there are several; process 0 writes and speaks.

        Raises:
            StoppedEarly: a signal came, the embeddings collapsed, or too many images are missing; what is sound is saved.
        """
        device = training_device(options.device)
        self.network.to(device)
        self.loss.to(device)
        before = self.states.restore(self.begin_with)
        if before.step:
            options.console.say(f"{self.stage.label}: resuming at step {before.step} of {len(self.plan)}")
        if not self.states.checkpoint.exists():
            options.console.say(self._how(before))
            end = self._train(before.step, device, options)
            self.missing.refuse_nothing_learned(end, lambda: self.states.keep_sound(end))
            self.states.save(self.states.checkpoint, end)
        self.states.finish()
        self.guard.refuse_end(self.stage.label, self.stage.name)
        return self._summary()

    def _how(self, before: CheckpointMeta) -> str:
        """Device, arithmetic and loader in a line, and what was otherwise in the weights' training so far."""
        loading = counted(self.num_workers, "loader process", "loader processes")
        loading += f", JPEGs by {self.dataset.store.jpeg}"
        means = f", running means on {self.staleness.running.place}" if self.staleness else ""
        then = before.other_arithmetic(asdict(self.arithmetic))
        return f"{self.stage.label}: on {self.device}, {self.arithmetic}, {loading}{means}{then}"

    def _train(self, step: int, device: torch.device, options: Options) -> int:
        """Train on from `step`; return the step of the end, that of the plan or an earlier one."""
        steps, phases = len(self.plan), Phases(device)
        batches = self.batches(range(step, steps), device)
        if step == 0 and self.guard.goes_back:
            self.states.save(self.states.at(0), 0)
        log = self._log(step, phases, options) if distributed.rank() == 0 else None
        stop, clock = options.stop, SaveClock(self.loader.save_minutes)
        stop.graceful = True
        try:
            with options.console.progress(self.stage.name, steps, "steps", step) as progress:
                saved, note, stale, updated = step, "", False, True

                def keep() -> str:
                    if not updated or step == saved:
                        return self.states.keep_sound(step)
                    distributed.refuse_if_any(self.state.problem(step))
                    return self.states.keep_sound(step, may_save=True)

                look = partial(self.missing.look, keep=keep)
                records = self.records(batches, device, phases, look)
                while step < steps and not stale:
                    try:
                        record = next(records)
                    except ImagesStayedAway:
                        keep()
                        raise
                    step, updated = record.step + 1, record.updated
                    with phases("log"):
                        collapse = self.guard.add(step, record.loss, record.distance)
                    stale = record.updated and not collapse and self._is_stale(step, options)
                    stopping, late, stale = distributed.agree(
                        bool(stop.name) or orphaned(), clock.late(), stale
                    )
                    at_end = step == steps or stale
                    saving = not at_end and record.updated and (stopping or late or self.states.is_due(step))
                    collapse = collapse or (self.guard.at_end() if at_end else None)
                    # Not where it saves: a stop or a clock would divide the steps of a line. The state has them.
                    a_line = collapse or step % self.loader.log_every == 0 or at_end
                    if log is not None:
                        log.add(record, bool(a_line))
                    if a_line or saving:
                        with phases("log"):
                            distributed.refuse_if_any(record.divergence() or displaced())
                            if saving or at_end:
                                distributed.refuse_if_any(self.state.problem(step))
                            if a_line and log is not None:
                                note = in_words(log.write())
                    with phases("log"):
                        progress.update(1, note)
                    if collapse:
                        self._answer(collapse, step, options)
                        if self.guard.goes_back:
                            records = self.records(batches, device, phases, look)
                    if saving:
                        if not (collapse and self.guard.goes_back):  # that has saved
                            with phases("checkpoint"):
                                self.states.save(self.states.at(step), step)
                        saved = step
                        clock.saved()
                    if saving and stopping:
                        raise StoppedEarly(
                            f"stopped by {stop.name or 'the end of another process'} at step {step} of {steps}, "
                            "saved; run the same command to continue"
                        )
                return step
        finally:
            stop.graceful = False
            if log is not None:
                log.close()

    def _log(self, step: int, phases: Phases, options: Options) -> MetricsLog:
        return open_log(
            self.stage.folder, self.stage.fingerprint, self.meta.config, self.loader, self.loss, step=step, phases=phases,
            steps=len(self.plan), rounds_before=self.first_step, names_of=self.names_of, say=options.console.say, window=self.states.window,
        )  # fmt: skip

    def _is_stale(self, step: int, options: Options) -> bool:
        recall = self.staleness.look(step) if self.staleness else None
        if self.staleness is None or recall is None:
            return False
        options.console.say(f"{self.stage.label}: step {step}: {self.staleness.in_words(recall)}")
        return self.staleness.is_stale(recall)

    def batches(self, steps: range, device: torch.device) -> Iterator[ImageBatch]:
        """The batches of these steps, decoded ahead, on the device, and augmented there."""
        pin, patience = device.type == "cuda", self.patience
        loaded = load_batches(self.dataset, steps, self.num_workers, pin=pin, patience=patience)
        return augment_batches(copied_ahead(loaded, device), self.dataset, device)

    def records(
        self,
        batches: Iterator[ImageBatch],
        device: torch.device,
        phases: Phases,
        before_step: Callable[[StepImages], None],
    ) -> Iterator[StepRecord]:
        """Train on the batches that are left, with the learning rate that the guard allows."""
        config = self.optimizer_config
        return train_steps(
            self.state,
            batches,
            self.labels_of,
            config.model_copy(update={"lr": config.lr * self.guard.lr_factor}),
            self.loader,
            first_step=self.first_step,
            total_steps=self.total_steps,
            device=device,
            seed=self.seed,
            last_step=len(self.plan) - 1,
            unfreezing=self.unfreezing,
            phases=phases,
            before_step=before_step,
        )

    def _answer(self, collapse: Collapse, step: int, options: Options) -> None:
        """Do what the settings say of a collapse: go on, go back and soften, or go back and stop.

        Raises:
            StoppedEarly: with the last sound weights as what the same command continues from.
        """
        say = f"{self.stage.label}: step {step}: {collapse}"
        if not self.guard.goes_back:
            return options.console.say(say) if self.guard.speaks else None
        back = Path(distributed.told(str(self.states.sound()) if distributed.rank() == 0 else None) or "")
        meta = self.states.load(back)
        self.guard.go_back(meta.collapse, meta.step)
        rung = self.guard.soften(step) if self.guard.config.action == "soften" else None
        if rung is None:
            if distributed.rank() == 0:
                self.states.forget_after(back)
            raise StoppedEarly(f"{say}; {self.guard.stopped_at(meta.step)}")
        options.console.say(f"{say}; back to the weights of step {meta.step}, and on with {rung}")
        self.states.save(self.states.at(step), step)

    def _summary(self) -> dict[str, Any]:
        if distributed.rank():
            return {}
        return {
            **self.states.summary(),
            **self.guard.summary(),
            "device": self.device.type,
            **asdict(self.arithmetic),
            **peak_gpu_memory(self.device),
            "num_workers": self.num_workers,
        }
