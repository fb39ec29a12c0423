"""`subspace submit`, `logs` and `cancel`: what is left of a run, handed to a scheduler."""

from __future__ import annotations

import os
import shlex
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ...mining.errors import InputError
from ..config import RunConfig
from ..options import Options
from ..rounds import check_run
from ..run_directory import RunDirectory
from ..schedule_config import ScheduleConfig
from ..stages.context import Context
from ..status import stage_statuses
from . import kubernetes, slurm
from . import local as local_jobs
from .job_states import job_states, live_tasks
from .jobs import Job, jobs_left
from .submission import Submission


def submit(context: Context) -> dict[str, Any]:
    """Hand all that is left of a run to `config.schedule.scheduler`; with a dry run show what that would be.

    Raises:
        InputError: jobs of this run are queued or running, or the scheduler refuses one.
        StaleArtifactError: a stage is done with other settings or inputs.
    """
    run, config, options = context.run, context.config, context.options
    scheduler, say = scheduler_of(config.schedule), options.console.say
    check_run(context)
    with nullcontext() if options.dry_run else run.locked("submit"):
        if not options.dry_run:
            _refuse_twice(run)
        jobs = jobs_left(context, scheduler)
        if not jobs:
            say(f"{run.path}: nothing is left to do")
            return {"scheduler": scheduler, "jobs": []}
        if options.dry_run:
            say(_shown(jobs, run, config, scheduler, options.overrides))
            return {"scheduler": scheduler, "jobs": [job.name for job in jobs], "dry_run": True}
        engine = {"slurm": slurm.submit, "kubernetes": kubernetes.write}.get(scheduler)
        submission = engine(jobs, run, config.schedule, options.overrides) if engine else None
    if submission is None:  # a process of this machine, which takes the lock itself
        submission = local_jobs.start(run, _processes(config), options.overrides)
    options.on_work()
    say(_told(submission, jobs, run, config))
    return {
        "scheduler": scheduler,
        "folder": str(submission.folder),
        "jobs": [job.name for job in jobs],
        "tasks": {task.id: task.job for task in submission.tasks},
    }


def scheduler_of(config: ScheduleConfig) -> str:
    """The scheduler that the settings mean on this machine."""
    if config.scheduler != "auto":
        return config.scheduler
    return "slurm" if shutil.which("sbatch") else "local"


def logs(context: Context, *, stage: str | None, failed: bool, lines: int) -> dict[str, str]:
    """The last lines of the logs of the last submission, by path: of a stage, or of the jobs that failed.

    Raises:
        InputError: nothing was submitted, or nothing has begun yet.
    """
    run = context.run
    submission = _latest(run)
    if submission.scheduler == "kubernetes":
        raise InputError(
            f"the logs of {run.path} are with Kubernetes: {kubernetes.asking_kubectl(submission)}"
        )
    tasks = submission.tasks
    if failed:
        tasks = job_states(context, submission, stage_statuses(context)).failed
    paths = [submission.log_of(task) for task in tasks if stage in (None, task.stage, task.job)]
    if not paths and not failed:
        jobs = ", ".join(dict.fromkeys(task.job for task in submission.tasks))
        raise InputError(f"{submission.folder} has no jobs of {stage}; there are {jobs}")
    return {str(path): _end_of(path, lines) for path in paths if path.exists()}


def _end_of(path: Path, lines: int) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 400 * lines))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def cancel(run: RunDirectory, options: Options) -> dict[str, Any]:
    """Stop the jobs of the last submission; those that train or extract save themselves first."""
    submission = _latest(run)
    found = live_tasks(run, submission)
    if found:
        if submission.scheduler == "slurm":
            slurm.cancel(found)
        else:
            local_jobs.cancel(run, found)
    states = ", ".join(
        f"{list(found.values()).count(state)} {state.lower()}" for state in sorted({*found.values()})
    )
    options.console.say(
        f"{run.path}: {len(found)} job(s) cancelled ({states}); `subspace submit {run.path}` goes on with what is left"
        if found
        else f"{run.path}: no job of it is queued or running"
    )
    return {"cancelled": sorted(found)}


def _latest(run: RunDirectory) -> Submission:
    submission = Submission.latest(run)
    if submission is None:
        raise InputError(f"{run.path} has no jobs; `subspace submit {run.path}` makes them")
    return submission


def _refuse_twice(run: RunDirectory) -> None:
    """A run has one submission at a time; the job that submits what comes after it does not count."""
    submission = Submission.latest(run)
    if submission is None or submission.scheduler == "kubernetes":
        return
    found = live_tasks(run, submission)
    found.pop(os.environ.get("SLURM_JOB_ID", ""), None)
    if found:
        raise InputError(
            f"{len(found)} job(s) of {run.path} are queued or running ({', '.join(sorted(found)[:5])}); wait for them "
            f"(`subspace status {run.path}`), or `subspace cancel {run.path}` first"
        )


def _shown(
    jobs: list[Job], run: RunDirectory, config: RunConfig, scheduler: str, overrides: tuple[str, ...]
) -> str:
    """What would be handed to the scheduler, in words that it or a shell understands."""
    nothing = "dry run: nothing was written or submitted"
    if scheduler == "local":
        command = local_jobs.command(run, _processes(config), overrides)
        return f"{shlex.join(['subspace', *command])} &\n{nothing}"
    if scheduler == "kubernetes":
        comments = [nothing, kubernetes.unseen(Path(config.manifest), run, config.schedule)]
        lines = [f"# {' '.join(comment.split())}" for comment in comments if comment]
        return "\n".join([kubernetes.text(jobs, run, config.schedule), *lines])
    return "\n".join([slurm.shown(jobs, run, config.schedule), nothing])


def _told(submission: Submission, jobs: list[Job], run: RunDirectory, config: RunConfig) -> str:
    if submission.scheduler == "kubernetes":
        unseen = kubernetes.unseen(Path(config.manifest), run, config.schedule)
        return "\n".join(
            [
                f"{run.path}: {len(jobs)} manifest(s); {shlex.quote(str(submission.folder / 'apply.sh'))} applies one after "
                f"another\n{kubernetes.asking_kubectl(submission)}",
                *([unseen] if unseen else []),
            ]
        )
    what = f"{len(jobs)} job(s), {len(submission.tasks)} with each task of an array"
    if submission.scheduler == "local":
        what = f"process {submission.tasks[0].id} does all that is left"
    return (
        f"{run.path}: {what}, in {submission.folder}\nhow it is: subspace status {run.path}; what failed: subspace logs "
        f"{run.path} --failed; stop it: subspace cancel {run.path}"
    )


def _processes(config: RunConfig) -> int:
    return config.schedule.of("train").processes_per_node
