"""The seconds of a training's phases, summed over its log."""

from __future__ import annotations

from subspace.train.monitoring.phase_seconds import sum_phases


def test_phases_are_summed_and_the_rest_is_other() -> None:
    lines = [
        {"step": 1, "seconds": 4.0, "active_fraction": None, "seconds_data": 1.0, "seconds_loss": 0.5},
        {"step": 3, "seconds": 10.0, "active_fraction": 0.5, "seconds_data": 3.0, "seconds_loss": 1.5},
    ]
    assert sum_phases(lines) == {"data": 4.0, "mine": 2.0, "other": 4.0}
    assert sum_phases(lines[:1]) == {"data": 1.0, "loss": 0.5, "other": 2.5}


def test_logs_without_phases_have_none() -> None:
    assert sum_phases([]) is None
    assert sum_phases([{"step": 1, "seconds": 4.0}]) is None
