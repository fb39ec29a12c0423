"""States of a training that is under way, as checkpoints on disk: what it resumes from, and what it goes back to."""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...mining.artifacts import remove
from ...mining.errors import DamagedFileError, InputError
from ...mining.json_documents import damaged_file
from ...train import distributed
from ...train.checkpoint import load_running, load_state, save_checkpoint
from ...train.checkpoint_meta import CheckpointMeta, read_meta, read_meta_as_written
from ...train.collapse import CollapseGuard
from ...train.monitoring.line_window import LineWindow
from ...train.monitoring.metrics_file import mean_over_steps, read_metrics
from ...train.training_config import LoaderConfig
from ...train.training_state import TrainingState
from ..faults.missing_in_training import MissingInTraining
from ..stage_folder import CHECKPOINT, METRICS, RESUME


@dataclass(frozen=True)
class SavedStates:
    """Saves and loads everything that a training changes.

    `resume/step-XXXXXXXX` are states on the way: the newest, and those that a collapse may yet go back to.
    `checkpoint` is the end.
    """

    folder: Path
    loader: LoaderConfig
    meta: CheckpointMeta
    state: TrainingState
    guard: CollapseGuard
    missing: MissingInTraining | None = None
    """Counts the images that could not be read; None: nobody counts."""
    window: LineWindow = field(default_factory=LineWindow)
    """The steps that no line of the log has yet; process 0 fills it."""

    @property
    def checkpoint(self) -> Path:
        """The finished checkpoint."""
        return self.folder / CHECKPOINT

    def at(self, step: int) -> Path:
        """Where the state after `step` steps is kept on the way."""
        return self.folder / RESUME / f"step-{step:08d}"

    def on_the_way(self) -> list[Path]:
        """All that are kept, oldest first."""
        return sorted((self.folder / RESUME).glob("step-*"))

    def save(self, folder: Path, step: int) -> None:
        """Save a state, then remove those that it replaces. Called by all processes; process 0 writes."""
        images = self.missing.state() if self.missing is not None else {}
        meta = dataclasses.replace(
            self.meta, step=step, collapse=self.guard.state(), images=images, window=self.window.state()
        )
        save_checkpoint(folder, self.state, meta)
        if distributed.rank():
            return
        kept = {folder, *self.on_the_way()[-self.loader.keep_last :]}
        if self.guard.goes_back and folder != self.checkpoint:
            kept.update(state for state in self._by_clock() if state >= self.sound())
        kept.update(self._until(self.missing.sound_step(step))[-1:] if self.missing is not None else [])
        for older in self.on_the_way():
            if older not in kept:
                remove(older)

    def load(self, folder: Path) -> CheckpointMeta:
        """Load a state of this training. Called by all processes; it is theirs until the last has read it."""
        meta = load_state(folder, self.state)
        if self.state.running is not None:
            load_running(folder, self.state.running)
        distributed.agree(True)  # the next save of process 0 may remove or replace the folder
        return meta

    def restore(self, begin_with: Path | None) -> CheckpointMeta:
        """Load the newest state of this very training, or else begin, from `begin_with`; return what it says of itself.

        Its step is the one to go on at, 0 to begin.

        Network and loss are on their device by now, and the optimiser's state follows its parameters.

        Raises:
            InputError: `begin_with` has the state of another optimiser, or of a loss that keeps other numbers.
        """
        newest = distributed.told(self._newest() if distributed.rank() == 0 else None)
        if newest is not None:
            meta = self.load(Path(newest))
            if Path(newest) != self.checkpoint and meta.step != self._step(Path(newest)):
                raise damaged_file(Path(newest) / "meta.json", f"it says step {meta.step:,}")
            self.guard.load(meta.collapse)
            self.window.load(meta.window)
            if self.missing is not None:
                self.missing.load(meta.images)
            return meta
        if begin_with is None:
            return self.meta
        if refusal := self._refusal(begin_with, "optimizer.name"):
            raise refusal
        try:
            before = load_state(begin_with, self.state)
        except DamagedFileError as error:
            raise self._refusal(begin_with, "loss", "loss_args") or error from error
        self.guard.inherit(before.collapse)
        return dataclasses.replace(before, step=0)

    def _refusal(self, begin_with: Path, *names: str) -> InputError | None:
        """What to say where the checkpoint was trained with other settings of these names; None where it was not.

        Another margin changes nothing that a loss keeps, so a loss is refused only where it cannot be loaded.
        """
        then, now = (_kept_by(meta.config.get("train", {})) for meta in (read_meta(begin_with), self.meta))
        known = [name for name in names if None not in (then[name], now[name])]
        changed = [f"train.{name}={then[name]}" for name in known if then[name] != now[name]]
        if not changed:
            return None
        return InputError(
            f"{begin_with} was trained with {' and '.join(changed)}, and what was learned so does not fit other settings: "
            f"set it back, or begin a new run with model=checkpoint:{begin_with}"
        )

    def _newest(self) -> str | None:
        """The newest state of this very training; its stage has refused, or dropped, those that are of others alone."""
        for folder in (self.checkpoint, *reversed(self.on_the_way())):
            if folder.is_dir() and read_meta_as_written(folder).fingerprint == self.meta.fingerprint:
                return str(folder)
        return None

    def sound(self) -> Path:
        """The newest state that was saved by the clock of steps and followed by a window without collapse.

        A state that a signal saved does not count: going back must not depend on when signals came.
        """
        sound = [state for state in self._by_clock() if state <= self.at(self.guard.sound_step)]
        return (sound or self.on_the_way())[-1]

    def _by_clock(self) -> list[Path]:
        steps = {folder: self._step(folder) for folder in self.on_the_way()}
        softened = self.guard.softened_step
        return [folder for folder, step in steps.items() if self.is_due(step) or step == softened]

    def is_due(self, step: int) -> bool:
        """Whether the clock of steps says save: after every `save_every` steps, once the weights have moved by them."""
        return step % self.loader.accumulate == 0 and step % self.loader.save_every < self.loader.accumulate

    def keep_sound(self, step: int, *, may_save: bool = False) -> str:
        """Keep the newest state before which no recent step missed an image, and say which. Called by all processes.

        Args:
            step: steps done.
            may_save: the state of now is newer than all that are kept, and whole: no gradient waits for more.
        """
        sound = self.missing.sound_step(step) if self.missing is not None else step
        if sound == step and may_save:
            self.save(self.at(step), step)
        kept = self._until(sound)
        if distributed.rank() == 0:
            for state in self.on_the_way():
                if state not in kept:
                    remove(state)
        return f"step {self._step(kept[-1])} is saved" if kept else "it is to begin again at step 0"

    def _until(self, step: int) -> list[Path]:
        return [state for state in self.on_the_way() if self._step(state) <= step]

    @staticmethod
    def _step(state: Path) -> int:
        return int(state.name.removeprefix("step-"))

    def forget_after(self, folder: Path) -> None:
        """Remove the states that are newer than this one."""
        for later in self.on_the_way():
            if later > folder:
                remove(later)

    def summary(self) -> dict[str, Any]:
        """What the finished checkpoint and the log say of the training."""
        meta, lines = read_meta(self.checkpoint), read_metrics(self.folder / METRICS)
        last = lines[-1] if lines else {}
        return {
            "steps": meta.step,
            "loss": last.get("loss"),
            "active_fraction": mean_over_steps(lines, "active_fraction"),
            "active_images": mean_over_steps(lines, "active_images"),
            "unreadable_images": meta.images.get("unreadable"),
            "seconds": last.get("seconds"),
            "images_per_second": last.get("images_per_second"),
        }

    def finish(self) -> None:
        """Remove the states on the way, unless some are to be kept."""
        if distributed.rank() == 0 and self.loader.keep_last == 1:
            shutil.rmtree(self.folder / RESUME, ignore_errors=True)


class SaveClock:
    """Says when `minutes` have passed since the last checkpoint; never, without them."""

    def __init__(self, minutes: float | None) -> None:
        self._seconds = 60 * minutes if minutes is not None else math.inf
        self.saved()

    def saved(self) -> None:
        """Begin to count anew."""
        self._since = time.monotonic()

    def late(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._since >= self._seconds


def _kept_by(train: dict[str, Any]) -> dict[str, Any]:
    """The settings that say what optimiser and loss keep; older checkpoints may lack some."""
    return {
        "optimizer.name": train.get("optimizer", {}).get("name"),
        "loss": train.get("loss"),
        "loss_args": train.get("loss_args"),
    }
