"""Kubernetes: the jobs of a run as manifests, and a script that applies them one after another.

Objects of Kubernetes cannot wait for each other by themselves, as jobs of Slurm do. So nothing is submitted here:
RUN/jobs/NNN/ gets 01-start-pretrain.yaml, 02-round-000-extract.yaml, ..., and apply.sh, which applies one, waits until
it is complete, and goes on with the next. It can be stopped and started again at any time.

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

from ...mining.artifacts import write_text
from ..run_directory import RunDirectory
from ..schedule_config import ScheduleConfig
from .jobs import Job
from .pod_scripts import GROUP
from .pods import failure_policy, mount_of, pod_template
from .submission import Submission, Task

RUN = "subspace.run"
"""Label of everything that belongs to a run."""
JOB = "subspace.job"
"""Label with the name of the job: round-000-train."""

APPLY = """\
#!/bin/bash
# Applies the manifests beside it one after another, each once the one before is complete; stops at one that fails.
# Start it again at any time: what is complete is not done again.
set -eu
cd "$(dirname "$0")"
namespace=NAMESPACE
run=LABEL
failed='jsonpath={.status.conditions[?(@.type=="Failed")].status}'

job() {  # PLACE NAME KIND CONDITION: apply it, and wait until it is complete or has failed
    local object="$3/$run-NUMBER-$2" state
    echo "== $1 $2"
    kubectl apply --filename "$1-$2.yaml"
    until kubectl wait --namespace "$namespace" --for="condition=$4" --timeout=30s "$object" >/dev/null 2>&1; do
        state=$(kubectl get --namespace "$namespace" --output "$failed" "$object")
        if [ "$state" = True ]; then
            echo "$object failed; what it said: kubectl logs --namespace $namespace --prefix --tail 50 --selector" \\
                "subspace.run=$run,subspace.job=$2"
            echo "submit the run again for what is left"
            exit 1
        fi
        sleep 1
    done
}

"""


def run_label(run: RunDirectory) -> str:
    """The run in names and labels of Kubernetes: what they allow of its name, and six digits that stand for its path."""
    path = run.path.resolve()
    ascii_name = unicodedata.normalize("NFKD", path.name).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")
    if not name[:1].isalpha():
        name = f"run-{name}"
    digits = hashlib.blake2b(str(path).encode(errors="surrogateescape"), digest_size=3).hexdigest()
    return f"{name[:15].strip('-')}-{digits}"


def asking_kubectl(submission: Submission) -> str:
    """The commands that say how its jobs are, what they say, and that stop them."""
    namespace, _, name = submission.tasks[0].id.partition("/")
    label = name.removesuffix(f"-{submission.folder.name}-{submission.tasks[0].job}")
    which = f"--namespace {namespace} --selector {RUN}={label}"
    return (
        f"`kubectl get jobs,jobsets,pods {which}` says how they are, `kubectl logs --prefix --tail 50 {which}` what they "
        f"say, and `kubectl delete jobs,jobsets {which}` stops them"
    )


def unseen(path: Path, run: RunDirectory, config: ScheduleConfig) -> str | None:
    """What is wrong if the pods cannot see a file that the stages read; None if they can."""
    mount = mount_of(run, config)
    if path.resolve().is_relative_to(mount):
        return None
    return f"{path} is not below {mount}, which is all that the pods see; set schedule.kubernetes.mount to a folder above both"


def text(jobs: list[Job], run: RunDirectory, config: ScheduleConfig) -> str:
    """All documents, each under its place in the order.

    Raises:
        InputError: a run outside of what is mounted.
    """
    return "---\n".join(_documents(jobs, run, config, Submission.next_folder(run)).values())


def write(
    jobs: list[Job], run: RunDirectory, config: ScheduleConfig, overrides: tuple[str, ...]
) -> Submission:
    """Write a manifest for each job, and apply.sh.

    Raises:
        InputError: a run outside of what is mounted.
    """
    documents = _documents(jobs, run, config, Submission.next_folder(run))
    submission = Submission.new(run, "kubernetes", overrides)
    folder = submission.folder
    for file, document in documents.items():
        write_text(folder / file, document)
    write_text(folder / "apply.sh", _apply_script(jobs, run, config, folder))
    (folder / "apply.sh").chmod(0o755)
    ids = [f"{config.kubernetes.namespace}/{_name(job, run, folder)}" for job in jobs]
    tasks = (
        Task(job.name, job.stage, job.folder, number, job.shards, job.num_shards)
        for job, number in zip(jobs, ids, strict=True)
    )
    submission = submission.having(tasks)
    submission.keep()
    return submission


def _documents(jobs: list[Job], run: RunDirectory, config: ScheduleConfig, folder: Path) -> dict[str, str]:
    """The text of each manifest, by the name of its file."""
    documents, before = {}, ""
    for number, job in enumerate(jobs, start=1):
        document = yaml.dump(
            manifest(job, run, config, folder),
            Dumper=_Readable,
            sort_keys=False,
            allow_unicode=True,
            width=10_000,
        )
        head = f"# {number} of {len(jobs)}: {job.name}{before}"
        documents[f"{number:02d}-{job.name}.yaml"] = f"{head}\n{document}"
        before = f", once {job.name} is complete"
    return documents


class _Readable(yaml.SafeDumper):
    """Scripts as lines, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.Node:
        """A text of several lines as it is."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _Readable.represent_text)


def manifest(job: Job, run: RunDirectory, config: ScheduleConfig, folder: Path) -> dict[str, Any]:
    """The object that does a job.

    Args:
        folder: of the submission; its number is part of the object's name, since objects cannot be changed.

    Raises:
        InputError: a run outside of what is mounted.
    """
    name, labels = _name(job, run, folder), {RUN: run_label(run), JOB: job.name}
    template = pod_template(job, run, config, name, labels)
    together = config.processes_in_all(job.stage) > 1
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


def _name(job: Job, run: RunDirectory, folder: Path) -> str:
    """At most 45 characters: JobSet adds `-node-0-12-abcde` for a pod, and 63 are allowed."""
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
    nodes = config.of(job.stage).nodes
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


def _apply_script(jobs: list[Job], run: RunDirectory, config: ScheduleConfig, folder: Path) -> str:
    words = {"NAMESPACE": config.kubernetes.namespace, "LABEL": run_label(run), "NUMBER": folder.name}
    lines = [re.sub("|".join(words), lambda word: words[word[0]], APPLY)]
    for number, job in enumerate(jobs, start=1):
        kind = "jobset Completed" if config.processes_in_all(job.stage) > 1 else "job Complete"
        lines.append(f"job {number:02d} {job.name} {kind}\n")
    if any(command[0] == "submit" for job in jobs for command in job.commands):
        after = f"../{int(folder.name) + 1:03d}/apply.sh"
        lines.append(
            f"\n# The last job has written what is still to come, if anything is.\n[ ! -e {after} ] || exec {after}\n"
        )
    return "".join(lines)
