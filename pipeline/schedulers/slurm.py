"""Slurm: a job as a script for sbatch, and the calls of sbatch, squeue and scancel."""

from __future__ import annotations

import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...mining.artifacts import write_text
from ...mining.errors import InputError
from ..run_directory import RunDirectory
from ..schedule_config import JobConfig, ScheduleConfig
from .jobs import Job, ranges
from .submission import Submission, Task

PATIENCE = 60.0
"""Seconds that a command of Slurm may take: with a sick controller they wait for ever."""
USUAL_ARRAY = 1001
"""Slurm's MaxArraySize where nobody has set it; the highest index of an array is one less."""


def script(job: Job, run: RunDirectory, config: ScheduleConfig, logs: Path) -> str:
    """The job as a person would write it for sbatch; an array takes the first of its shards' groups as an argument.

    Every command is a step of the job (srun), also where it is one process: so signals reach it whatever Slurm's way of
    tracking processes is, and its exit code comes back. srun itself must not be sent TERM: it would kill at once.

    Args:
        logs: folder of the log.
    """
    asks = config.of(job.stage)
    together = config.processes_in_all(job.stage)
    tasks = config.shards_per_job if job.shards else (asks.processes_per_node if together > 1 else 1)
    return _template().render(
        job=job,
        run=run.path.resolve(),
        directives=list(_directives(job, run, config, tasks, logs)),
        folder=Path.cwd(),
        setup=config.setup or (f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"',),
        prefix=config.prefix,
        asks=asks,
        together=together,
        tasks=tasks,
        threads=max(1, asks.cpus // tasks),
        step=list(_step(job, asks, tasks, together, config.save_seconds)),
        requeues=config.requeues,
    )


def _directives(job: Job, run: RunDirectory, config: ScheduleConfig, tasks: int, logs: Path) -> Iterator[str]:
    asks = config.of(job.stage)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{run.path.resolve().name}-{job.name}")
    yield f"--job-name={name}"
    # Slurm replaces %j and the like in the folder too, even where a relative path leaves it unsaid.
    folder = str(logs.resolve()).replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    yield f'--output="{folder}/{job.name}-{"%A_%a" if job.shards else "%j"}.log"'
    yield "--open-mode=append"
    yield "--requeue"
    yield f"--signal=B:USR1@{config.save_seconds}"
    yield "--kill-on-invalid-dep=yes"
    yield f"--nodes={asks.nodes}"
    yield f"--ntasks-per-node={tasks}"
    yield f"--cpus-per-task={max(1, asks.cpus // tasks)}"
    yield f"--mem={math.ceil(1024 * asks.memory_gb)}M"
    minutes = max(1, math.ceil(60 * asks.hours))
    yield f"--time={minutes // 60}:{minutes % 60:02d}:00"
    if asks.gpus:
        yield f"--gpus-per-node={asks.gpus}"
    for option in ("partition", "account", "constraint"):
        value = getattr(asks, option)
        if value is not None:
            yield f"--{option}={shlex.quote(value)}"
    yield from asks.flags


def _step(job: Job, asks: JobConfig, tasks: int, together: int, save_seconds: int) -> Iterator[str]:
    """What srun is told of a step, besides its size."""
    yield "--kill-on-bad-exit=0"  # who ends first has saved first; the others are still at it
    if together > 1:
        yield "--distribution=block"  # process 0 is on the node that runs the script
        yield f"--wait={save_seconds}"
    elif tasks > 1:
        yield "--wait=0"  # shards differ
    if job.shards and asks.gpus >= tasks > 1:
        yield f"--gpus-per-task={asks.gpus // tasks}"


@cache
def _template():
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # shell, where `sh` quotes
    )
    environment.filters["sh"] = lambda words: (
        shlex.join(map(str, words)) if isinstance(words, (tuple, list)) else shlex.quote(str(words))
    )
    return environment.get_template("slurm_job.sh.j2")


def shown(jobs: Iterable[Job], run: RunDirectory, config: ScheduleConfig) -> str:
    """Every script, under the call of sbatch that would submit it."""
    lines, before = [], ""
    try:
        size = max_array_size()
    except InputError:  # a dry run elsewhere
        size = USUAL_ARRAY
    for job in jobs:
        after = f"--dependency=afterok:<{before}> " if before else ""
        for array, _ in _arrays(job, config, size):
            words = [f"{job.name}.sh", *array[1:]]
            lines.append(f"### sbatch {after}{' '.join([*array[:1], *words])}")
        lines.append(script(job, run, config, Submission.next_folder(run) / "logs"))
        before = job.name
    return "\n".join(lines)


def submit(
    jobs: Iterable[Job], run: RunDirectory, config: ScheduleConfig, overrides: tuple[str, ...]
) -> Submission:
    """Hand the jobs to sbatch, each behind the one before; what has a number is kept at once.

    If it ends by an error or a signal on the way, the jobs before are taken back.

    Raises:
        InputError: sbatch refuses one.
    """
    size = max_array_size()
    if "\n" in f"{run.path.resolve()}{Path.cwd()}":
        raise InputError(f"{str(run.path)!r}: a path with a line break cannot be in a script; rename it")
    submission, before = Submission.new(run, "slurm", overrides), ""
    try:
        for job in jobs:
            path = submission.folder / f"{job.name}.sh"
            write_text(path, script(job, run, config, submission.folder / "logs"))
            ids = []
            for array, groups in _arrays(job, config, size):
                number = _sbatch(path, array, before)
                ids.append(number)
                submission = submission.having(_tasks(job, number, groups, config, size))
                submission.keep()
            before = ":".join(ids)
    except BaseException:
        cancel([task.id for task in submission.tasks])
        raise
    return submission


def _arrays(job: Job, config: ScheduleConfig, size: int) -> Iterator[tuple[tuple[str, ...], list[int]]]:
    """Arguments of sbatch around the script, and the groups of shards, for each array that Slurm allows."""
    if not job.shards:
        yield (), []
        return
    groups = sorted({shard // config.shards_per_job for shard in job.shards})
    arrays = [list(own) for _, own in groupby(groups, lambda group: group // size)]
    # They run side by side, and share the limit.
    limit = f"%{max(1, config.max_running // len(arrays))}" if config.max_running else ""
    for own in arrays:
        first = own[0] // size * size
        yield (f"--array={_indices(group - first for group in own)}{limit}", str(first)), own


def _indices(numbers: Iterable[int]) -> str:
    """0-2,5 for 0, 1, 2, 5, as sbatch reads it."""
    return ",".join(f"{first}-{last}" if first < last else f"{first}" for first, last in ranges(numbers))


def _tasks(job: Job, number: str, groups: list[int], config: ScheduleConfig, size: int) -> Iterator[Task]:
    if not groups:
        yield Task(job.name, job.stage, job.folder, number)
        return
    per_job = config.shards_per_job
    for group in groups:
        shards = tuple(range(group * per_job, min(job.num_shards, (group + 1) * per_job)))
        yield Task(job.name, job.stage, job.folder, f"{number}_{group % size}", shards, job.num_shards)


def _sbatch(path: Path, array: tuple[str, ...], before: str) -> str:
    """Submit a script in its own folder; return its number."""
    dependency = [f"--dependency=afterok:{before}"] if before else []
    said = _call(["sbatch", "--parsable", *dependency, *array[:1], path.name, *array[1:]], path.parent)
    return said.strip().partition(";")[0]  # NUMBER;CLUSTER where there are several clusters


def max_array_size() -> int:
    """How many jobs an array may have, the highest index being one less."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", _call(["scontrol", "show", "config"]))
    return max(1, int(found[1])) if found else USUAL_ARRAY


def live(user: str) -> dict[str, str]:
    """A user's jobs that Slurm still has, by number (17, or 17_3 of an array): RUNNING, PENDING, ..."""
    lines = _call(["squeue", f"--user={user}", "--array", "--noheader", "--format=%i|%T"]).splitlines()
    return dict(line.strip().split("|", 1) for line in lines if "|" in line)


def cancel(ids: Iterable[str]) -> None:
    """Take jobs back, and stop those that run: they have KillWait to save themselves (30 s, usually)."""
    numbers = sorted(set(ids))
    for begin in range(0, len(numbers), 500):
        _call(["scancel", *numbers[begin : begin + 500]])


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
        told = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise InputError(f"{command[0]} refused: {told}")
    return done.stdout
