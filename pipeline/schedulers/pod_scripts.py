"""What bash does in each pod of a job.

At the end of a pod (eviction, time limit, deletion) SIGTERM comes to its first process alone, which is bash. So bash
is replaced by the work where there is only one, and otherwise passes the signal on and waits until all is saved.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from ..configuration.schedule_config import ScheduleConfig
from .job_requests import job_request, processes_in_all
from .jobs import Job, ranges

PORT = 29500
"""The port of the first pod, at which the processes of a training meet."""
GROUP = "node"
"""The name of the replicated job of a JobSet; part of the host names of its pods."""

SEVERAL = """\
# SIGTERM comes to this shell alone: it passes the signal on to the work, and waits until that has saved itself.
work='' stopped=''
trap 'stopped=yes; kill -TERM $work 2>/dev/null || :' TERM
begin() {
    [ -z "$stopped" ] || return 0
    "$@" &
    work+=" $!"
    [ -z "$stopped" ] || kill -TERM $! 2>/dev/null || :  # stopped before the trap knew of it
}
finish() {  # with the exit code of the work, or 4: stopped, to be continued
    local process code=0
    for process in $work; do
        while kill -0 "$process" 2>/dev/null; do wait "$process" || :; done  # a signal ends a wait
        wait "$process" || code=$?
    done
    work=''
    [ $code -ne 0 ] || [ -z "$stopped" ] || code=4
    return $code
}
run() { begin "$@"; finish; }
"""


def pod_script(job: Job, config: ScheduleConfig, name: str) -> str:
    """The script for `bash -ec`; ends with 4 when it was stopped and can be continued.

    Args:
        name: the object's that makes the pods.
    """
    if job.shards:
        lines = list(_shards(job, config))
    elif len(job.commands) == 1:
        lines = [f"exec {_command(job, job.commands[0], config, name)}"]
    else:
        lines = [
            SEVERAL,
            " &&\n".join(f"run {_command(job, command, config, name)}" for command in job.commands),
        ]
    setup = ["trap 'exit 4' TERM  # before the work", *config.setup] if config.setup else []
    return "\n".join([*setup, *lines]) + "\n"


def _command(job: Job, command: tuple[str, ...], config: ScheduleConfig, name: str) -> str:
    """One command of `subspace`, begun by torchrun where several processes share its work."""
    asks = job_request(config, job.stage)
    if processes_in_all(config, job.stage) == 1:
        return shlex.join([*config.prefix, "subspace", *command])
    first = f"{name}-{GROUP}-0-0.{name}"
    return (
        f"{shlex.join([*config.prefix, 'subspace-torchrun'])} --nnodes={asks.nodes} "
        f"--nproc-per-node={asks.processes_per_node} --max-restarts=0 \\\n"
        f'    --rdzv-backend=static --rdzv-endpoint={first}:{PORT} --node-rank="$JOB_COMPLETION_INDEX" \\\n'
        f"    --no-python {shlex.join(['subspace', *command])}"
    )


def _shards(job: Job, config: ScheduleConfig) -> Iterator[str]:
    """The shards of a pod, by its index among the pods of the job."""
    together, gpus = config.shards_per_job, job_request(config, job.stage).gpus
    words = shlex.join([*config.prefix, "subspace", *job.commands[0]])
    if together > 1:
        yield SEVERAL
    shard = "$JOB_COMPLETION_INDEX"
    if together > 1 or len(job.shards) < job.num_shards:
        yield f"shards=({_braces(job.shards)})  # those that are not done"
        shard = "${shards[JOB_COMPLETION_INDEX]}"
    if together == 1:
        yield f'exec {words} --shard "{shard}" --num-shards {job.num_shards}'
        return
    device = f"CUDA_VISIBLE_DEVICES=$((place++ % {gpus})) " if gpus > 1 else ""
    yield from ["place=0"] if device else []
    yield f'for shard in "${{shards[@]:JOB_COMPLETION_INDEX * {together}:{together}}}"; do'
    yield f'    {device}begin {words} --shard "$shard" --num-shards {job.num_shards}'
    yield "done"
    yield "finish"


def _braces(shards: tuple[int, ...]) -> str:
    """{0..2} 5 for 0, 1, 2, 5, as bash reads it."""
    return " ".join(f"{{{first}..{last}}}" if first < last else f"{first}" for first, last in ranges(shards))
