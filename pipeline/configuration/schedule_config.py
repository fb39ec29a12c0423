"""Settings of `subspace submit`: what the jobs of each stage ask for. No result depends on any of them."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ...mining.settings import Settings
from ..scheduler_registry import SchedulerName

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""What Kubernetes allows as a name."""


class JobConfig(Settings):
    """What a job asks for, on each of its nodes."""

    nodes: int = Field(default=1, ge=1, description="only pretrain and train work on several")
    gpus: int = Field(
        default=0,
        ge=0,
        description="on each node; a stage asks for as many of them as it uses (plan none, cluster and eval one), unless "
        "schedule.stages says how many",
    )
    processes: int | None = Field(
        default=None, ge=1, description="training processes on each node; null: one for each GPU, or one"
    )
    cpus: int = Field(default=4, ge=1, description="cores on each node")
    memory_gb: float = Field(default=16, gt=0, description="on each node, in GiB")
    # Not as Slurm writes it: in YAML 8:00:00 is the number 28,800.
    hours: float = Field(
        default=24, gt=0, description="time limit of one job; it saves itself before, and goes on in another"
    )
    partition: str | None = Field(default=None, description="null: the cluster's own")
    account: str | None = Field(default=None, description="null: the user's own")
    constraint: str | None = Field(default=None, description="features of the nodes, such as a100|h100")
    flags: tuple[str, ...] = Field(default=(), description='more options of sbatch: ["--qos=high"]')

    @field_validator("flags")
    @classmethod
    def _flags_are_options(cls, flags: tuple[str, ...]) -> tuple[str, ...]:
        for flag in flags:
            if not flag.startswith("-"):
                raise ValueError(f"'{flag}' is no option of sbatch; write --name=value")
        return flags

    @model_validator(mode="after")
    def _values_are_one_line(self) -> JobConfig:
        for name, value in self.model_dump().items():
            if any("\n" in text for text in (value if isinstance(value, tuple) else [str(value)])):
                raise ValueError(f"{name} has a line break in it")
        return self

    @property
    def processes_per_node(self) -> int:
        """How many train together on each node."""
        return self.processes or max(1, self.gpus)


class KubernetesConfig(Settings):
    """What the manifests for Kubernetes name."""

    image: str = Field(default="subspace:latest", description="container image, made from the Dockerfile")
    namespace: str = Field(default="default", description="of all objects")
    queue: str | None = Field(default=None, description="local queue of Kueue; null: none")
    claim: str = Field(
        default="subspace", description="persistent volume claim with manifests, images and runs"
    )
    mount: str | None = Field(
        default=None,
        description="where the claim is mounted, the same path as here; null: the folder above the run",
    )

    @model_validator(mode="after")
    def _names_are_names_of_kubernetes(self) -> KubernetesConfig:
        for key in ("namespace", "queue", "claim"):
            name = getattr(self, key)
            # All but namespaces may have dots in their names.
            if name is not None and not NAME.fullmatch(
                name if key == "namespace" else name.replace(".", "-")
            ):
                raise ValueError(
                    f"schedule.kubernetes.{key}={name} is no name in Kubernetes; it has lower-case letters, digits and "
                    "hyphens, at most 63"
                )
        if not self.image or re.search(r"\s", self.image):
            raise ValueError(
                f"schedule.kubernetes.image='{self.image}' is no container image; write registry/name:tag"
            )
        return self


class ScheduleConfig(Settings):
    """How `subspace submit` runs the stages on a cluster; no result depends on it."""

    scheduler: Literal["auto", SchedulerName] = Field(
        default="auto", description="auto: slurm where there is sbatch, otherwise processes of this machine"
    )
    setup: tuple[str, ...] = Field(
        default=(),
        description='lines of shell before the work: ["module load cuda", "source .venv/bin/activate"]; none: the '
        "environment that submits",
    )
    prefix: tuple[str, ...] = Field(
        default=(), description='words before each command: ["apptainer", "exec", "--nv", "subspace.sif"]'
    )
    job: JobConfig = Field(default_factory=JobConfig)
    stages: dict[str, dict[str, Any]] = Field(
        default={},
        description="what differs from `job` in the jobs of a stage: {train: {nodes: 2, gpus: 8}, extract: {gpus: 1}}",
    )
    shards: int | None = Field(
        default=None, ge=1, description="of an extraction; null: one for each extract.identities_per_part"
    )
    shards_per_job: int = Field(
        default=1,
        ge=1,
        description="worked on side by side in one job, which share its cores, GPUs and memory",
    )
    max_running: int | None = Field(
        default=None, ge=1, description="jobs of an extraction at a time; null: as many as there are"
    )
    save_seconds: int = Field(
        default=120, ge=1, description="before its time limit a job saves itself and is queued again"
    )
    requeues: int = Field(default=50, ge=0, description="of one job, at most")
    kubernetes: KubernetesConfig = Field(default_factory=KubernetesConfig)
