"""What one `subspace submit` keeps of its jobs."""

from __future__ import annotations

import getpass
import json
import os
import shutil
from pathlib import Path

import pytest

from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.schedulers.submission import Submission, Task, scheduled_before, submitted_with


def test_a_submission_is_read_as_it_was_kept(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    Submission.new(run, "slurm").keep()
    tasks = (Task("round-000-extract", "extract", "round-000", "7_1", (2, 3), 5), Task("run", "run", "", "8"))
    second = Submission.new(run, "slurm", ("plan.steps=9",)).with_tasks(tasks)
    second.keep()
    assert Submission.latest(run) == second
    assert second.folder.name == "002"
    assert tasks[0].log == "round-000-extract-7_1.log"
    assert list(second.tasks_for("round-000", "extract")) == [tasks[0]]
    Submission.new(run, "slurm")  # one that never started anything
    assert Submission.latest(run) == second
    shutil.copytree(tmp_path / "jobs", tmp_path / "copy" / "jobs")
    assert Submission.latest(RunDirectory(tmp_path / "copy")) is None  # these jobs are not of the copy


def test_settings_are_of_a_submission_where_nothing_else_keeps_them(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    kept = Submission.new(run, "local", ("plan.steps=9",))
    kept.keep()
    assert submitted_with(run) == []
    file = kept.folder / "submission.json"
    old = {name: value for name, value in json.loads(file.read_text()).items() if "kept" not in name}
    file.write_text(json.dumps(old))
    assert submitted_with(run) == ["plan.steps=9"]
    assert submitted_with(run, ["seed=3"]) == []
    run.overrides.touch()  # settings are kept since
    assert submitted_with(run) == []


def test_the_next_submission_has_the_schedule_of_the_last(tmp_path: Path) -> None:
    """Its account was lost, and jobs went to the default one."""
    run, given = RunDirectory(tmp_path), ("plan.steps=9", "schedule.job.account=proj", "schedule.shards=7")
    assert scheduled_before(run, ()) == []
    Submission.new(run, "slurm", given).keep()
    assert scheduled_before(run, ()) == ["schedule.job.account=proj", "schedule.shards=7"]
    assert scheduled_before(run, ["schedule.shards=3"]) == ["schedule.job.account=proj"]


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 1234"), OSError("No username set")])
def test_a_user_without_a_name_is_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """As in a container that is started with --user; the latter from Python 3.13 on."""

    def nameless() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert Submission.new(RunDirectory(tmp_path), "slurm").user == str(os.getuid())


def test_keys_of_a_later_version_pass(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    kept = Submission.new(run, "slurm").with_tasks([Task("run", "run", "", "8")])
    kept.keep()
    file = kept.folder / "submission.json"
    found = json.loads(file.read_text())
    found["tasks"][0]["partition"] = found["later"] = "gpu"
    file.write_text(json.dumps(found))
    assert Submission.latest(run) == kept


def test_tasks_are_named_by_stage_folder_or_job(tmp_path: Path) -> None:
    jobs = [
        ("round-000-plan", "plan"),
        ("round-000-eval", "eval"),
        ("round-000-more", "plan"),
        ("run", "run"),
    ]
    tasks = [
        Task(job, stage, "round-000" if job != "run" else "", str(n)) for n, (job, stage) in enumerate(jobs)
    ]
    submission = Submission.new(RunDirectory(tmp_path), "slurm").with_tasks(tasks)
    plan, examine, more, whole = tasks
    for name, wanted in [
        ("plan", [plan, whole]),
        ("validate", [examine, whole]),
        ("round-000/validate", [examine, whole]),
        ("round-001/validate", [whole]),
        ("round-000-more", [more]),
        ("run", [whole]),
        ("foo", []),
    ]:
        assert submission.tasks_named(name) == wanted
