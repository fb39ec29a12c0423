"""What `subspace submit`, `logs` and `cancel` do: the work that is left of a run, handed to any scheduler."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ...mining.errors import InputError
from ...mining.local_paths import in_shell
from ..console import counted
from ..options import Options
from ..rounds import check_run
from ..run_directory import RunDirectory
from ..scheduler_registry import resolve_name
from ..stages.context import Context
from .job_states import live_tasks, read_job_states
from .jobs import jobs_left
from .scheduler import NotAskedError, scheduler_named
from .submission import Submission


def submit_run(context: Context) -> dict[str, Any]:
    """Hand all that is left of a run to `config.schedule.scheduler`; with a dry run show what that would be.

    Raises:
        InputError: jobs of this run are queued or running, or the scheduler refuses one.
        StaleArtifactError: a stage is done with other settings or inputs.
    """
    run, options, name = context.run, context.options, resolve_name(context.config.schedule.scheduler)
    scheduler = scheduler_named(name)
    check_run(context)
    with ExitStack() as lock:
        if not options.dry_run:
            _refuse_twice(run)  # before the lock, which a job at work holds
            lock.enter_context(run.locked("submit"))
            _refuse_twice(run)  # another `submit` may have held it
        jobs = jobs_left(context, name)
        if not jobs:
            context.say(f"{run.path}: nothing is left to do")
            return {"scheduler": name, "jobs": []}
        if options.dry_run:
            context.options.console.say_lines(scheduler.show(jobs, context))
            return {"scheduler": name, "jobs": [job.name for job in jobs], "dry_run": True}
        submission = scheduler.start(jobs, context, lock.close)
    options.on_work()
    return {
        "scheduler": name,
        "folder": str(submission.folder),
        "jobs": [job.name for job in jobs],
        "tasks": {task.id: task.job for task in submission.tasks},
    }


def read_logs(context: Context, *, stage: str | None, failed: bool, lines: int) -> dict[str, str]:
    """The last lines of the logs of the last submission, by path: of a stage, or of the jobs that failed.

    Raises:
        InputError: nothing was submitted, it has no jobs of that stage, or the scheduler keeps the logs.
    """
    run = context.run
    submission = _latest(run)
    folder = scheduler_named(submission.scheduler).logs(run, submission)
    tasks = submission.tasks
    if failed:
        tasks = read_job_states(context, submission)[1].failed
    paths = [folder / task.log for task in tasks if stage in (None, task.stage, task.job)]
    if not paths and not failed:
        jobs = ", ".join(dict.fromkeys(task.job for task in submission.tasks))
        raise InputError(f"{submission.folder} has no jobs of {stage}; there are {jobs}")
    return {str(path): _last_lines(path, lines) for path in paths if path.exists()}


def cancel_jobs(run: RunDirectory, options: Options) -> dict[str, Any]:
    """Stop the jobs of the last submission; those that train or extract save themselves first.

    Raises:
        InputError: nothing was submitted, or the scheduler does not answer, or only the user asks it.
    """
    submission = _latest(run)
    found = live_tasks(run, submission)
    if found:
        scheduler_named(submission.scheduler).cancel(run, submission, found)
    states = ", ".join(
        f"{list(found.values()).count(state)} {state.lower()}" for state in sorted({*found.values()})
    )
    options.console.say(
        f"{run.path}: {counted(len(found), 'job')} cancelled ({states}); `subspace submit {in_shell(run.path)}` goes on with what is left"
        if found
        else f"{run.path}: no job of it is queued or running"
    )
    return {"cancelled": sorted(found)}


def _last_lines(path: Path, lines: int) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 400 * lines))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def _latest(run: RunDirectory) -> Submission:
    submission = Submission.latest(run)
    if submission is None:
        raise InputError(f"{run.path} has no jobs; `subspace submit {in_shell(run.path)}` makes them")
    return submission


def _refuse_twice(run: RunDirectory) -> None:
    """A run has one submission at a time; the job that submits what comes after it does not count."""
    submission = Submission.latest(run)
    if submission is None:
        return
    try:
        found = live_tasks(run, submission)
    except NotAskedError:  # the user knows
        return
    found.pop(scheduler_named(submission.scheduler).own_job or "", None)
    if found:
        raise InputError(
            f"{run.path} has {counted(len(found), 'job')} queued or running ({', '.join(sorted(found)[:5])}); wait for them "
            f"(`subspace status {in_shell(run.path)}`), or `subspace cancel {in_shell(run.path)}` first"
        )
