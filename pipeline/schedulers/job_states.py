"""The states of the jobs of a run's last submission: what the scheduler still has, and what the markers say of the rest.

A job that the scheduler has no more is done if its stage is (for shards: if their parts are), failed if it had begun,
and otherwise was never begun, since one before it failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from ..console import counted
from ..run_directory import RunDirectory
from ..stages.context import Context
from ..stages.graph import row
from ..stages.parts import Shard
from ..status import StageStatus, stage_statuses
from .scheduler import WAITING, scheduler_named
from .submission import Submission, Task


@dataclass(frozen=True)
class JobStates:
    """The tasks of the last submission by their states."""

    submission: Submission
    running: tuple[Task, ...] = ()
    queued: tuple[Task, ...] = ()
    failed: tuple[Task, ...] = ()

    def for_stage(self, folder: str, stage: str) -> JobStates:
        """The states of the tasks that do a stage of a folder."""
        return self._of(self.submission.tasks_for(folder, stage))

    def for_no_stage(self) -> JobStates:
        """The states of the tasks that are not of one stage: that do the whole run, or submit what is still to come."""
        return self._of(task for task in self.submission.tasks if task.is_whole_run or task.is_more)

    def _of(self, tasks: Iterable[Task]) -> JobStates:
        wanted = set(tasks)
        kinds = (self.running, self.queued, self.failed)
        return JobStates(self.submission, *(tuple(task for task in kind if task in wanted) for kind in kinds))

    @property
    def are_live(self) -> bool:
        """Whether any is running or queued, beside what has failed."""
        return bool(self.running or self.queued)

    @property
    def state(self) -> str | None:
        """One word for all of them; None where none is running, queued or failed."""
        for word in ("running", "failed", "queued"):
            if getattr(self, word):
                return word
        return None

    def in_words(self) -> str:
        """Shards and numbers of jobs by state, for a line of the status."""
        words = ("running", "queued", "failed")
        return ", ".join(part for word in words for part in _in_words(word, getattr(self, word)))


def _in_words(word: str, tasks: tuple[Task, ...]) -> Iterator[str]:
    shards = sorted(shard for task in tasks for shard in task.shards)
    arrays = sorted({task.id.partition("_")[0] for task in tasks if task.shards}, key=int)
    whole = [task.id for task in tasks if not task.shards]
    if shards:
        few = f" {', '.join(map(str, shards))}" if word == "failed" and len(shards) <= 8 else ""
        yield f"{counted(len(shards), 'shard')}{few} {word} (job {', '.join(arrays)})"
    if whole:
        yield f"job {', '.join(whole)} {word}"


def live_tasks(run: RunDirectory, submission: Submission) -> dict[str, str]:
    """The tasks of a submission that its scheduler still has, by number, with its word for how they are.

    Raises:
        NotAskedError: only the user asks this scheduler.
        InputError: the scheduler does not answer.
    """
    known = scheduler_named(submission.scheduler).live(run, submission)
    return {task.id: known[task.id] for task in submission.tasks if task.id in known}


def read_job_states(context: Context, submission: Submission) -> tuple[list[StageStatus], JobStates]:
    """The stages of a run by their markers, and the states of the tasks of a submission.

    The markers are read after the scheduler is asked: a job that ends in between has not failed.

    Raises:
        NotAskedError: only the user asks this scheduler.
        InputError: the scheduler does not answer.
    """
    known, statuses = live_tasks(context.run, submission), stage_statuses(context)
    logs = scheduler_named(submission.scheduler).logs(context.run, submission)
    kinds: dict[str, list[Task]] = {"running": [], "queued": [], "failed": []}
    is_done = _Done(context, statuses)
    for task in submission.tasks:
        if task.id in known:
            kinds["queued" if known[task.id] in WAITING else "running"].append(task)
        elif (logs / task.log).exists() and not is_done(task):
            kinds["failed"].append(task)
    return statuses, JobStates(submission, *(tuple(tasks) for tasks in kinds.values()))


def with_jobs(statuses: list[StageStatus], states: JobStates) -> list[StageStatus]:
    """The statuses of the stages that have jobs say so: queued, running or failed, with their numbers.

    A job that is not of one stage stands at the first that is left and has none.
    """
    result: list[StageStatus] = []
    other: JobStates | None = states.for_no_stage()
    for status in statuses:
        found = states.for_stage(status.folder, status.stage)
        settled = status.state in ("done", "stale")
        if other and not settled and not any(states.submission.tasks_for(status.folder, status.stage)):
            found, other = other, None
        if settled or found.state is None:
            result.append(status)
            continue
        note = "; ".join(part for part in (status.note, found.in_words()) if part)
        numbers = tuple(task.id for task in (*found.running, *found.queued, *found.failed))
        result.append(replace(status, state=found.state, note=note, jobs=numbers))
    return result


class _Done:
    """Whether the work of a task is done."""

    def __init__(self, context: Context, statuses: list[StageStatus]) -> None:
        ended: dict[tuple[str, str], list[bool]] = {}  # of the stages of each command, which are one job
        for status in statuses:
            job = status.folder, row(status.stage).command_name
            ended.setdefault(job, []).append(status.state in ("done", "unchecked"))
        self.done = {job for job, stages in ended.items() if all(stages)}
        self.lost = bool(context.lost)
        self.all = len(self.done) == len(ended)
        self.parts = cache(
            lambda stage, folder: row(stage).parts(context.at_round(context.run.index_of(folder)))
        )

    def __call__(self, task: Task) -> bool:
        if self.all or ((task.folder, task.stage) in self.done and not task.is_more):
            return True
        if not task.shards or self.lost:  # parts are counted by the manifest
            return False
        parts = self.parts(task.stage, task.folder)
        return parts is not None and not any(
            parts.missing(Shard(shard, task.num_shards)) for shard in task.shards
        )
