"""States of a training that is under way, as checkpoints on disk: what it resumes from, and what it goes back to."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..mining.artifacts import remove
from ..train.backbones import Backbone
from ..train.checkpoint import CheckpointMeta, load_state, read_meta, save_checkpoint
from ..train.collapse import CollapseGuard
from ..train.running_means import RunningMeans


@dataclass(frozen=True)
class SavedStates:
    """Saves and loads everything that a training changes.

    `resume/step-XXXXXXXX` are states on the way: the newest, and those that a collapse may yet go back to.
    `checkpoint` is the end.
    """

    folder: Path
    save_every: int
    meta: CheckpointMeta
    network: Backbone
    optimizer: torch.optim.Optimizer
    loss: nn.Module
    guard: CollapseGuard
    running: RunningMeans | None

    @property
    def checkpoint(self) -> Path:
        """The finished checkpoint."""
        return self.folder / "checkpoint"

    def at(self, step: int) -> Path:
        """Where the state after `step` steps is kept on the way."""
        return self.folder / "resume" / f"step-{step:08d}"

    def on_the_way(self) -> list[Path]:
        """All that are kept, oldest first."""
        return sorted((self.folder / "resume").glob("step-*"))

    def save(self, folder: Path, step: int) -> None:
        """Save a state, then remove those that it replaces."""
        meta = dataclasses.replace(self.meta, step=step, collapse=self.guard.state())
        save_checkpoint(
            folder, self.network, meta, optimizer=self.optimizer, loss=self.loss, running=self.running
        )
        kept = {folder}
        if self.guard.goes_back and folder != self.checkpoint:
            kept.update(state for state in self._by_clock() if state >= self.sound())
        for older in self.on_the_way():
            if older not in kept:
                remove(older)

    def load(self, folder: Path) -> CheckpointMeta:
        """Load a state of this training."""
        load_state(folder, self.network, optimizer=self.optimizer, loss=self.loss, running=self.running)
        return read_meta(folder)

    def restore(self, begin_with: Path | None) -> int:
        """Load the newest state of this very training and return its step; 0 to begin, from `begin_with`.

        Network and loss are on their device by now, and the optimiser's state follows its parameters.
        """
        for folder in [self.checkpoint, *reversed(self.on_the_way())]:
            if folder.is_dir() and read_meta(folder).fingerprint == self.meta.fingerprint:
                meta = self.load(folder)
                self.guard.load(meta.collapse)
                return meta.step
        for state in (self.checkpoint, *self.on_the_way()):  # of other settings
            remove(state)
        if begin_with is not None:
            load_state(begin_with, self.network, optimizer=self.optimizer, loss=self.loss)
            self.guard.inherit(read_meta(begin_with).collapse)
        return 0

    def sound(self) -> Path:
        """The newest state that was saved by the clock of steps and followed by a window without collapse.

        A state that a signal saved does not count: going back must not depend on when signals came.
        """
        sound = [state for state in self._by_clock() if state <= self.at(self.guard.sound_step)]
        return (sound or self.on_the_way())[-1]

    def _by_clock(self) -> list[Path]:
        steps = {folder: int(folder.name.removeprefix("step-")) for folder in self.on_the_way()}
        softened = self.guard.softened_step
        return [folder for folder, step in steps.items() if step % self.save_every == 0 or step == softened]

    def forget_after(self, folder: Path) -> None:
        """Remove the states that are newer than this one."""
        for later in self.on_the_way():
            if later > folder:
                remove(later)

    def finish(self) -> None:
        """Remove all states on the way."""
        shutil.rmtree(self.folder / "resume", ignore_errors=True)
