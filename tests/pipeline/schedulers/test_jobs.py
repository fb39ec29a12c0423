"""What is left of a run as jobs, and their scripts for Slurm."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import QUICK, subspace
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.errors import InputError, StaleArtifactError, StoppedEarly
from subspace.pipeline.config import RunConfig, load_config
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.schedule_config import ScheduleConfig
from subspace.pipeline.schedulers import slurm
from subspace.pipeline.schedulers.jobs import Job, jobs_left, ranges
from subspace.pipeline.stages.context import Context


def left(run: Path, *overrides: str) -> list[Job]:
    return jobs_left(Context.open(run, overrides), "slurm")


@pytest.fixture
def new_run(small_manifest: Path, tmp_path: Path) -> Path:
    run = tmp_path / "a 'run\" é 100%"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK).returncode == 0
    return run


@pytest.fixture
def copied(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))


def test_a_new_run_is_all_stages_in_order(new_run: Path) -> None:
    stages = ["extract", "cluster", "plan", "train", "eval"]
    jobs = left(new_run)
    assert [job.name for job in jobs] == [
        "start-pretrain", "start-eval",
        *(f"round-00{index}-{stage}" for index in (0, 1) for stage in stages),
    ]  # fmt: skip
    extract, cluster = jobs[2:4]
    assert (extract.shards, extract.num_shards) == ((0, 1, 2), 3)  # 48 identities, 20 in a part
    assert extract.commands == (("extract", str(new_run), "--round", "0", "--if-due"),)
    assert [command[0] for command in cluster.commands] == ["extract", "cluster"]


def test_running_means_need_no_shards(new_run: Path) -> None:
    names = [job.name for job in left(new_run, "recluster.refresh=running")]
    assert "round-000-extract" in names
    assert "round-001-extract" not in names
    assert "round-001-cluster" in names


def test_overrides_reach_the_commands_but_not_those_of_the_schedule(new_run: Path) -> None:
    jobs = left(new_run, "plan.steps=9", "schedule.job.cpus=1")
    assert all(command[-1] == "plan.steps=9" for job in jobs for command in job.commands)


def test_stale_subspaces_make_rounds_that_a_last_job_submits(new_run: Path) -> None:
    *_, before, last = left(new_run, "recluster.stale_below=0.5", "schedule.job.cpus=1")
    assert (before.name, last.name, last.stage) == ("round-001-eval", "round-001-more", "plan")
    assert last.commands == (
        ("submit", str(new_run), "recluster.stale_below=0.5", "schedule.job.cpus=1", "schedule.scheduler=slurm"),
    )  # fmt: skip


def test_rounds_that_ended_early_are_followed_by_others(copied: Path) -> None:
    for index in (0, 1):
        marker = copied / f"round-00{index}" / "done" / "train.json"
        done = json.loads(marker.read_text())
        done["summary"]["steps"] = 3
        marker.write_text(json.dumps(done))
    names = [job.name for job in left(copied)]  # 10 of 16 steps are left, in rounds of 8 at most
    assert names[0] == "round-002-extract"
    assert names[-1] == "round-003-eval"


def test_a_finished_run_has_nothing_left(finished_run: Path) -> None:
    assert left(finished_run) == []
    done = subspace("submit", finished_run, "--scheduler", "slurm")
    assert done.returncode == 0
    assert "nothing is left to do" in done.stdout


def test_only_missing_shards_are_left(copied: Path) -> None:
    shutil.rmtree(copied / "round-001")
    for shard in (0, 2):
        done = subspace("extract", copied, "--round", 1, "--shard", shard, "--num-shards", 3)
        assert done.returncode == 0, done.stderr
    extract = left(copied)[0]
    assert (extract.name, extract.shards, extract.num_shards) == ("round-001-extract", (1,), 3)
    assert left(copied, "schedule.shards=2")[0].shards == (1,)  # parts 1 of 0, 2 and 1
    assert subspace("extract", copied, "--round", 1, "--shard", 1, "--num-shards", 3).returncode == 0
    assert left(copied)[0].name == "round-001-cluster"


def test_parts_of_other_settings_are_missing(copied: Path) -> None:
    shutil.rmtree(copied / "round-001")
    other = ("--shard", 0, "--num-shards", 3, "extract.precision=bf16-mixed")
    assert subspace("extract", copied, "--round", 1, *map(str, other)).returncode == 0
    assert left(copied)[0].shards == (0, 1, 2)


def test_a_stale_stage_is_refused(copied: Path) -> None:
    with pytest.raises(StaleArtifactError, match=r"cluster.ids_per_subspace=12, now it is 13"):
        left(copied, "cluster.ids_per_subspace=13")


def test_rounds_after_the_end_are_not_due(finished_run: Path) -> None:
    done = subspace("train", finished_run, "--round", 2, "--if-due")
    assert done.returncode == 0, done.stderr
    assert "all 16 steps are done before round 2: nothing is left to do" in done.stdout


def test_after_an_early_stop_nothing_is_due(copied: Path) -> None:
    shutil.rmtree(copied / "round-001")
    stops = ("early_stop.patience=1", "early_stop.min_delta=0.99")  # no round can gain so much
    assert left(copied, *stops) == []
    done = subspace("extract", copied, "--round", 1, "--if-due", "--shard", 0, *stops)
    assert done.returncode == 0, done.stderr
    assert "the run stopped early before round 1" in done.stdout
    assert not (copied / "round-001").exists()
    assert left(copied)[0].name == "round-001-extract"


def test_a_round_that_is_not_needed_any_more_may_be_stale(copied: Path) -> None:
    """As after `rounds` was lowered, and all was made again."""
    marker = copied / "round-000" / "done" / "train.json"
    done = json.loads(marker.read_text())
    done["summary"]["steps"] = 16
    marker.write_text(json.dumps(done))
    (copied / "round-001" / "done" / "cluster.json").write_text('{"fingerprint": "another"}')
    assert left(copied) == []


@pytest.mark.slow
def test_without_test_identities_an_end_is_an_end(copied: Path, small_source: Path, tmp_path: Path) -> None:
    run, manifest = tmp_path / "untested", tmp_path / "untested.parquet"
    table = pq.read_table(small_source)
    pq.write_table(
        table.filter(pc.not_equal(table["split"].cast(pa.string()), "test")), tmp_path / "s.parquet"
    )
    assert subspace("ingest", tmp_path / "s.parquet", "--out", manifest).returncode == 0
    assert subspace("init", run, "--manifest", manifest, *QUICK, "rounds=1").returncode == 0
    assert "round-000-eval" in [job.name for job in left(run)]  # it is validated
    assert subspace("run", run).returncode == 0
    assert left(run) == []
    assert subspace("eval", run).returncode == 0


def test_nobody_to_examine_is_no_job(new_run: Path) -> None:
    nobody = ("data.test_splits=[none]", "data.val_splits=[none]", "data.distractor_splits=[none]")
    assert {job.stage for job in left(new_run, *nobody)} == {
        "pretrain",
        "extract",
        "cluster",
        "plan",
        "train",
    }


# ---- scripts

LOGS = Path("logs")


def config_of(**schedule: object) -> ScheduleConfig:
    return RunConfig.model_validate({"manifest": "m", "schedule": schedule}).schedule


def test_directives_say_what_the_stage_asks_for(new_run: Path) -> None:
    config = config_of(
        job={"partition": "cpu", "hours": 1.5, "memory_gb": 8, "cpus": 6, "flags": ["--qos=low"]},
        stages={"train": {"partition": "gpu", "gpus": 8, "nodes": 2, "constraint": "a100|h100"}},
        save_seconds=90,
    )
    jobs = {job.name: job for job in left(new_run)}
    lines = slurm.script(jobs["round-000-train"], RunDirectory(new_run), config, LOGS).splitlines()
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
    lines = slurm.script(jobs["round-000-plan"], RunDirectory(new_run), config, LOGS).splitlines()
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
        'for ((SLURM_PROCID = 0; SLURM_PROCID < tasks; SLURM_PROCID++)); do export SLURM_PROCID; "$@" || exit; done\n'
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
    new_run: Path, fake_tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(setup=["export IT_IS=set"], prefix=["env", "A B=c d"])
    overrides = ("train.optimizer.head=[a b,$HOME]", "eval.ks=[1]")
    jobs = {job.name: job for job in left(new_run)}
    for name in ("round-000-plan", "round-000-cluster"):
        job = Job("plan", "round-000", tuple((*command, *overrides) for command in jobs[name].commands))
        fake_tools.write_text("")
        done = run_script(slurm.script(job, RunDirectory(new_run), config, LOGS))
        assert done.returncode == 0, done.stderr
        assert calls(fake_tools) == [["subspace", *command] for command in job.commands]
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    fake_tools.write_text("")
    done = run_script(slurm.script(jobs["round-000-extract"], RunDirectory(new_run), config, LOGS), "1")
    assert done.returncode == 0, done.stderr
    command = list(jobs["round-000-extract"].commands[0])
    assert calls(fake_tools) == [["subspace", *command, "--shard", "2", "--num-shards", "3"]]


def test_several_shards_of_a_job_leave_out_those_that_there_are_not(
    new_run: Path, fake_tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    extract = left(new_run)[2]
    fake_tools.write_text("")
    config = config_of(shards_per_job=2, setup=["true"])
    done = run_script(slurm.script(extract, RunDirectory(new_run), config, LOGS), "0")
    assert done.returncode == 0, done.stderr
    assert [call[-3:] for call in calls(fake_tools)] == [["2", "--num-shards", "3"]]  # and not shard 3


def test_a_command_that_fails_ends_the_job_with_its_code(new_run: Path, fake_tools: Path) -> None:
    (fake_tools.parent / "bin" / "subspace").write_text('#!/bin/bash\necho "$1" >> "$NOTED"\nexit 3\n')
    cluster = left(new_run)[3]
    assert (
        run_script(slurm.script(cluster, RunDirectory(new_run), config_of(setup=["true"]), LOGS)).returncode
        == 3
    )
    assert fake_tools.read_text().splitlines() == ["extract"]


@given(st.sets(st.integers(0, 60), min_size=1), st.integers(1, 20), st.integers(1, 4))
def test_arrays_hold_every_shard_once_within_slurms_limit(shards: set[int], size: int, per_job: int) -> None:
    job = Job("extract", "round-000", (("extract",),), tuple(sorted(shards)), 61)
    config = config_of(shards_per_job=per_job)
    given_shards: list[int] = []
    for (array, first), groups in slurm._arrays(job, config, size):
        indices = [
            index
            for part in array.removeprefix("--array=").split(",")
            for index in range(int(part.split("-")[0]), int(part.split("-")[-1]) + 1)
        ]
        assert max(indices) < size
        assert [int(first) + index for index in indices] == groups
        for task in slurm._tasks(job, "7", groups, config, size):
            given_shards.extend(task.shards)
    assert len(given_shards) == len(set(given_shards))
    assert shards <= set(given_shards)
    assert {shard // per_job for shard in shards} == {shard // per_job for shard in given_shards}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("schedule.stages.trian.gpus=1", "schedule.stages.trian"),
        (
            "schedule.stages.train.gpu=1",
            "schedule.stages.train.gpu is no setting of a job; there are nodes, gpus",
        ),
        ("schedule.stages.cluster.nodes=2", "only pretrain and train work on several nodes"),
        ("schedule.job.flags=[x]", "'x' is no option of sbatch"),
        ('schedule.job.partition="a\\nb"', "line break"),
    ],
)
def test_wrong_settings_get_one_line(new_run: Path, settings: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load_config(new_run / "subspace.yaml", [settings])


def test_without_slurm_it_says_so(new_run: Path) -> None:
    command = [sys.executable, "-m", "subspace.pipeline.cli", "submit", str(new_run), "--scheduler", "slurm"]
    done = subprocess.run(
        command, env={**os.environ, "PATH": "/nowhere"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "there is no scontrol here" in done.stderr
    assert not list((new_run / "jobs").glob("*/submission.json"))


@pytest.mark.parametrize("wrong", ["plan.P=1000", "early_stop.metric=foo", "train.trackers=[nothing]"])
def test_what_a_run_would_refuse_is_refused_before_the_queue(new_run: Path, wrong: str) -> None:
    done = subspace("submit", new_run, "--scheduler", "slurm", "--dry-run", wrong)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr == subspace("run", new_run, "--dry-run", wrong).stderr


def test_a_limit_is_shared_by_the_arrays_of_a_job() -> None:
    job = Job("extract", "round-000", (("extract",),), tuple(range(6)), 6)
    arrays = [array for (array, _), _ in slurm._arrays(job, config_of(max_running=5), 3)]
    assert arrays == ["--array=0-2%2", "--array=0-2%2"]


def test_a_signal_between_two_jobs_takes_back_the_first(
    new_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a chain would train a round, and nobody would know why the rest is missing."""
    cancelled: list[str] = []

    def call(command: list[str], folder: Path | None = None) -> str:
        if command[0] == "sbatch" and command[-1].endswith("plan.sh"):
            raise StoppedEarly("stopped by SIGTERM")
        cancelled.extend(command[1:] if command[0] == "scancel" else [])
        return "MaxArraySize = 1001" if command[0] == "scontrol" else "7\n"

    monkeypatch.setattr(slurm, "_call", call)
    with pytest.raises(StoppedEarly):
        slurm.submit(left(new_run), RunDirectory(new_run), config_of(), ())
    assert cancelled == ["7", "7_0", "7_1", "7_2"]


@given(st.sets(st.integers(0, 40)))
def test_ranges_are_the_numbers(numbers: set[int]) -> None:
    found = ranges(sorted(numbers))
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(numbers)
    assert all(after[0] > before[1] + 1 for before, after in pairwise(found))
