"""The scripts for sbatch, run by a real bash with a `subspace` and an `srun` that record their arguments."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace.pipeline.configuration.schedule_config import ScheduleConfig
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.schedulers.jobs import Job
from subspace.pipeline.schedulers.slurm_scripts import array_tasks, job_arrays, slurm_script


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "a 'run\" é 100%")


def jobs_of(run: RunDirectory) -> dict[str, Job]:
    """One job of each kind, by stage; the extraction in three shards."""
    path, at = str(run.path), ("--round", "0", "--if-due")
    extract, cluster = ("extract", path, *at), ("cluster", path, *at)
    jobs = (
        Job("extract", "round-000", (extract,), (0, 1, 2), 3),
        Job("cluster", "round-000", (extract, cluster)),
        Job("plan", "round-000", (("plan", path, *at),)),
        Job("train", "round-000", (("train", path, *at),)),
    )
    return {job.stage: job for job in jobs}


def script_of(job: Job, run: RunDirectory, /, **schedule: object) -> str:
    return slurm_script(job, run, ScheduleConfig.model_validate(schedule), Path("logs"))


def test_directives_say_what_the_stage_asks_for(run: RunDirectory) -> None:
    schedule = {
        "job": {"partition": "cpu", "hours": 1.5, "memory_gb": 8, "cpus": 6, "flags": ["--qos=low"]},
        "stages": {"train": {"partition": "gpu", "gpus": 8, "nodes": 2, "constraint": "a100|h100"}},
        "save_seconds": 90,
    }
    jobs = jobs_of(run)
    lines = script_of(jobs["train"], run, **schedule).splitlines()
    for directive in (
        "--partition=gpu", "--gpus-per-node=8", "--nodes=2", "--constraint='a100|h100'", "--time=1:30:00", "--qos=low",
        "--signal=B:USR1@90", "--requeue", "--open-mode=append", "--kill-on-invalid-dep=yes", "--mem=8192M",
    ):  # fmt: skip
        assert f"#SBATCH {directive}" in lines
    assert "#SBATCH --ntasks-per-node=8" in lines
    assert "#SBATCH --cpus-per-task=1" in lines
    step = next(line for line in lines if line.startswith("    srun"))
    assert (
        "--nodes=2 --ntasks-per-node=8 --cpus-per-task=1 --kill-on-bad-exit=0 --distribution=block --wait=90"
        in step
    )
    lines = script_of(jobs["plan"], run, **schedule).splitlines()
    assert "#SBATCH --partition=cpu" in lines
    assert not any("gpus" in line or "RANK" in line for line in lines)


@pytest.fixture
def fake_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`subspace` and `srun` that note their arguments, one a line, in a file."""
    folder, noted = tmp_path / "bin", tmp_path / "noted"
    folder.mkdir()
    (folder / "subspace").write_text(
        '#!/bin/bash\n{ echo subspace; printf "%s\\n" "$@"; echo; } >> "$NOTED"\n'
    )
    (folder / "srun").write_text(
        "#!/bin/bash\n"
        "while [[ $1 == --* ]]; do [[ $1 != --ntasks-per-node=* ]] || tasks=${1#*=}; shift; done\n"
        "for ((SLURM_PROCID = 0; SLURM_PROCID < tasks; SLURM_PROCID++)); do export SLURM_PROCID SLURM_LOCALID=$SLURM_PROCID; "
        '"$@" || exit; done\n'
    )
    for path in folder.iterdir():
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("NOTED", str(noted))
    return noted


def run_script(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", text, "job", *arguments], capture_output=True, text=True, check=False
    )


def calls(noted: Path) -> list[list[str]]:
    return [call.splitlines() for call in noted.read_text().split("\n\n") if call.strip()]


def test_scripts_call_the_commands_with_every_word_whole(
    run: RunDirectory, fake_tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = {"setup": ["export IT_IS=set"], "prefix": ["env", "A B=c d"]}
    overrides = ("train.optimizer.head=[a b,$HOME]", "eval.ks=[1]")
    jobs = jobs_of(run)
    for stage in ("plan", "cluster"):
        job = Job("plan", "round-000", tuple((*command, *overrides) for command in jobs[stage].commands))
        fake_tools.write_text("")
        done = run_script(script_of(job, run, **schedule))
        assert done.returncode == 0, done.stderr
        assert calls(fake_tools) == [["subspace", *command] for command in job.commands]
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    fake_tools.write_text("")
    done = run_script(script_of(jobs["extract"], run, **schedule), "1")
    assert done.returncode == 0, done.stderr
    command = list(jobs["extract"].commands[0])
    assert calls(fake_tools) == [["subspace", *command, "--shard", "2", "--num-shards", "3"]]


def test_several_shards_of_a_job_leave_out_those_that_there_are_not(
    run: RunDirectory, fake_tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    fake_tools.write_text("")
    done = run_script(script_of(jobs_of(run)["extract"], run, shards_per_job=2, setup=["true"]), "0")
    assert done.returncode == 0, done.stderr
    assert [call[-3:] for call in calls(fake_tools)] == [["2", "--num-shards", "3"]]  # and not shard 3


def test_more_shards_than_gpus_take_turns_with_them(
    run: RunDirectory, fake_tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fake_tools.parent / "bin" / "subspace").write_text(
        '#!/bin/bash\necho "$CUDA_VISIBLE_DEVICES" >> "$NOTED"\n'
    )
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    for named, gpus, seen in (
        ("4,7", 2, ["4", "7", "4"]),
        ("", 2, ["0", "1", "0"]),  # a Slurm that names none
        ("4,7", 1, ["4,7"] * 3),
        ("4,7", 4, ["4,7"] * 3),  # srun gives each its own
    ):
        fake_tools.write_text("")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        stages = {"extract": {"gpus": gpus}}
        script = script_of(jobs_of(run)["extract"], run, shards_per_job=4, setup=["true"], stages=stages)
        assert run_script(script, "0").returncode == 0
        assert fake_tools.read_text().split() == seen


def test_a_command_that_fails_ends_the_job_with_its_code(run: RunDirectory, fake_tools: Path) -> None:
    (fake_tools.parent / "bin" / "subspace").write_text('#!/bin/bash\necho "$1" >> "$NOTED"\nexit 3\n')
    script = script_of(jobs_of(run)["cluster"], run, setup=["true"])
    assert run_script(script).returncode == 3
    assert fake_tools.read_text().splitlines() == ["extract"]


@given(st.sets(st.integers(0, 60), min_size=1), st.integers(1, 20), st.integers(1, 4))
def test_arrays_hold_every_shard_once_within_slurms_limit(shards: set[int], size: int, per_job: int) -> None:
    job = Job("extract", "round-000", (("extract",),), tuple(sorted(shards)), 61)
    config = ScheduleConfig(shards_per_job=per_job)
    given_shards: list[int] = []
    for (array, first), groups in job_arrays(job, config, size):
        indices = [
            index
            for part in array.removeprefix("--array=").split(",")
            for index in range(int(part.split("-")[0]), int(part.split("-")[-1]) + 1)
        ]
        assert max(indices) < size
        assert [int(first) + index for index in indices] == groups
        for task in array_tasks(job, "7", groups, config, size):
            given_shards.extend(task.shards)
    assert len(given_shards) == len(set(given_shards))
    assert shards <= set(given_shards)
    assert {shard // per_job for shard in shards} == {shard // per_job for shard in given_shards}


def test_a_limit_is_shared_by_the_arrays_of_a_job() -> None:
    job = Job("extract", "round-000", (("extract",),), tuple(range(6)), 6)
    arrays = [array for (array, _), _ in job_arrays(job, ScheduleConfig(max_running=5), 3)]
    assert arrays == ["--array=0-2%2", "--array=0-2%2"]
