"""`subspace submit`, `logs` and `cancel`, whatever the scheduler (pipeline/commands/jobs.py)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import QUICK, subspace

from subspace.mining.errors import InputError
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.schedulers import slurm
from subspace.pipeline.schedulers.submission import Submission, Task
from subspace.pipeline.schedulers.submit import _forget_stale, _refuse_twice, cancel_jobs
from subspace.pipeline.stages.context import Context


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


def test_what_is_stale_is_forgotten_and_nothing_else(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    setting = ("train.optimizer.lr=0.5",)
    for dry_run in (True, False):
        options = Options(Console(), remake_stale=True, dry_run=dry_run, overrides=setting)
        forgotten = _forget_stale(Context.open(run, setting, options))
        assert len(forgotten) == 9
        would_be = "would be " if dry_run else ""
        assert f"round-000/train is stale: {would_be}forgotten\n" in capsys.readouterr().out
        assert (run / "round-000" / "checkpoint").exists() == dry_run
    kept = [path.relative_to(run).as_posix() for path in run.glob("*/done/*.json")]
    assert sorted(kept) == [
        *(f"round-000/done/{stage}.json" for stage in ("cluster", "extract", "plan")),
        *(f"start/done/{stage}.json" for stage in ("eval", "pretrain", "validate")),
    ]
    assert (run / "round-000" / "identities.parquet").exists()


@pytest.fixture
def logged(new_run: Path) -> RunDirectory:
    """A run that was submitted, with a log of each job."""
    names = ("start-eval", "round-000-train", "round-000-eval", "round-001-cluster")
    tasks = [
        Task(name, name.rpartition("-")[2], name.rpartition("-")[0], str(7 + n))
        for n, name in enumerate(names)
    ]
    submission = Submission.new(RunDirectory(new_run), "slurm", ("plan.steps=15",)).with_tasks(tasks)
    submission.keep()
    for task in tasks:
        (submission.logs / task.log).write_text(f"said by {task.job}\n")
    return RunDirectory(new_run)


@pytest.mark.parametrize(
    ("stage", "jobs"),
    [
        ("validate", ["start-eval", "round-000-eval"]),
        ("round-000/validate", ["round-000-eval"]),
        ("round-001/extract", ["round-001-cluster"]),
        ("extract", ["round-001-cluster"]),
        ("round-000-train", ["round-000-train"]),
    ],
)
def test_logs_are_those_of_the_jobs_that_do_a_stage(
    logged: RunDirectory, stage: str, jobs: list[str]
) -> None:
    shown = subspace("logs", logged.path, stage)
    assert [line for line in shown.stdout.splitlines() if "said by" in line] == [
        f"said by {job}" for job in jobs
    ]
    refused = subspace("logs", logged.path, "plan")
    assert (refused.returncode, "has no jobs of plan; there are start-eval, " in refused.stderr) == (2, True)


def test_a_renamed_run_has_its_logs_and_says_what_may_be_in_the_queue(logged: RunDirectory) -> None:
    renamed = logged.path.rename(logged.path.with_name("renamed"))
    shown = subspace("logs", renamed, "train")
    assert f"{renamed} was {logged.path} when these jobs were submitted" in shown.stdout
    assert "said by round-000-train" in shown.stdout
    not_known = (
        f"{renamed} was {logged.path} when it was submitted: 4 jobs of slurm (7, 8, 9, 10), and whether any"
    )
    cancelled = subspace("cancel", renamed)
    assert (cancelled.returncode, cancelled.stderr.count("\n")) == (2, 1)
    assert not_known in cancelled.stderr
    assert f"rename it back and call `subspace cancel {logged.path}`" in cancelled.stderr
    assert not_known in subspace("submit", renamed, "--scheduler", "local", "--dry-run").stdout


def test_a_copied_run_has_no_jobs_to_stop(logged: RunDirectory) -> None:
    copy = Path(shutil.copytree(logged.path, logged.path.with_name("copy")))
    cancelled = subspace("cancel", copy)
    assert cancelled.stderr == (
        f"subspace: {copy} is a copy, and its jobs are of {logged.path}: `subspace cancel {logged.path}`\n"
    )
    assert "not known" not in subspace("submit", copy, "--scheduler", "local", "--dry-run").stdout


def test_settings_of_a_submission_end_with_the_file_that_keeps_them(logged: RunDirectory) -> None:
    assert not logged.overrides.exists()  # removed since
    assert "given earlier" not in subspace("status", logged.path).stdout
