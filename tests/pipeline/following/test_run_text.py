"""The status as text: 100 columns whatever the names are, and what runs first."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from subspace.pipeline.following.at_work import AtWork, HowFar
from subspace.pipeline.following.run_text import clock_time, how_far_in_words, now_in_words, status_text
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.status import StageStatus

LONG = "/a/very/long/path-" + "x" * 150 + "\x1b[2J\nsubspace: forged"
PHASES = dict.fromkeys(
    ("data", "forward", "mine", "backward", "update", "means", "log", "checkpoint", "pictures", "other"), 1.0
)


def statuses(name: str) -> list[StageStatus]:
    return [
        StageStatus("start", "pretrain", "done", 44.0, f"the network of {name}", PHASES),
        StageStatus("round-000", "extract", "stale", None, f"data.train_splits: {name}", advice=f"`{name}`"),
        StageStatus("round-000", "train", "running", None, name, jobs=("123_4",)),
    ]


@pytest.mark.parametrize("columns", [60, 80, 100])
@pytest.mark.parametrize("running", [True, False])
def test_no_line_is_wider_whatever_the_names_are(tmp_path: Path, columns: int, running: bool) -> None:
    far = HowFar("train", 1200, 4000, "steps", 12.0)
    now = AtWork("run", 17, LONG, time.time(), "round-000/train", time.time(), far, 233.0)
    text = status_text(
        RunDirectory(tmp_path / ("y" * 120)), statuses(LONG), now if running else None, columns
    )
    lines = text.split("\n")
    assert max(map(len, lines)) <= columns
    assert "\x1b" not in text
    assert not [line for line in lines if line.strip().startswith("subspace: forged")]


def test_what_runs_comes_first(tmp_path: Path) -> None:
    now = AtWork(
        "run", 17, "here", time.time() - 65, "round-000/train", time.time() - 60,
        HowFar("train", 1200, 4000, "steps", 12.0), 233.0,
    )  # fmt: skip
    lines = status_text(RunDirectory(tmp_path), statuses("name"), now).split("\n")
    assert lines[0].startswith("now  round-000/train: 1,200 of 4,000 steps (30 %), 12.0 a second, until ")
    assert "(3 min 53 s left)" in f"{lines[0]} {lines[1]}".replace("  ", " ")
    assert any(
        line.startswith("by   `subspace run` (process 17 on here, begun 1 min 05 s ago)") for line in lines
    )


def test_a_part_of_a_stage_is_named() -> None:
    assert how_far_in_words(HowFar("cluster: duplicates", 5, 20, "means"), "round-000/cluster") == (
        "cluster: duplicates 5 of 20 means (25 %)"
    )
    assert how_far_in_words(HowFar("extract", 5, 20, "parts", 0.05), "round-000/extract") == (
        "5 of 20 parts (25 %), 3.0 a minute"
    )


def test_what_is_waited_for_before_a_stage_works_is_said() -> None:
    """Libraries take seconds to load, and steps are timed: nothing has a bar in that time."""
    now = AtWork("run", 17, "here", time.time() - 3)
    assert now_in_words([], now) == (
        "beginning for 3.0 s: libraries are loaded, and it is measured how long the first work will take"
    )
    done = StageStatus("start", "eval", "done", 3.0, "")
    now = AtWork("run", 17, "here", time.time() - 30, "start/eval", time.time() - 20)
    assert now_in_words([done], now) == (
        "start/eval is done: it is measured how long the next stage will take"
    )
    assert now_in_words([], AtWork("lr", 17, "here", 0.0, how_far=HowFar("lr 0.1", 2, 5, "steps"))) == (
        "lr: lr 0.1 2 of 5 steps (40 %)"
    )
    whole = HowFar("search-loss", 2, 5, "candidates")
    assert now_in_words([], AtWork("search-loss", 17, "here", 0.0, how_far=whole)) == (
        "search-loss: 2 of 5 candidates (40 %)"
    )


def test_another_day_is_said() -> None:
    assert len(clock_time(0.0)) == len("12:00:00")
    assert clock_time(10 * 86_400.0).count("-") == 2
