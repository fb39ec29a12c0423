"""What the jobs of each stage ask for: the settings of `schedule`, and what the table of stages says of each."""

from __future__ import annotations

from ...mining.errors import InputError
from ..configuration.schedule_config import JobConfig, ScheduleConfig
from ..stages.graph import STAGES


def check_requests(config: ScheduleConfig) -> None:
    """Refuse settings of jobs that there are not, and several nodes for work that is not shared.

    Raises:
        InputError: one of these; the message names the setting.
    """
    names = job_names()
    for stage, own in config.stages.items():
        if stage not in names:
            raise InputError(f"schedule.stages.{stage} is no stage; there are {', '.join(names)}")
        unknown = set(own) - set(JobConfig.model_fields)
        if unknown:
            raise InputError(
                f"schedule.stages.{stage}.{min(unknown)} is no setting of a job; there are "
                f"{', '.join(JobConfig.model_fields)}"
            )
    for stage in names:
        nodes = job_request(config, stage).nodes
        if nodes > 1 and not _trains(stage):
            raise InputError(
                f"nodes={nodes} for the jobs of {stage}: only {' and '.join(filter(_trains, names))} work on several "
                "nodes (schedule.stages.train.nodes=2); extract has schedule.shards"
            )


def job_request(config: ScheduleConfig, stage: str) -> JobConfig:
    """What the jobs of a stage ask for: `job`, with no more GPUs than the stage uses, and over it `stages`.

    Raises:
        InputError: a value of `stages` of the wrong type or range.
    """
    uses = {row.gpus for row in STAGES if row.command_name == stage}
    most = {"all": config.job.gpus, "shards": config.shards_per_job, "one": 1, "none": 0}
    gpus = min(config.job.gpus, max(most[kind] for kind in uses))
    try:
        return JobConfig.model_validate(
            {**config.job.model_dump(), "gpus": gpus, **config.stages.get(stage, {})}
        )
    except ValueError as error:
        problem = str(error).splitlines()[2:3] or [str(error)]
        raise InputError(f"schedule.stages.{stage}: {problem[0].strip()}") from error


def processes_in_all(config: ScheduleConfig, stage: str) -> int:
    """How many processes share the work of a job, on all its nodes: only training is shared."""
    asks = job_request(config, stage)
    return asks.nodes * asks.processes_per_node if _trains(stage) else 1


def _trains(job: str) -> bool:
    return any(row.trains for row in STAGES if row.command_name == job)


def job_names() -> tuple[str, ...]:
    """The commands that do stages, each once: the kinds of jobs that a scheduler gets."""
    return tuple(dict.fromkeys(found.command_name for found in STAGES))
