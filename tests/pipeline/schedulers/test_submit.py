"""`subspace submit`, `status`, `logs` and `cancel` without a cluster: the run is a process in the background."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK, subspace
from running_processes import wait

from subspace.mining.errors import InputError
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.schedulers.local import start
from subspace.pipeline.schedulers.submission import Submission, Task, submitted_with


def states(run: Path) -> dict[str, dict[str, Any]]:
    stages = json.loads(subspace("status", run, "--json").stdout)
    return {f"{stage['folder']}/{stage['stage']}": stage for stage in stages}


@pytest.fixture
def untrained(finished_run: Path, tmp_path: Path) -> Path:
    """A run whose last training is left, and takes a while."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run, symlinks=True)
    shutil.rmtree(run / "round-001" / "checkpoint")
    for name in ("train", "validate", "eval"):
        (run / "round-001" / "done" / f"{name}.json").unlink()
    return run


def test_submitting_locally_does_what_is_left_in_the_background(untrained: Path, finished_run: Path) -> None:
    said = json.loads(subspace("submit", untrained, "--scheduler", "local", "--json").stdout)
    assert said["scheduler"] == "local"
    assert said["jobs"] == ["round-001-train", "round-001-eval"]
    wait(lambda: states(untrained)["round-001/eval"]["state"] == "done", 0.2)
    name = "round-001/checkpoint/model.safetensors"
    wait(lambda: not RunDirectory(untrained).activity()[1])
    assert (untrained / name).read_bytes() == (finished_run / name).read_bytes()
    logs = subspace("logs", untrained)
    assert "round-001/train" in logs.stdout
    assert said["folder"] in logs.stdout
    assert "no job has failed" in subspace("logs", untrained, "--failed").stdout
    assert "nothing is left to do" in subspace("submit", untrained, "--scheduler", "local").stdout


def test_a_run_is_submitted_once_at_a_time_and_cancelled(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    long = ("pretrain.steps=100000", "schedule.scheduler=local")
    assert subspace("init", run, "--manifest", small_manifest, *QUICK, *long).returncode == 0
    number = next(iter(json.loads(subspace("submit", run, "--json").stdout)["tasks"]))
    try:
        assert states(run)["start/pretrain"]["state"] == "running"
        assert states(run)["start/pretrain"]["jobs"] == [number]
        second = subspace("submit", run)
        assert second.returncode == 2
        assert f"is in use by `subspace run` (pid {number} " in second.stderr
        wait(lambda: list(run.glob("start/resume/step-*")))
    finally:
        cancelled = subspace("cancel", run)
    assert cancelled.returncode == 0, cancelled.stderr
    wait(lambda: not RunDirectory(run).activity()[1])
    assert "stopped by SIGTERM" in subspace("logs", run).stdout
    assert "no job of it is queued or running" in subspace("cancel", run).stdout


def test_a_process_that_failed_says_so(untrained: Path) -> None:
    weights = untrained / "round-000" / "checkpoint" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    submitted = subspace("submit", untrained, "--scheduler", "local")
    assert submitted.returncode == 0, submitted.stderr
    wait(lambda: states(untrained)["round-001/train"]["state"] == "failed", 0.2)
    assert states(untrained)["round-001/eval"]["state"] == "to do"
    failed = subspace("logs", untrained, "--failed").stdout
    assert str(weights.parent) in failed
    assert failed.count("==") == 1


def test_a_dry_run_shows_and_writes_nothing(untrained: Path) -> None:
    shown = subspace("submit", untrained, "--scheduler", "local", "--dry-run", "plan.steps=8")
    assert f"subspace run {untrained} plan.steps=8" in shown.stdout
    slurm = subspace("submit", untrained, "--scheduler", "slurm", "--dry-run").stdout
    assert "### sbatch round-001-train.sh" in slurm
    assert "### sbatch --dependency=afterok:<round-001-train> round-001-eval.sh" in slurm
    assert not (untrained / "jobs").exists()


def test_without_jobs_there_are_no_logs(finished_run: Path) -> None:
    for command in ("logs", "cancel"):
        done = subspace(command, finished_run)
        assert done.returncode == 2
        assert (
            done.stderr
            == f"subspace: {finished_run} has no jobs; `subspace submit {finished_run}` makes them\n"
        )


def test_a_submission_is_read_as_it_was_kept(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    Submission.new(run, "slurm").keep()
    tasks = (Task("round-000-extract", "extract", "round-000", "7_1", (2, 3), 5), Task("run", "run", "", "8"))
    second = Submission.new(run, "slurm", ("plan.steps=9",)).having(tasks)
    second.keep()
    assert Submission.latest(run) == second
    assert second.folder.name == "002"
    assert second.log_of(tasks[0]).name == "round-000-extract-7_1.log"
    assert list(second.of("round-000", "extract")) == [tasks[0]]
    Submission.new(run, "slurm")  # one that never started anything
    assert Submission.latest(run) == second
    assert submitted_with(tmp_path) == ["plan.steps=9"]
    shutil.copytree(tmp_path / "jobs", tmp_path / "copy" / "jobs")
    assert Submission.latest(RunDirectory(tmp_path / "copy")) is None  # these jobs are not of the copy


def test_a_process_that_cannot_begin_is_no_submission(untrained: Path) -> None:
    with pytest.raises(InputError, match=r"the run ended at once: .*plan\.P.*run\.log"):
        start(RunDirectory(untrained), 1, ("plan.P=none",))
    assert Submission.latest(RunDirectory(untrained)) is None
