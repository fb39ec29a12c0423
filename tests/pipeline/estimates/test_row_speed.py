"""Estimates from what is measured here. Covers pipeline/estimates/estimate.py, too."""

from __future__ import annotations

import time

from subspace.pipeline.estimates.estimate import Estimate
from subspace.pipeline.estimates.row_speed import ROWS, row_seconds, sorted_seconds


def test_a_row_takes_what_its_work_takes() -> None:
    def work(rows: slice) -> None:
        until = time.process_time() + (rows.stop - rows.start) * 2e-6
        while time.process_time() < until:
            pass

    assert 1.5e-6 < row_seconds(work, 10**6) < 4e-6


def test_what_the_first_row_sets_up_is_not_counted() -> None:
    """Imports at the first look made 6 seconds of the 1.7 that a clustering took."""
    set_up: list[bool] = []

    def work(rows: slice) -> None:
        until = time.process_time() + (0.1 if not set_up else 1e-3)
        set_up.append(True)
        while time.process_time() < until:
            pass

    assert row_seconds(work, ROWS) < 0.05 / ROWS


def test_few_rows_are_timed_as_they_are_and_many_in_part() -> None:
    asked: list[int] = []
    row_seconds(lambda rows: asked.append(rows.stop), 100)
    assert asked == [1, 100]
    row_seconds(lambda rows: asked.append(rows.stop), 10**9)
    assert asked[3] == ROWS
    assert asked[-1] <= 16 * ROWS
    assert row_seconds(lambda rows: None, 0) == 0.0


def test_sorting_takes_time() -> None:
    assert 0 < sorted_seconds() < 1e-4


def test_the_line_holds_its_time() -> None:
    assert str(Estimate("3 images", 130.0, ", 2 MB")) == "3 images, about 2 minutes, 2 MB"
