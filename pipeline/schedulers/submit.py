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
from ..stages.stage import Stage
from .job_states import live_tasks, read_job_states
from .jobs import jobs_left, stale_stages
from .scheduler import NotAskedError, scheduler_named
from .submission import Submission


def submit_run(context: Context) -> dict[str, Any]:
    """Hand all that is left of a run to `config.schedule.scheduler`; with a dry run show what that would be.

    With `remake_stale` what is stale is forgotten first, and so is left.

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
        forgotten = _forget_stale(context) if options.remake_stale else []
        jobs = jobs_left(context, name, forgotten)
        if not jobs:
            context.say(f"{run.path}: nothing is left to do")
            return {"scheduler": name, "jobs": []}
        before = Submission.newest(run)
        if before is not None and before.was_renamed:
            context.say(f"{_on_old_path(run, before)}; this submits others beside them")
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


def _forget_stale(context: Context) -> list[Stage]:
    """Forget what is stale, as `--force` of each of its stages would; with a dry run only say so."""
    forgotten: list[Stage] = []
    while found := stale_stages(context):
        for stage in found:
            context.say(f"{stage.label} is stale: {'would be ' if context.options.dry_run else ''}forgotten")
        forgotten += found
        if context.options.dry_run:
            break
        for stage in reversed(found):  # killed on the way, the first is stale still
            stage.forget()
    return forgotten


def read_logs(context: Context, *, stage: str | None, failed: bool, lines: int) -> dict[str, str]:
    """The last lines of the logs of the last submission, by path: of a stage, or of the jobs that failed.

    Raises:
        InputError: nothing was submitted, it has no jobs of that stage, or the scheduler keeps the logs.
    """
    run = context.run
    submission = Submission.newest(run)
    if submission is None:
        raise _no_jobs(run)
    if not submission.is_here:
        context.say(f"{run.path} was {submission.run} when these jobs were submitted")
    folder = scheduler_named(submission.scheduler).logs(run, submission)
    tasks = submission.tasks if stage is None else submission.tasks_named(stage)
    if failed:
        states = read_job_states(context, submission)[1]
        tasks = [task for task in tasks if task in states.failed]
    paths = [folder / task.log for task in tasks]
    if not paths and not failed:
        jobs = ", ".join(dict.fromkeys(task.job for task in submission.tasks))
        raise InputError(f"{submission.folder} has no jobs of {stage}; there are {jobs}")
    return {str(path): _last_lines(path, lines) for path in paths if path.exists()}


def cancel_jobs(run: RunDirectory, options: Options) -> dict[str, Any]:
    """Stop the jobs of the last submission; those that train or extract save themselves first.

    Raises:
        InputError: nothing was submitted, or the scheduler does not answer, or only the user asks it.
    """
    submission = Submission.newest(run)
    if submission is None or not submission.is_here:
        raise _no_jobs(run, submission)
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


def _no_jobs(run: RunDirectory, elsewhere: Submission | None = None) -> InputError:
    """That there is nothing to look at or to stop, and what may be `elsewhere`, where the run lay when it was submitted."""
    if elsewhere is None:
        return InputError(f"{run.path} has no jobs; `subspace submit {in_shell(run.path)}` makes them")
    if not elsewhere.was_renamed:
        return InputError(
            f"{run.path} is a copy, and its jobs are of {elsewhere.run}: `subspace cancel {in_shell(elsewhere.run)}`"
        )
    return InputError(
        f"{_on_old_path(run, elsewhere)}; rename it back and call `subspace cancel {in_shell(elsewhere.run)}`, or stop "
        "them by the scheduler's own command"
    )


def _on_old_path(run: RunDirectory, submission: Submission) -> str:
    numbers = [task.id for task in submission.tasks]
    which = ", ".join(numbers[:5]) + (", ..." if len(numbers) > 5 else "")
    return (
        f"{run.path} was {submission.run} when it was submitted: {counted(len(numbers), 'job')} of {submission.scheduler} "
        f"({which}), and whether any is queued or running there is not known"
    )


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
