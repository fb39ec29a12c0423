"""Which checkpoint is meant by a path: the one that lies there, or of a run the best one, else the latest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...mining.errors import InputError
from ...mining.local_paths import in_shell
from ...train.checkpoint_meta import CheckpointMeta, read_meta
from ..best import kept_best, was_made_again
from ..round_chain import current_rounds, left_over, left_over_in_words
from ..run_directory import RunDirectory
from ..stage_folder import CHECKPOINT, StageFolder


@dataclass(frozen=True)
class ChosenCheckpoint:
    """A checkpoint, and why it is this one."""

    folder: Path
    """Links followed."""
    why: str
    """Behind its name, for a person."""
    meta: CheckpointMeta

    @property
    def stage_folder(self) -> StageFolder | None:
        """Where a stage made it, with the files of its round beside it; None outside a run."""
        round_folder = self.folder.parent
        run = RunDirectory(round_folder.parent)
        if self.folder.name != CHECKPOINT or not run.config.exists():
            return None
        try:
            return StageFolder(round_folder, run.index_of(round_folder.name))
        except ValueError:  # a folder of another name
            return None

    @property
    def is_start(self) -> bool:
        """Whether it is the network that a run began with."""
        folder = self.stage_folder
        return self.meta.plan is None if folder is None else folder.index == -1  # a round's names its plan

    @property
    def trained_with(self) -> str | None:
        """The fingerprint of the manifest that it was trained with; None where nothing says it, as outside a run."""
        folder = self.stage_folder
        return None if folder is None else folder.trained_with

    @property
    def name(self) -> str:
        """photos/round-001 in a run, else the folder's own name: no path of this machine."""
        folder = self.stage_folder
        return self.folder.name if folder is None else f"{folder.path.parent.name}/{folder.name}"


def choose_checkpoint(path: Path) -> ChosenCheckpoint:
    """The checkpoint at `path`, or of the run at `path` the one that validates best, else the latest finished one.

    Raises:
        InputError: neither there, or a run without a finished network.
    """
    run = RunDirectory(path)
    if (path / "meta.json").is_file():
        return _chosen(path, "as given")
    if not run.config.is_file():
        raise InputError(
            f"{path} is neither a checkpoint (no meta.json) nor a run (no {run.config.name}); name one of them"
        )
    best, older = kept_best(run), left_over(run)
    if best is not None:
        folder = path / best["checkpoint"]
        if not folder.is_dir():
            raise InputError(
                f"{run.best_record} says {best['checkpoint']}, which is gone; name another checkpoint of {path}"
            )
        figure = f"{best['metric']} {best['value']:.4f}"
        why = f"it validates best: {figure}"
        if was_made_again(run, best):
            anew = f"`subspace eval {in_shell(path)}` validates it anew"
            why = f"it validated best, {figure}, before it was made again; {anew}"
        elif best["network"] in older:
            why = f"it validated best, {figure}, of an earlier training; `subspace run {in_shell(path)}` ends the new one"
        return _chosen(folder, why)
    for index in (*reversed(current_rounds(run)), -1):
        folder = run.round(index)
        if folder.finished("train" if index >= 0 else "pretrain") and folder.checkpoint.is_dir():
            why = "the latest finished one, as no round is kept as the best"
            return _chosen(folder.checkpoint, why + (f"; {left_over_in_words(older)}" if older else ""))
    raise InputError(f"{path} has no finished network yet; make one with: subspace run {in_shell(path)}")


def _chosen(folder: Path, why: str) -> ChosenCheckpoint:
    return ChosenCheckpoint(folder.resolve(), why, read_meta(folder))
