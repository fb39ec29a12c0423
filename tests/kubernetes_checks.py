"""What Kubernetes would make of manifests: published schemas, and the pods that it would start."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kubernetes_validate
from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet

VERSIONS = ("1.29", "1.37")
"""backoffLimitPerIndex is on since 1.29; the last one that the package knows."""


class InvalidError(Exception):
    """A manifest that the API server would refuse."""


def validate(document: dict[str, Any]) -> None:
    """Check a manifest against the published schema of its kind; a field that is not there is an error too."""
    if document["kind"] == "JobSet":
        try:
            told = JobsetV1alpha2JobSet.from_dict(document)
        except ValueError as error:
            raise InvalidError(str(error)) from error
        # The models drop what they do not know.
        known = told.to_dict() if told else {}
        if known != document:
            raise InvalidError(f"fields of no JobSet: {_more(document, known)}")
        for group in document["spec"]["replicatedJobs"]:
            validate(
                {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, **group["template"]}
            )
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise InvalidError(f"{'.'.join(map(str, error.path))}: {error.message}") from error


def _more(document: Any, known: Any, path: str = "") -> list[str]:
    if isinstance(document, dict) and isinstance(known, dict):
        return [more for key in document for more in _more(document[key], known.get(key), f"{path}.{key}")]
    if isinstance(document, list) and isinstance(known, list) and len(document) == len(known):
        return [
            more
            for index, pair in enumerate(zip(document, known, strict=True))
            for more in _more(*pair, f"{path}[{index}]")
        ]
    return [] if document == known else [path]


@dataclass(frozen=True)
class Pod:
    """A pod as the kubelet would start it, but on this machine."""

    name: str
    host: str
    command: list[str]
    environment: dict[str, str]
    spec: dict[str, Any] = field(repr=False)

    def start(self, **more: Any) -> subprocess.Popen[str]:
        """Start its container's process, with its variables over those of this process."""
        environment = {**os.environ, **more.pop("env", {}), **self.environment}
        return subprocess.Popen(
            [*more.pop("under", []), *self.command],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **more,
        )


def pods(document: dict[str, Any]) -> Iterator[Pod]:
    """The pods that the controllers would make of a Job or a JobSet, in the order of their indices."""
    owner, job = document["metadata"]["name"], document["spec"]
    if document["kind"] == "JobSet":
        (group,) = job["replicatedJobs"]
        assert group["replicas"] == 1
        owner, job = f"{owner}-{group['name']}-0", group["template"]["spec"]
    indexed = job.get("completionMode") == "Indexed"
    spec = job["template"]["spec"]
    (container,) = spec["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    for index in range(job["completions"] if indexed else 1):
        own = {**variables, **({"JOB_COMPLETION_INDEX": str(index)} if indexed else {})}
        host = f"{owner}-{index}" if indexed else owner
        command = [expanded(word, own) for word in container["command"]]
        yield Pod(f"{host}-abcde", host, command, own, spec)


def expanded(text: str, variables: dict[str, str]) -> str:
    """As Kubernetes replaces variables in commands: $(NAME) of those there are, and $$ by $."""
    return re.sub(
        r"\$(?:\$|\(([^)]*)\))",
        lambda found: "$" if found[0] == "$$" else variables.get(found[1], found[0]),
        text,
    )


def script_on_path(folder: Path, name: str, text: str) -> dict[str, str]:
    """A program of that name, and the PATH on which it is the first."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
