"""The pods of a job on Kubernetes: image, resources, volumes, and what ends them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from ...mining.errors import InputError
from ..configuration.schedule_config import JobConfig, ScheduleConfig
from ..run_directory import RunDirectory
from .job_requests import job_request, processes_in_all
from .jobs import Job
from .pod_scripts import pod_script

WORK = "work"
"""The name of the container."""
FOR_TORCHRUN = 10
"""Seconds of the grace period that torchrun itself takes to end."""
LONGEST = 2**31 - 1
"""Seconds that a pod can be allowed at most."""

GIVEN_UP = (1, 2, 3, 126, 127)
"""Exit codes that another attempt would only repeat: a bug, wrong input, a stale artifact, no such program."""


def failure_policy(eviction: str) -> dict[str, Any]:
    """What fails a job at once. All else (4: stopped; 137: killed) is tried again, as often as the job says.

    Args:
        eviction: what a pod does that the cluster takes away, however it ends: Ignore, or Count as an attempt.
    """
    return {
        "rules": [
            {"action": eviction, "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {
                "action": "FailJob",
                "onExitCodes": {"containerName": WORK, "operator": "In", "values": list(GIVEN_UP)},
            },
        ]
    }


def pod_template(
    job: Job, run: RunDirectory, config: ScheduleConfig, name: str, labels: dict[str, str]
) -> dict[str, Any]:
    """A pod as the template of a job has it.

    The time limit is that of a pod, as Slurm's is that of an attempt: a job's own `activeDeadlineSeconds` would cover
    all shards and all attempts together, and nothing is tried again after it.

    Args:
        name: the object's that makes the pods.

    Raises:
        InputError: a run outside of what is mounted.
    """
    asks, mount = job_request(config, job.stage), mount_of(run, config)
    folder = {"workingDir": str(Path.cwd())} if Path.cwd().is_relative_to(mount) else {}
    container = {
        "name": WORK,
        "image": config.kubernetes.image,
        **folder,
        "command": ["bash", "-ec", _literal(pod_script(job, config, name))],
        "env": [{"name": key, "value": value} for key, value in _environment(job, config).items()],
        "resources": _resources(asks),
        "volumeMounts": [{"name": "runs", "mountPath": str(mount)}],
    }
    volumes: list[dict[str, Any]] = [
        {"name": "runs", "persistentVolumeClaim": {"claimName": config.kubernetes.claim}}
    ]
    if asks.gpus:
        # The 64 MiB that a container has otherwise are too few for NCCL; counts as its memory.
        container["volumeMounts"].append({"name": "shared-memory", "mountPath": "/dev/shm"})
        volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory"}})
    return {
        "metadata": {"labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": min(math.ceil(3600 * asks.hours), LONGEST),
            "terminationGracePeriodSeconds": config.save_seconds + FOR_TORCHRUN,
            "containers": [container],
            "volumes": volumes,
        },
    }


def mount_of(run: RunDirectory, config: ScheduleConfig) -> Path:
    """The path at which the claim is mounted, the same in the pods as here.

    Raises:
        InputError: the run is not below it, or it is no path that can be mounted.
    """
    path, given = run.path.resolve(), config.kubernetes.mount
    mount = Path(given) if given is not None else path.parent
    if not mount.is_absolute() or mount == Path(mount.anchor) or ":" in str(mount):
        raise InputError(
            f"{mount} cannot be mounted in a pod; set schedule.kubernetes.mount to a folder above {path}, "
            "without ':' in its path"
        )
    if not path.is_relative_to(mount):
        raise InputError(
            f"{path} is not below schedule.kubernetes.mount={mount}, so that no pod could see it; set that to a folder "
            "above the run and its manifest"
        )
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{str(path)!r} is no UTF-8, which manifests are written in; rename it") from error
    return mount


def _environment(job: Job, config: ScheduleConfig) -> dict[str, str]:
    asks, together = job_request(config, job.stage), processes_in_all(config, job.stage)
    side_by_side = config.shards_per_job if job.shards else asks.processes_per_node if together > 1 else 1
    variables = {"OMP_NUM_THREADS": str(max(1, asks.cpus // side_by_side))}
    if together > 1:
        variables["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(config.save_seconds)
        variables["TORCH_CPP_LOG_LEVEL"] = "ERROR"  # DistributedDataParallel warns of a flag that is meant
    return variables


def _resources(asks: JobConfig) -> dict[str, Any]:
    """Requests that are limits too: such pods are the last to be evicted."""
    amounts = {"cpu": str(asks.cpus), "memory": f"{math.ceil(1024 * asks.memory_gb)}Mi"}
    if asks.gpus:
        amounts["nvidia.com/gpu"] = str(asks.gpus)
    return {"requests": amounts, "limits": dict(amounts)}


def _literal(text: str) -> str:
    """The text, written so that it is the same when Kubernetes has replaced $(NAME) and $$ in it."""
    return re.sub(r"\$(?=[$(])", "$$", text)
