"""`subspace submit`, `logs` and `cancel`, whatever the scheduler (pipeline/commands/jobs.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import QUICK, subspace

from subspace.mining.errors import InputError
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.schedulers import slurm
from subspace.pipeline.schedulers.submission import Submission, Task
from subspace.pipeline.schedulers.submit import _refuse_twice, cancel_jobs


@pytest.fixture
def new_run(small_manifest: Path, tmp_path: Path) -> Path:
    run = tmp_path / "run"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK).returncode == 0
    return run


def test_a_dry_run_shows_and_writes_nothing(new_run: Path) -> None:
    shown = subspace("submit", new_run, "--scheduler", "local", "--dry-run", "plan.steps=8")
    assert f"subspace run {new_run} plan.steps=8" in shown.stdout
    slurm = subspace("submit", new_run, "--scheduler", "slurm", "--dry-run").stdout
    assert "### sbatch start-pretrain.sh" in slurm
    assert "### sbatch --dependency=afterok:<start-pretrain> start-eval.sh" in slurm
    assert not (new_run / "jobs").exists()


def test_without_jobs_there_are_no_logs(finished_run: Path) -> None:
    for command in ("logs", "cancel"):
        done = subspace(command, finished_run)
        assert done.returncode == 2
        assert (
            done.stderr
            == f"subspace: {finished_run} has no jobs; `subspace submit {finished_run}` makes them\n"
        )


@pytest.mark.parametrize("wrong", ["plan.P=1000", "early_stop.metric=foo", "train.trackers=[nothing]"])
def test_what_a_run_would_refuse_is_refused_before_the_queue(new_run: Path, wrong: str) -> None:
    done = subspace("submit", new_run, "--scheduler", "slurm", "--dry-run", wrong)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr == subspace("run", new_run, "--dry-run", wrong).stderr


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A run whose jobs 7 and 8 Slurm still has, beside another one of the user."""
    run = RunDirectory(tmp_path)
    tasks = [
        Task(f"round-000-{stage}", stage, "round-000", number)
        for stage, number in (("plan", "7"), ("train", "8"))
    ]
    Submission.new(run, "slurm").with_tasks(tasks).keep()
    monkeypatch.setattr(slurm, "_call", lambda command: "7|RUNNING\n8|PENDING\n99|RUNNING\n")
    return run


def test_a_second_submission_is_refused(submitted: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(InputError, match=r"has 2 jobs queued or running \(7, 8\)"):
        _refuse_twice(submitted)
    monkeypatch.setenv("SLURM_JOB_ID", "7")  # the job that submits what comes after it
    with pytest.raises(InputError, match=r"has 1 job queued or running \(8\)"):
        _refuse_twice(submitted)


def test_cancel_stops_the_jobs_of_the_run_alone(
    submitted: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(slurm.Slurm, "cancel", lambda *arguments: stopped.extend(arguments[-1]))
    assert cancel_jobs(submitted, Options(Console())) == {"cancelled": ["7", "8"]}
    assert stopped == ["7", "8"]
    assert "2 jobs cancelled (1 pending, 1 running)" in capsys.readouterr().out
