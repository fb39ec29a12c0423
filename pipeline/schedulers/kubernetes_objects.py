"""The objects of Kubernetes that do the jobs of a run, and their names.

extract                         an Indexed Job: each index is a shard, or a few, and is tried again by itself
training in several processes   a JobSet, whose pods torchrun joins; one that fails begins all of them again
all else                        a Job
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from pathlib import Path
from typing import Any

import yaml

from ..configuration.schedule_config import ScheduleConfig
from ..run_directory import RunDirectory
from .job_requests import job_request, processes_in_all
from .jobs import Job
from .pod_scripts import GROUP
from .pods import failure_policy, pod_template

RUN = "subspace.run"
"""Label of everything that belongs to a run."""
JOB = "subspace.job"
"""Label with the name of the job: round-000-train."""


def run_label(run: RunDirectory) -> str:
    """The run in names and labels of Kubernetes: what they allow of its name, and six digits that stand for its path."""
    path = run.path.resolve()
    ascii_name = unicodedata.normalize("NFKD", path.name).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")
    if not name[:1].isalpha():
        name = f"run-{name}"
    digits = hashlib.blake2b(str(path).encode(errors="surrogateescape"), digest_size=3).hexdigest()
    return f"{name[:15].strip('-')}-{digits}"


def object_texts(jobs: list[Job], run: RunDirectory, config: ScheduleConfig, folder: Path) -> dict[str, str]:
    """The object of each job as YAML, by the name of its file, in order.

    Args:
        folder: the submission's; its number is part of the objects' names, since objects cannot be changed.

    Raises:
        InputError: a run outside of what is mounted.
    """
    texts, waits_for = {}, ""
    for number, job in enumerate(jobs, start=1):
        text = yaml.dump(
            job_object(job, run, config, folder),
            Dumper=_Readable,
            sort_keys=False,
            allow_unicode=True,
            width=10_000,
        )
        head = f"# {number} of {len(jobs)}: {job.name}{waits_for}"
        texts[f"{number:02d}-{job.name}.yaml"] = f"{head}\n{text}"
        waits_for = f", once {job.name} is complete"
    return texts


class _Readable(yaml.SafeDumper):
    """Writes scripts as lines, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.Node:
        """Writes a text of several lines as it is."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _Readable.represent_text)


def job_object(job: Job, run: RunDirectory, config: ScheduleConfig, folder: Path) -> dict[str, Any]:
    """The object that does a job.

    Args:
        folder: the submission's, as for `object_texts`.

    Raises:
        InputError: a run outside of what is mounted.
    """
    name, labels = object_name(job, run, folder), {RUN: run_label(run), JOB: job.name}
    template = pod_template(job, run, config, name, labels)
    together = processes_in_all(config, job.stage) > 1
    queue = config.kubernetes.queue
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2" if together else "batch/v1",
        "kind": "JobSet" if together else "Job",
        "metadata": {
            "name": name,
            "namespace": config.kubernetes.namespace,
            "labels": {**labels, **({"kueue.x-k8s.io/queue-name": queue} if queue else {})},
            "annotations": {"subspace.run/path": str(run.path.resolve())},
        },
        "spec": _job_set(job, config, labels, template) if together else _job(job, config, template),
    }


def object_name(job: Job, run: RunDirectory, folder: Path) -> str:
    """A name of at most 45 characters: JobSet adds `-node-0-12-abcde` for a pod, and 63 are allowed."""
    return f"{run_label(run)}-{folder.name}-{job.name}"


def _job(job: Job, config: ScheduleConfig, template: dict[str, Any]) -> dict[str, Any]:
    attempts: dict[str, Any] = {"backoffLimit": config.requeues}
    if job.shards:
        indices = math.ceil(len(job.shards) / config.shards_per_job)
        attempts = {
            "completionMode": "Indexed",
            "completions": indices,
            "parallelism": min(indices, config.max_running or indices),
            "backoffLimitPerIndex": config.requeues,
        }
    return {**attempts, "podFailurePolicy": failure_policy(eviction="Ignore"), "template": template}


def _job_set(
    job: Job, config: ScheduleConfig, labels: dict[str, str], template: dict[str, Any]
) -> dict[str, Any]:
    """One process that is gone ends the others, so any pod that fails, or is evicted, begins all of them again."""
    nodes = job_request(config, job.stage).nodes
    spec = {
        "completionMode": "Indexed",
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimit": 0,
        "podFailurePolicy": failure_policy(eviction="Count"),
        "template": template,
    }
    given_up = {"name": "given_up", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    return {
        "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
        "failurePolicy": {"maxRestarts": config.requeues, "rules": [given_up]},
        "replicatedJobs": [
            {"name": GROUP, "replicas": 1, "template": {"metadata": {"labels": labels}, "spec": spec}}
        ],
    }
