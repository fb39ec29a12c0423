"""What the jobs of each stage ask for. Covers pipeline/configuration/schedule_config.py as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from subspace.mining.errors import InputError
from subspace.pipeline.configuration.config_file import load_config
from subspace.pipeline.configuration.schedule_config import ScheduleConfig
from subspace.pipeline.schedulers.job_requests import check_requests, job_names, job_request


def gpus(**schedule: object) -> dict[str, int]:
    """The GPUs that the jobs of each stage ask for."""
    config = ScheduleConfig.model_validate(schedule)
    return {stage: job_request(config, stage).gpus for stage in job_names()}


def test_only_stages_that_use_gpus_ask_for_those_of_all_jobs() -> None:
    """Planning is NumPy; clustering, evaluation and each shard of an extraction are one process on one device."""
    asked = {"pretrain": 4, "extract": 1, "cluster": 1, "plan": 0, "train": 4, "eval": 1}
    assert gpus(job={"gpus": 4}) == asked
    assert gpus(job={"gpus": 4}, shards_per_job=3) == {**asked, "extract": 3}
    assert gpus(job={"gpus": 0}) == dict.fromkeys(job_names(), 0)


def test_gpus_of_a_stage_are_what_it_asks_for() -> None:
    stages = {"plan": {"gpus": 2}, "cluster": {"gpus": 8}, "eval": {"gpus": 0}, "train": {"cpus": 9}}
    asked = {"pretrain": 4, "extract": 1, "cluster": 8, "plan": 2, "train": 4, "eval": 0}
    assert gpus(job={"gpus": 4}, stages=stages) == asked


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("schedule.stages.trian.gpus=1", "schedule.stages.trian"),
        (
            "schedule.stages.train.gpu=1",
            "schedule.stages.train.gpu is no setting of a job; there are nodes, gpus",
        ),
        ("schedule.stages.cluster.nodes=2", "only pretrain and train work on several nodes"),
        ("schedule.job.flags=[x]", "'x' is no option of sbatch"),
        ("schedule.stages.train.gpus=-1", "schedule.stages.train: .*greater than or equal to 0"),
        ('schedule.job.partition="a\\nb"', "line break"),
    ],
)
def test_wrong_settings_get_one_line(tmp_path: Path, settings: str, message: str) -> None:
    path = tmp_path / "subspace.yaml"
    path.write_text("manifest: m")
    with pytest.raises(InputError, match=message):
        check_requests(load_config(path, [settings]).schedule)
