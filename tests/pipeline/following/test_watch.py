"""`subspace status --watch`. Covers pipeline/following/look.py, too."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from conftest import subspace

from subspace.mining.errors import InputError, StoppedEarly
from subspace.mining.manifest import Manifest
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.configuration.overrides import keep_overrides
from subspace.pipeline.following import look
from subspace.pipeline.following.watch import Seen, watch_run
from subspace.pipeline.options import Options
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.schedulers import job_states, slurm
from subspace.pipeline.schedulers.submission import Submission, Task
from subspace.pipeline.schedulers.submit import read_logs
from subspace.pipeline.stages.context import Context
from subspace.pipeline.status import StageStatus


def test_a_line_for_each_change_and_all_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    seen = iter(
        [
            Seen("all", "1 of 3", False),
            Seen("all", "1 of 3", False),
            Seen("all", "2 of 3", False),
            Seen("END", "", True),
        ]
    )
    watch_run(lambda: next(seen), 0.0)
    assert capsys.readouterr().out.splitlines() == ["1 of 3", "2 of 3", "END"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, StoppedEarly])
def test_ctrl_c_ends_it_without_a_word(stop: type[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    def look() -> Seen:
        raise stop("stopped by SIGINT")

    watch_run(look, 0.0)
    assert capsys.readouterr() == ("", "")


def test_it_ends_with_the_run_and_takes_a_number_or_none(finished_run: Path) -> None:
    plain = subspace("status", finished_run)
    for words in (("--watch",), ("--watch", "2")):
        done = subspace("status", finished_run, *words)
        assert (done.returncode, done.stdout) == (0, plain.stdout), done.stderr
    assert re.search(r"^no command is at work here", plain.stdout)
    done = subspace("status", finished_run, "--watch", "--json")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_look_goes_by_the_settings_of_its_moment(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another command may be given others while this one watches."""
    run = RunDirectory(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    texts: list[str] = []

    def twice(look: Callable[[], Seen], seconds: float) -> None:
        texts.append(look().text)
        keep_overrides(run, ["early_stop.patience=null", "train.optimizer.schedule=constant", "rounds=4"])
        texts.append(look().text)

    monkeypatch.setattr(look, "watch_run", twice)
    look.show_status(Context.open(run.path), 1.0, json=False)
    assert ["round-003/train" in text for text in texts] == [False, True]


def test_a_look_goes_by_the_last_good_settings_while_others_are_broken(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor may save half of subspace.yaml."""
    run = RunDirectory(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    whole, seen = run.config.read_text(), []

    def thrice(look: Callable[[], Seen], seconds: float) -> None:
        for text in (whole, whole + "plan: [", None, "", whole):
            run.config.unlink(missing_ok=True) if text is None else run.config.write_text(text)
            seen.append(look())

    monkeypatch.setattr(look, "watch_run", thrice)
    look.show_status(Context.open(run.path), 1.0, json=False)
    note = "the settings from before they were changed"
    assert [note in one.text for one in seen] == [False, True, True, True, False]
    assert [note in one.line for one in seen] == [False, True, True, True, False]
    assert all("round-001/train" in one.text for one in seen)
    assert seen[0].text == seen[-1].text


SHARDS = [Task("round-000-extract", "extract", "round-000", f"7_{shard}", (shard,), 2) for shard in (0, 1)]
MORE = Task("round-000-more", "plan", "round-000", "9")
POD = Task("round-000-extract", "extract", "round-000", "faces/run-001-round-000-extract", (0,), 1)


def looked_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch, state: str, scheduler: str, tasks: list[Task]
) -> look.Look:
    """A look at a run of one stage in a state, nothing of which is at work here, with tasks that have all begun."""
    config = RunConfig.model_validate({"manifest": "m"})
    context = Context(RunDirectory(folder), config, cast("Manifest", None), Options())
    submission = Submission.new(context.run, scheduler).with_tasks(tasks)
    submission.keep()
    for task in tasks:
        (submission.logs / Path(task.log).name).touch()
    statuses = [StageStatus("round-000", "extract", state, None, "")]
    for module in (look, job_states):
        monkeypatch.setattr(module, "stage_statuses", lambda context: statuses)
    monkeypatch.setattr(job_states, "_Done", lambda *_: lambda task: False)
    return look.Look.at(context)


@pytest.mark.parametrize(("state", "over"), [("to do", False), ("begun", False), ("done", True)])
@pytest.mark.parametrize(
    ("scheduler", "task", "why"),
    [("slurm", SHARDS[0], "squeue gave no answer"), ("kubernetes", POD, "which is not asked: `kubectl get")],
)
def test_a_scheduler_that_does_not_say_is_no_end(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    over: bool,
    scheduler: str,
    task: Task,
    why: str,
) -> None:
    """Jobs in the queue hold no lock, and shards at work none either."""

    def silent(command: list[str]) -> str:
        raise InputError(f"{command[0]} gave no answer")

    monkeypatch.setattr(slurm, "_call", silent)
    found = looked_at(tmp_path, monkeypatch, state, scheduler, [task])
    assert found.is_over == over
    assert "waiting; what is queued or running is not known: " in found.line()
    assert why in found.line()


@pytest.mark.parametrize(
    ("state", "tasks", "squeue", "over"),
    [
        ("to do", SHARDS, "", True),  # both have failed
        ("to do", SHARDS, "7_1|PENDING", False),  # the row says that the other has failed
        ("done", [MORE], "9|PENDING", False),
        ("done", [MORE], "", True),
    ],
)
def test_it_ends_when_no_job_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, tasks: list[Task], squeue: str, over: bool
) -> None:
    monkeypatch.setattr(slurm, "_call", lambda command: squeue)
    assert looked_at(tmp_path, monkeypatch, state, "slurm", tasks).is_over == over


def test_a_job_that_ends_well_while_it_is_looked_at_has_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its marker comes as Slurm is asked, which does not know it any more."""
    config = RunConfig.model_validate({"manifest": "m"})
    context = Context(RunDirectory(tmp_path), config, cast("Manifest", None), Options())
    submission = Submission.new(context.run, "slurm").with_tasks(SHARDS[:1])
    submission.keep()
    (submission.logs / SHARDS[0].log).touch()
    markers = {"extract": "to do"}

    def it_ends(command: list[str]) -> str:
        markers["extract"] = "done"
        return ""

    monkeypatch.setattr(
        job_states,
        "stage_statuses",
        lambda context: [StageStatus("round-000", "extract", markers["extract"], None, "")],
    )
    monkeypatch.setattr(
        job_states, "_Done", lambda context, statuses: lambda task: statuses[0].state == "done"
    )
    monkeypatch.setattr(slurm, "_call", it_ends)
    assert [one.state for one in look.Look.at(context).statuses] == ["done"]
    assert not read_logs(context, stage=None, failed=True, lines=1)
