"""A job as a script for sbatch, and the arrays of tasks that Slurm allows for it."""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..configuration.schedule_config import JobConfig, ScheduleConfig
from ..run_directory import RunDirectory
from .job_requests import job_request, processes_in_all
from .jobs import Job, ranges
from .submission import Task


def slurm_script(job: Job, run: RunDirectory, config: ScheduleConfig, logs: Path) -> str:
    """The job as a person would write it for sbatch; an array takes the first of its shards' groups as an argument.

    Every command is a step of the job (srun), also where it is one process: so signals reach it whatever Slurm's way of
    tracking processes is, and its exit code comes back. srun itself must not be sent TERM: it would kill at once.

    Args:
        logs: the folder of its log.
    """
    asks = job_request(config, job.stage)
    together = processes_in_all(config, job.stage)
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
    asks = job_request(config, job.stage)
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
    """Options of srun for a step, besides those of its size."""
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


def job_arrays(job: Job, config: ScheduleConfig, size: int) -> Iterator[tuple[tuple[str, ...], list[int]]]:
    """Arguments of sbatch around the script, and the groups of shards, for each array that Slurm allows."""
    if not job.shards:
        yield (), []
        return
    groups = sorted({shard // config.shards_per_job for shard in job.shards})
    parts = [list(part) for _, part in groupby(groups, lambda group: group // size)]
    # They run side by side, and share the limit.
    limit = f"%{max(1, config.max_running // len(parts))}" if config.max_running else ""
    for part in parts:
        first = part[0] // size * size
        yield (f"--array={_indices(group - first for group in part)}{limit}", str(first)), part


def _indices(numbers: Iterable[int]) -> str:
    """0-2,5 for 0, 1, 2, 5, as sbatch reads it."""
    return ",".join(f"{first}-{last}" if first < last else f"{first}" for first, last in ranges(numbers))


def array_tasks(
    job: Job, number: str, groups: list[int], config: ScheduleConfig, size: int
) -> Iterator[Task]:
    """The tasks of a job that sbatch gave a number: one, or one for each group of shards."""
    if not groups:
        yield Task(job.name, job.stage, job.folder, number)
        return
    per_job = config.shards_per_job
    for group in groups:
        shards = tuple(range(group * per_job, min(job.num_shards, (group + 1) * per_job)))
        yield Task(job.name, job.stage, job.folder, f"{number}_{group % size}", shards, job.num_shards)
