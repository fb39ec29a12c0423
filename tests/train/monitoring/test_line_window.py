"""A log is the same wherever its training was stopped, with what a line takes its means of carried through meta.json."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subspace.train import CheckpointMeta
from subspace.train.checkpoint_meta import read_meta
from subspace.train.losses.loss import TripletStatistics
from subspace.train.monitoring.line_window import LineWindow
from subspace.train.monitoring.metrics_file import read_metrics
from subspace.train.monitoring.metrics_log import MetricsLog
from subspace.train.monitoring.open_trackers import begin_trackers
from subspace.train.monitoring.phase_clock import Phases
from subspace.train.monitoring.trackers import TrackedRun
from subspace.train.step_record import StepRecord

STEPS = 13
Lines = list[dict[str, float | None]]


def record(step: int) -> StepRecord:
    """A step of numbers that no float holds exactly; of every fifth nothing was learned, every seventh is not finite."""
    third = torch.tensor((step * 7 % 11 + 1) / 3)
    loss = None if step % 5 == 4 else third if step % 7 < 6 else torch.tensor(math.nan)
    statistics = TripletStatistics(third / 7, third, third * 3) if step % 3 else None
    return StepRecord(step, 0.1 / (step + 1), 10 - step % 2, [], loss, statistics, distance=third / 9)


def work(folder: Path, steps: range, every: int, window: LineWindow) -> None:
    """A process that takes some steps, and writes a line after every so many and at the end of all."""
    tracker = begin_trackers((), TrackedRun(folder, "f", {}, steps.start), pytest.fail)
    log = MetricsLog(folder, steps.start, tracker, Phases(), 0, window=window)
    for step in steps:
        log.add(record(step))
        if (step + 1) % every == 0 or step + 1 == STEPS:
            log.write()
    log.close()


def carried(window: LineWindow, step: int, folder: Path) -> LineWindow:
    """What the next process begins with: the state that the last one saved, read again in full."""
    meta = CheckpointMeta("small", 8, step, "mine", window=window.state())
    (folder / "meta.json").write_text(meta.to_json())
    after = LineWindow()
    after.load(read_meta(folder).window)
    return after


def without_times(folder: Path) -> Lines:
    timed = ("seconds", "images_per_second")
    lines = read_metrics(folder / "metrics.jsonl")
    return [{k: v for k, v in line.items() if not k.startswith(timed)} for line in lines]


@given(
    every=st.integers(1, STEPS + 2),
    stops=st.sets(st.integers(1, STEPS - 1), max_size=3),
    repeated=st.integers(0, 4),
)
@settings(max_examples=25, deadline=None)
def test_lines_are_equal_wherever_a_training_was_stopped_or_killed(
    tmp_path_factory: pytest.TempPathFactory, every: int, stops: set[int], repeated: int
) -> None:
    """Between two of its states a process may go on for some steps, and be killed; the next repeats them."""
    whole, parts = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
    work(whole, range(STEPS), every, LineWindow())
    window, first = LineWindow(), 0
    for stop in sorted(stops):
        work(parts, range(first, stop), every, window)
        state = carried(window, stop, parts)
        work(parts, range(stop, min(STEPS, stop + repeated)), every, window)
        window, first = state, stop
    work(parts, range(first, STEPS), every, window)
    assert without_times(parts) == without_times(whole)


def test_time_goes_on_where_it_was(tmp_path: Path) -> None:
    window = LineWindow()
    window.load(
        {"steps": 2, "sums": {"loss": [3.0, 2]}, "counts": {"images": 20, "unreadable": 1}, "seconds": 40.0, "phases": {"forward": 30.0}}
    )  # fmt: skip
    work(tmp_path, range(2, STEPS), 3, window)
    line = read_metrics(tmp_path / "metrics.jsonl")[0]
    assert (line["step"], line["unreadable"], line["seconds_forward"]) == (2, 1, 30)
    assert 40 <= line["seconds"] < 50
    assert line["images_per_second"] == pytest.approx(30 / line["seconds"], abs=0.06)
    assert line["loss"] == pytest.approx((3 + 4 / 3) / 3)  # that of step 2 is 4/3


def test_the_state_of_a_written_line_and_of_an_older_checkpoint_is_empty() -> None:
    window = LineWindow()
    assert window.state() == {}
    window.add({"loss": torch.tensor(1.0)}, {"images": 2})
    assert json.loads(json.dumps(window.state()))["sums"] == {"loss": [1.0, 1]}
    window.load({})
    assert (window.steps, window.means(), window.state()) == (0, {}, {})
