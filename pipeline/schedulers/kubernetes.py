"""Kubernetes: the jobs of a run as manifests, and a script that applies them one after another.

Objects of Kubernetes cannot wait for each other by themselves, as jobs of Slurm do. So nothing is submitted here:
RUN/jobs/NNN/ gets 01-start-pretrain.yaml, 02-round-000-extract.yaml, ..., and apply.sh, which applies one, waits until
it is complete, and goes on with the next. It can be stopped and started again at any time.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ...mining.artifacts import write_text
from ...mining.remote import is_url
from ..configuration.schedule_config import ScheduleConfig
from ..console import counted
from ..run_directory import RunDirectory
from ..stages.context import Context
from .job_requests import processes_in_all
from .jobs import Job
from .kubernetes_objects import RUN, object_name, object_texts, run_label
from .pods import mount_of
from .scheduler import NOTHING_WRITTEN, NotAskedError
from .submission import Submission, Task

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


@dataclass(frozen=True)
class Kubernetes:
    """Manifests are written and the user applies them, so that nothing here asks a cluster."""

    name: str

    @property
    def own_job(self) -> None:
        """None: a pod that writes what comes after it is not among the tasks that are asked for."""
        return

    def show(self, jobs: list[Job], context: Context) -> str:
        """All manifests as one stream of YAML, each under its place in the order.

        Raises:
            InputError: a run outside of what is mounted.
        """
        folder = Submission.next_folder(context.run)
        texts = object_texts(jobs, context.run, context.config.schedule, folder).values()
        comments = [NOTHING_WRITTEN, _unseen_manifest(context)]
        lines = [f"# {' '.join(comment.split())}" for comment in comments if comment]
        return "\n".join(["---\n".join(texts), *lines])

    def start(self, jobs: list[Job], context: Context, unlock: Callable[[], None]) -> Submission:
        """Write a manifest for each job, and apply.sh, which the user starts.

        Raises:
            InputError: a run outside of what is mounted.
        """
        run, config = context.run, context.config.schedule
        texts = object_texts(jobs, run, config, Submission.next_folder(run))
        submission = Submission.new(run, self.name, context.options.overrides)
        folder = submission.folder
        for file, text in texts.items():
            write_text(folder / file, text)
        apply = folder / "apply.sh"
        write_text(apply, _apply_script(jobs, run, config, folder))
        mode = apply.stat().st_mode
        apply.chmod(mode | (mode & 0o444) >> 2)  # executable for those who may read it
        namespace = config.kubernetes.namespace
        submission = submission.with_tasks(
            Task(
                job.name,
                job.stage,
                job.folder,
                f"{namespace}/{object_name(job, run, folder)}",
                job.shards,
                job.num_shards,
            )
            for job in jobs
        )
        submission.keep()
        lines = [
            f"{run.path}: {counted(len(jobs), 'manifest')}; {shlex.quote(str(apply))} applies one after another",
            asking_kubectl(submission),
            _unseen_manifest(context),
        ]
        for line in filter(None, lines):
            context.say(line)
        return submission

    def live(self, run: RunDirectory, submission: Submission) -> NoReturn:
        """Nothing: the user asks.

        Raises:
            NotAskedError: always, with the commands.
        """
        raise NotAskedError(
            f"{run.path} was written for Kubernetes, which is not asked: {asking_kubectl(submission)}"
        )

    def cancel(self, run: RunDirectory, submission: Submission, ids: Iterable[str]) -> NoReturn:
        """Stop nothing: the user does.

        Raises:
            NotAskedError: always, with the commands.
        """
        self.live(run, submission)

    def logs(self, run: RunDirectory, submission: Submission) -> NoReturn:
        """Nothing: they are with Kubernetes.

        Raises:
            NotAskedError: always, with the commands.
        """
        raise NotAskedError(f"the logs of {run.path} are with Kubernetes: {asking_kubectl(submission)}")


def asking_kubectl(submission: Submission) -> str:
    """The commands that say how its jobs are, what they say, and that stop them."""
    namespace, _, name = submission.tasks[0].id.partition("/")
    label = name.removesuffix(f"-{submission.folder.name}-{submission.tasks[0].job}")
    which = f"--namespace {namespace} --selector {RUN}={label}"
    return (
        f"`kubectl get jobs,jobsets,pods {which}` says how they are, `kubectl logs --prefix --tail 50 {which}` what they "
        f"say, and `kubectl delete jobs,jobsets {which}` stops them"
    )


def _unseen_manifest(context: Context) -> str | None:
    """What is wrong if the pods cannot see the run's manifest of images; None if they can."""
    path, mount = Path(context.config.manifest), mount_of(context.run, context.config.schedule)
    if is_url(path) or path.resolve().is_relative_to(mount):
        return None
    return f"{path} is not below {mount}, which is all that the pods see; set schedule.kubernetes.mount to a folder above both"


def _apply_script(jobs: list[Job], run: RunDirectory, config: ScheduleConfig, folder: Path) -> str:
    words = {"NAMESPACE": config.kubernetes.namespace, "LABEL": run_label(run), "NUMBER": folder.name}
    lines = [re.sub("|".join(words), lambda word: words[word[0]], APPLY)]
    for number, job in enumerate(jobs, start=1):
        kind = "jobset Completed" if processes_in_all(config, job.stage) > 1 else "job Complete"
        lines.append(f"job {number:02d} {job.name} {kind}\n")
    if any(command[0] == "submit" for job in jobs for command in job.commands):
        following = f"../{int(folder.name) + 1:03d}/apply.sh"
        lines.append(
            f"\n# The last job has written what is still to come, if anything is.\n[ ! -e {following} ] || exec {following}\n"
        )
    return "".join(lines)
