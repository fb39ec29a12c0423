"""How the jobs of a run's last submission are: what the scheduler still has, and what the markers say of the rest.

A job that the scheduler has no more is done if its stage is (for shards: if their parts are), failed if it had begun,
and otherwise was never begun, since one before it failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from ...mining.errors import InputError
from ..run_directory import RunDirectory
from ..stages.context import Context
from ..stages.graph import row
from ..stages.parts import Shard
from ..status import StageStatus
from . import kubernetes, slurm
from . import local as local_jobs
from .submission import Submission, Task

WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}
"""States of Slurm in which a job is not at work; in all others that squeue shows it is."""


@dataclass(frozen=True)
class JobStates:
    """The tasks of the last submission by how they are."""

    submission: Submission
    running: tuple[Task, ...] = ()
    queued: tuple[Task, ...] = ()
    failed: tuple[Task, ...] = ()

    def of(self, folder: str, stage: str) -> JobStates:
        """Those that do a stage of a folder."""
        own = set(self.submission.of(folder, stage))
        pick = (
            tuple(task for task in tasks if task in own) for tasks in (self.running, self.queued, self.failed)
        )
        return JobStates(self.submission, *pick)

    @property
    def state(self) -> str | None:
        """One word for all of them; None where none is running, queued or failed."""
        for word in ("running", "failed", "queued"):
            if getattr(self, word):
                return word
        return None

    def told(self) -> str:
        """The numbers, for a line of the status."""
        return ", ".join(
            told for word in ("running", "queued", "failed") for told in _told(word, getattr(self, word))
        )


def _told(word: str, tasks: tuple[Task, ...]) -> Iterator[str]:
    shards = sorted(shard for task in tasks for shard in task.shards)
    arrays = sorted({task.id.partition("_")[0] for task in tasks if task.shards}, key=int)
    whole = [task.id for task in tasks if not task.shards]
    if shards:
        few = f" {', '.join(map(str, shards))}" if word == "failed" and len(shards) <= 8 else ""
        yield f"{len(shards)} shard(s){few} {word} (job {', '.join(arrays)})"
    if whole:
        yield f"job {', '.join(whole)} {word}"


def live_tasks(run: RunDirectory, submission: Submission) -> dict[str, str]:
    """The tasks that the scheduler still has, by number, with its word for how they are.

    Raises:
        InputError: the scheduler does not answer.
    """
    if submission.scheduler == "kubernetes":
        raise InputError(
            f"{run.path} was written for Kubernetes, which is not asked: {kubernetes.asking_kubectl(submission)}"
        )
    known = (
        local_jobs.live(run, submission) if submission.scheduler == "local" else slurm.live(submission.user)
    )
    return {task.id: known[task.id] for task in submission.tasks if task.id in known}


def job_states(context: Context, submission: Submission, statuses: list[StageStatus]) -> JobStates:
    """How the tasks of a submission are.

    Args:
        statuses: of all stages of the run, by their markers.
    """
    known = live_tasks(context.run, submission)
    kinds: dict[str, list[Task]] = {"running": [], "queued": [], "failed": []}
    is_done = _Done(context, statuses)
    for task in submission.tasks:
        if task.id in known:
            kinds["queued" if known[task.id] in WAITING else "running"].append(task)
        elif submission.log_of(task).exists() and not is_done(task):
            kinds["failed"].append(task)
    return JobStates(submission, *(tuple(tasks) for tasks in kinds.values()))


def with_jobs(statuses: list[StageStatus], states: JobStates) -> list[StageStatus]:
    """The statuses of the stages that have jobs say so: queued, running or failed, with their numbers."""
    told, whole = [], states.submission.scheduler == "local" and states.state is not None
    for status in statuses:
        own = states.of(status.folder, status.stage)
        settled = status.state in ("done", "stale")
        if whole and not settled:  # one process for all is at the first that is left
            own, whole = states, False
        if settled or own.state is None:
            told.append(status)
            continue
        note = "; ".join(part for part in (status.note, own.told()) if part)
        numbers = tuple(task.id for task in (*own.running, *own.queued, *own.failed))
        told.append(replace(status, state=own.state, note=note, jobs=numbers))
    return told


class _Done:
    """Whether the work of a task is done."""

    def __init__(self, context: Context, statuses: list[StageStatus]) -> None:
        self.done = {(status.folder, status.stage) for status in statuses if status.state == "done"}
        self.all = len(self.done) == len(statuses)
        self.parts = cache(
            lambda stage, folder: row(stage).parts(context.at_round(context.run.index_of(folder)))
        )

    def __call__(self, task: Task) -> bool:
        if self.all or (task.folder, task.stage) in self.done:
            return True
        if not task.shards:
            return False
        parts = self.parts(task.stage, task.folder)
        return not any(parts.missing(Shard(shard, task.num_shards)) for shard in task.shards)
