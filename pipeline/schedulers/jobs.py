"""What is left of a run, as jobs: one after another, each made of commands that anyone could type.

    pretrain, eval of the start; then in each round: extract in shards, cluster (merges the shards first), plan, train, eval

A scheduler only says when and where they run. Whether a job's work is done is said by the completion markers of its
stages, with their fingerprints, whatever the scheduler says of the job.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...mining.errors import StaleArtifactError, SubspaceError
from ...mining.local_paths import in_shell
from ..due import over_before
from ..stages.context import Context
from ..stages.graph import STAGES, StageRow, row
from ..stages.stage import Stage
from ..status import StageStatus, stage_statuses
from .submission import MORE


@dataclass(frozen=True)
class Job:
    """Work of one stage in one folder of a run."""

    stage: str
    """The command that does it, which says what it asks for."""
    folder: str
    commands: tuple[tuple[str, ...], ...]
    """Arguments of `subspace`, done one after another."""
    shards: tuple[int, ...] = ()
    """An array of jobs: each does the commands with --shard and one of these."""
    num_shards: int = 0
    purpose: str = ""
    """Stands in its name for the stage, which still says what it asks for."""

    @property
    def name(self) -> str:
        """The name of its script and its log."""
        return f"{self.folder}-{self.purpose or self.stage}"


def stale_stages(context: Context) -> list[Stage]:
    """The stages, done or begun, that `subspace submit --force` forgets: stale ones, and those made of what will be another.

    What is only damaged is made again as it was, so that what was made of it stays.
    """
    found: list[Stage] = []
    others: set[Path] = set()  # markers of what will be another one, done by now or not
    for status in stage_statuses(context):
        at, kind = context.at_round(context.run.index_of(status.folder)), row(status.stage)
        stage = Stage(kind.name, at.folder, {}, kind.outputs, "", "")
        is_other = any(read.folder.marker(read.stage) in others for read in kind.reads(at))
        if not (is_other or status.state == "stale") or _is_over(context, status):
            continue
        if not is_other:
            try:
                now = kind.stage(at, foreseen=True).fingerprint
            except StaleArtifactError:  # by a damaged marker of one before it, which says nothing of this one
                continue
            with suppress(SubspaceError):  # it has only begun, or its marker is damaged
                is_other = now != at.folder.record(kind.name)["fingerprint"]
        if is_other:
            others.add(stage.marker)
        if status.state != "to do":
            found.append(stage)
    return found


def _is_over(context: Context, status: StageStatus) -> bool:
    return over_before(context.at_round(max(0, context.run.index_of(status.folder)))) is not None


def jobs_left(context: Context, scheduler: str, forgotten: Collection[Stage] = ()) -> list[Job]:
    """Jobs for all that is not done, in order; each waits for the one before. Empty: the run is done.

    Args:
        forgotten: stages that are done, and will not be when the jobs begin.

    Raises:
        StaleArtifactError: a stage that the run needs is done with other settings or inputs, and not to be made again.
    """
    run, config, options = context.run, context.config, context.options
    undone = {stage.label for stage in forgotten}
    todo: dict[int, set[str]] = {}
    for status in stage_statuses(context):
        is_done = status.state == "done" and f"{status.folder}/{status.stage}" not in undone
        if is_done or _is_over(context, status):
            continue
        if status.state == "stale" and not options.remake_stale:
            again = f"subspace submit {' '.join(map(in_shell, (run.path, *options.overrides)))} --force"
            raise StaleArtifactError(f"{status.advice}; or as jobs: `{again}`")
        todo.setdefault(run.index_of(status.folder), set()).add(status.stage)
    left = [job for index, names in todo.items() for job in _jobs(context.at_round(index), names)]
    if left and config.recluster.stale_below is not None:
        # Stale subspaces end rounds early, so that there may be more rounds than were submitted.
        again = ("submit", str(run.path.resolve()), *options.overrides, f"schedule.scheduler={scheduler}")
        left.append(Job("plan", left[-1].folder, (again,), purpose=MORE))
    return left


def _jobs(context: Context, names: set[str]) -> Iterator[Job]:
    """The jobs of one folder: a job a command, except that a stage in shards is merged by the job after it."""
    settings = tuple(word for word in context.options.overrides if not word.startswith("schedule."))
    path, folder = str(context.run.path.resolve()), context.folder.name
    merges: list[tuple[str, ...]] = []
    asked: set[str] = set()
    for stage in STAGES:
        name, merging = stage.command_name, bool(merges)
        at = ("--round", str(context.round_index), "--if-due") if stage.place == "round" else ()
        command = (name, path, *at, *settings)
        if not stage.works_in(context.round_index) or not (stage.name in names or merging) or name in asked:
            continue
        if stage.shards:
            yield from _shards(context, stage, command)
            merges.append(command)
            continue
        yield Job(name, folder, (*merges, command))
        merges.clear()
        asked.add(name)


def _shards(context: Context, stage: StageRow, command: tuple[str, ...]) -> Iterator[Job]:
    """An array of jobs for the shards that are missing; none where the stage has no parts in this round."""
    parts = stage.parts(context)
    if parts is None:
        return
    count = min(context.config.schedule.shards or len(parts), len(parts))
    missing = sorted({part % count for part in parts.missing()})
    if missing:
        yield Job(stage.command_name, context.folder.name, (command,), tuple(missing), count)


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The first and last of each unbroken run of rising numbers: 0..2 and 5..5 of 0, 1, 2, 5."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
