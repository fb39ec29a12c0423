"""What a run is at, from its lock, the log of a training and the parts of an extraction."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from conftest import subspace

from subspace.pipeline import console, status
from subspace.pipeline.following.at_work import of_parts, seconds_left, with_expected, work_now
from subspace.pipeline.options import Options
from subspace.pipeline.run_directory import RunDirectory, note_progress
from subspace.pipeline.stages.context import Context
from subspace.pipeline.status import StageStatus


@pytest.fixture
def context(small_manifest: Path, tmp_path: Path) -> Context:
    run = tmp_path / "run"
    assert subspace("init", run, "--manifest", small_manifest).returncode == 0
    return Context.open(run, [], Options())


def test_a_bar_is_seen_in_the_lock_and_gone_with_it(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "SECONDS_BETWEEN_NOTES", 0.0)
    run = context.run
    assert work_now(context) is None
    with run.locked("run"):
        now = work_now(context)
        assert now is not None
        assert (now.command, now.pid, now.stage, now.how_far) == ("run", os.getpid(), None, None)
        run.note_stage("round-000/cluster", announced=100.0)
        with context.options.console.progress("cluster", 50, "means") as progress:
            progress.update(20)
            time.sleep(0.05)
            progress.update(5)
            now = work_now(context)
            assert now is not None
            assert now.how_far is not None
            assert (now.how_far.done, now.how_far.total, now.how_far.unit) == (25, 50, "means")
            assert now.how_far.rate is not None
            assert now.how_far.rate > 0
            assert now.left == pytest.approx(100.0, abs=5)  # the bar may be a part of the stage
            run.note_stage("round-000/train", announced=100.0)  # whose bar is all of it
            progress.update(5)
            now = work_now(context)
            assert now is not None
            assert now.left is not None
            assert now.left < 50
            other = json.loads(subspace("status", run.path, "--json").stdout)  # another process
            assert [one["at_work"]["how_far"]["done"] for one in other if one["at_work"]] == [30]
        now = work_now(context)
        assert now is not None
        assert now.how_far is None
    assert run.lock.read_bytes() == b""


@pytest.mark.parametrize(
    ("command", "what", "left"), [("search-loss", "search-loss", 30.0), ("lr", "lr 0.1", None)]
)
def test_a_command_without_a_stage_has_a_bar_all_the_same(
    context: Context, command: str, what: str, left: float | None
) -> None:
    """When a trial of several ends says nothing of the command."""
    with context.run.locked(command):
        note_progress({"what": what, "done": 4, "total": 10, "unit": "steps", "rate": 0.2})
        now = work_now(context)
    assert now is not None
    assert now.how_far is not None
    assert (now.stage, now.how_far.what, now.how_far.done) == (None, what, 4)
    assert now.left == (left if left is None else pytest.approx(left, abs=1))


def test_a_killed_command_is_not_at_work(context: Context) -> None:
    note = {"command": "run", "pid": 1, "host": "h", "since": 1.0, "stage": "round-000/train"}
    context.run.lock.write_text(json.dumps(note))
    assert work_now(context) is None


def test_a_training_of_other_processes_is_seen_in_its_log(context: Context) -> None:
    """Those that `--processes` starts do not hold the lock."""
    folder = context.folder
    lines = [{"step": step, "images_per_second": 64.0, "seconds": (step + 1) / 4} for step in (49, 99)]
    folder.path.mkdir()
    with context.run.locked("run"):
        context.run.note_stage("round-000/train")
        folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
        now = work_now(context)
        assert now is not None
        assert now.how_far is not None
        assert (now.how_far.done, now.how_far.total) == (100, context.config.plan.steps)
        assert now.how_far.rate == pytest.approx(4)  # whatever images a batch has: it takes each once
        context.run.note_stage("round-000/train")
        os.utime(folder.metrics, (1, 1))  # of the training before this one
        now = work_now(context)
        assert now is not None
        assert now.how_far is None


def test_parts_have_a_pace(tmp_path: Path) -> None:
    parts = [tmp_path / f"means-{part:05d}-of-00010.parquet" for part in range(4)]
    for age, part in zip((40, 30, 20, 10), parts, strict=True):
        part.touch()
        os.utime(part, (1000 - age, 1000 - age))
    found = of_parts(parts, 1000.0)
    assert found is not None
    assert (found.done, found.total, found.rate) == (4, 10, 0.1)
    assert found.left == pytest.approx(50)
    assert of_parts([], 0.0) is None


def aged(folder: Path, ages: list[float], total: int = 10) -> list[Path]:
    parts = [folder / f"means-{part:05d}-of-{total:05d}.parquet" for part in range(len(ages))]
    for age, part in zip(ages, parts, strict=True):
        part.touch()
        os.utime(part, (1e6 - age, 1e6 - age))
    return parts


@pytest.mark.parametrize(
    "ages",
    [
        [86_400, 20, 10, 0],  # a pause of a day
        [9e5, 8e5, 40, 30, 20, 10, 0],
        [7e5, 86_430, 86_420, 86_410, 86_400, 10, 0],
        [*range(60, 55, -1), 50, 40, 30, 20, 10, 0],  # it was faster
    ],
)
def test_a_pause_is_none_of_the_pace(tmp_path: Path, ages: list[float]) -> None:
    found = of_parts(aged(tmp_path, ages, total=len(ages) + 3), 1e6)
    assert found is not None
    assert found.rate == pytest.approx(0.1)
    assert found.left == pytest.approx(30)


@pytest.mark.parametrize("pause", [0, 86_400])
def test_shards_in_step_have_the_pace_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    """Eight at a time, every 60 seconds: most gaps between two parts are a tenth of a second."""
    ages = [60 * turn - shard / 10 + pause * (turn > 3) for turn in range(8, 0, -1) for shard in range(8)]
    parts = aged(tmp_path, ages, total=80)
    monkeypatch.setattr(status, "seconds_of", lambda part: 60.0)
    found = of_parts(parts, 1e6)
    assert found is not None
    assert found.rate == pytest.approx(8 / 60, rel=0.1)


def test_parts_that_are_cut_otherwise_do_not_count(tmp_path: Path) -> None:
    aged(tmp_path, [130, 120, 110, 100, 90, 80, 70], total=7)
    aged(tmp_path, [20, 10], total=4)
    found = of_parts(
        [*tmp_path.iterdir(), tmp_path / "means-00003-of-00004.parquet"], 1e6
    )  # one is merged just now
    assert found is not None
    assert (found.done, found.total, found.rate, found.left) == (2, 4, 0.1, 10)


def test_what_is_left_takes_as_long_as_before() -> None:
    statuses = [
        StageStatus("round-000", "plan", "done", 5.0, ""),
        StageStatus("round-000", "train", "done", 60.0, ""),
        StageStatus("round-001", "plan", "running", None, ""),
        StageStatus("round-001", "train", "to do", None, ""),
    ]
    expected = with_expected(statuses)
    assert [one.expected for one in expected] == [None, None, 5.0, 60.0]
    assert seconds_left(expected, None) == 65.0
    assert seconds_left(statuses, None) is None


def test_a_disk_that_is_full_stops_no_work(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(console, "SECONDS_BETWEEN_NOTES", 0.0)
    with context.run.locked("run"):
        monkeypatch.setattr(os, "pwrite", full)
        with context.options.console.progress("train", 5, "steps") as progress:
            progress.update(1)


def test_a_note_is_never_read_half_written(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    with run.locked("run"):
        sizes = set()
        for stage in ("round-000/cluster", "start/eval", "round-000/extract"):
            run.note_stage(stage)
            sizes.add(run.lock.stat().st_size)
            assert json.loads(run.lock.read_text())["stage"] == stage
    assert len(sizes) == 1  # no moment at which it is short
