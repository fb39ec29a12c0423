"""Phases: what is charged to whom, by a clock that the test turns."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from subspace.train.monitoring import phase_clock as module
from subspace.train.monitoring.phase_clock import Phases


class Clock:
    """Seconds that pass only where the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_seconds_add_up_by_phase_and_what_is_outside_does_not_count(clock: Clock) -> None:
    phases = Phases()
    for step in range(3):
        with phases("forward"):
            clock.now += 2
        clock.now += 1000
        with phases("backward"):
            clock.now += step
    assert phases.take() == {"forward": 6, "backward": 3}


def test_taking_begins_a_new_window(clock: Clock) -> None:
    phases = Phases()
    with phases("forward"):
        clock.now += 1
    phases.take()
    with phases("update"):
        clock.now += 5
    assert phases.take() == {"update": 5}
    assert phases.take() == {}


def test_a_phase_that_raises_is_charged_and_raises(clock: Clock) -> None:
    def diverge() -> None:
        clock.now += 3
        raise ValueError("NaN")

    phases = Phases()
    with pytest.raises(ValueError, match="NaN"), phases("loss"):
        diverge()
    assert phases.take() == {"loss": 3}


def test_waiting_for_items_is_charged_and_working_on_them_is_not(clock: Clock) -> None:
    def slow() -> Iterator[int | None]:
        for item in (1, None, 3):  # None is an item like any other
            clock.now += 10
            yield item
        clock.now += 7  # finding out that there are no more

    phases = Phases()
    seen = []
    for item in phases.over("data", slow()):
        clock.now += 500
        seen.append(item)
    assert seen == [1, None, 3]
    assert phases.take() == {"data": 37}


def test_the_order_is_that_of_first_coming(clock: Clock) -> None:
    phases = Phases()
    for name in ("data", "forward", "loss", "data"):
        with phases(name):
            clock.now += 1
    assert list(phases.take()) == ["data", "forward", "loss"]


def test_on_cuda_events_are_read_when_taken_and_never_pile_up(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With events of the test's own: what is checked is who is charged, in seconds."""
    read = 0

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = clock.now

        def synchronize(self) -> None:
            nonlocal read
            read += 1

        def elapsed_time(self, end: Event) -> float:
            return 1000 * (end.at - self.at)  # milliseconds, as torch has it

    monkeypatch.setattr(torch.cuda, "Event", Event)
    phases = Phases(torch.device("cuda"))
    for _ in range(module.PENDING_AT_MOST // 2):
        with phases("forward"):
            clock.now += 2
        with phases("backward"):
            clock.now += 3
    assert read == 0
    with phases("forward"):
        clock.now += 2
    assert read == module.PENDING_AT_MOST + 1
    assert phases.take() == {
        "forward": module.PENDING_AT_MOST + 2,
        "backward": 1.5 * module.PENDING_AT_MOST,
    }
    assert phases.take() == {}
