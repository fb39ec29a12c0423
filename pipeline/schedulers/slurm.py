"""Slurm: the calls of sbatch, squeue and scancel."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...mining.artifacts import write_text
from ...mining.errors import InputError
from ..console import counted
from ..run_directory import RunDirectory
from ..stages.context import Context
from .jobs import Job
from .scheduler import NOTHING_WRITTEN, how_to_follow
from .slurm_scripts import array_tasks, job_arrays, slurm_script
from .submission import Submission

PATIENCE = 60.0
"""Seconds that a command of Slurm may take: with a sick controller they wait for ever."""
USUAL_ARRAY = 1001
"""Slurm's MaxArraySize where nobody has set it; the highest index of an array is one less."""


@dataclass(frozen=True)
class Slurm:
    """Every job is a script for sbatch, or an array of them, and waits for the one before (`afterok`).

    The first is held until all are submitted: it would want the run's lock, which `subspace submit` has until then.
    """

    name: str

    @property
    def own_job(self) -> str | None:
        """The job that this process is part of: the last job of a run may submit what comes after it."""
        return os.environ.get("SLURM_JOB_ID")

    def show(self, jobs: list[Job], context: Context) -> str:
        """Every script, under the call of sbatch that would submit it; typed by hand, the first needs no `--hold`."""
        run, config = context.run, context.config.schedule
        lines, previous = [], ""
        try:
            size = max_array_size()
        except InputError:  # a dry run elsewhere
            size = USUAL_ARRAY
        for job in jobs:
            dependency = f"--dependency=afterok:<{previous}> " if previous else ""
            for array, _ in job_arrays(job, config, size):
                words = [*array[:1], f"{job.name}.sh", *array[1:]]
                lines.append(f"### sbatch {dependency}{' '.join(words)}")
            lines.append(slurm_script(job, run, config, Submission.next_folder(run) / "logs"))
            previous = job.name
        return "\n".join([*lines, NOTHING_WRITTEN])

    def start(self, jobs: list[Job], context: Context, unlock: Callable[[], None]) -> Submission:
        """Hand the jobs to sbatch, each behind the one before; what has a number is kept at once.

        None begins before all are submitted: if that ends by an error or a signal on the way, they are taken back.

        Raises:
            InputError: sbatch refuses one.
        """
        run, config = context.run, context.config.schedule
        size = max_array_size()
        if "\n" in f"{run.path.resolve()}{Path.cwd()}":
            raise InputError(f"{str(run.path)!r}: a path with a line break cannot be in a script; rename it")
        submission, previous = Submission.new(run, self.name, context.options.overrides), ""
        held: list[str] = []
        try:
            for job in jobs:
                path = submission.folder / f"{job.name}.sh"
                write_text(path, slurm_script(job, run, config, submission.logs))
                ids = []
                for array, groups in job_arrays(job, config, size):
                    number = _sbatch(path, array, previous)
                    ids.append(number)
                    submission = submission.with_tasks(array_tasks(job, number, groups, config, size))
                    submission.keep()
                held, previous = held or ids, ":".join(ids)
            unlock()  # another `subspace submit` sees these jobs
            for number in held:
                _call(["scontrol", "release", number])
        except BaseException:
            self.cancel(run, submission, [task.id for task in submission.tasks])
            submission.forget()
            raise
        context.say(
            f"{run.path}: {counted(len(jobs), 'job')}, {len(submission.tasks)} with each task of an array, in "
            f"{submission.folder}"
        )
        context.say(how_to_follow(run))
        return submission

    def live(self, run: RunDirectory, submission: Submission) -> dict[str, str]:
        """All jobs of the user that Slurm still has, by number (17, or 17_3 of an array): RUNNING, PENDING, ..."""
        lines = _call(
            ["squeue", f"--user={submission.user}", "--array", "--noheader", "--format=%i|%T"]
        ).splitlines()
        return dict(line.strip().split("|", 1) for line in lines if "|" in line)

    def cancel(self, run: RunDirectory, submission: Submission, ids: Iterable[str]) -> None:
        """Take jobs back, and stop those that run: they have KillWait to save themselves (30 s, usually)."""
        numbers = sorted(set(ids))
        for begin in range(0, len(numbers), 500):
            _call(["scancel", *numbers[begin : begin + 500]])

    def logs(self, run: RunDirectory, submission: Submission) -> Path:
        """The folder that the scripts name as their output."""
        return submission.logs


def max_array_size() -> int:
    """How many jobs an array may have, the highest index being one less."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", _call(["scontrol", "show", "config"]))
    return max(1, int(found[1])) if found else USUAL_ARRAY


def _sbatch(path: Path, array: tuple[str, ...], previous: str) -> str:
    """Submit a script in its own folder, held where there is none before it; return its number."""
    begins = f"--dependency=afterok:{previous}" if previous else "--hold"
    answer = _call(["sbatch", "--parsable", begins, *array[:1], path.name, *array[1:]], path.parent)
    return answer.strip().partition(";")[0]  # NUMBER;CLUSTER where there are several clusters


def _call(command: list[str], folder: Path | None = None) -> str:
    # What a job that submits others was given itself is not meant for them.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SLURM_") or name == "SLURM_CONF"
    }
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except FileNotFoundError as error:
        raise InputError(
            f"there is no {command[0]} here; submit from a node of the Slurm cluster, or set schedule.scheduler=local"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{command[0]} gave no answer in {PATIENCE:.0f} s; is the controller well? (scontrol ping)"
        ) from error
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise InputError(f"{command[0]} refused: {reason}")
    return done.stdout
