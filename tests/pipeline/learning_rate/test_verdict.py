"""The best rate, and which others it cannot be told from."""

from __future__ import annotations

import pytest

from subspace.mining import InputError
from subspace.pipeline.learning_rate.trials import Trial
from subspace.pipeline.learning_rate.verdict import Verdict, judge


def of(rate: float, value: float | None) -> Trial:
    """A trial with this Rank-1, 0.05 either side; None: it diverged."""
    if value is None:
        return Trial(rate, "diverged", 3, 96, 0.1, "cpu")
    interval = {"value": value, "low": value - 0.05, "high": value + 0.05}
    return Trial(rate, "done", 40, 1280, 1.0, "cpu", {"Rank-1": interval}, [[40, 0.4]])


def verdict(*trials: Trial, start: float = 0.5) -> Verdict:
    return judge(trials, "Rank-1", {"Rank-1": {"value": start, "low": start, "high": start}})


def test_the_best_figure_wins_and_those_within_its_interval_are_said() -> None:
    found = verdict(of(1e-4, 0.70), of(1e-3, 0.86), of(1e-2, 0.90), of(0.1, 0.84), of(1, None))
    assert (found.best.rate, [rival.rate for rival in found.rivals]) == (1e-2, [1e-3])
    assert found.lines() == ["best: 0.01, Rank-1 90.0 % [85.0, 95.0]; 1 other within its interval: 0.001"]
    rows = {line.split()[0]: line.split()[-1] for line in found.table().splitlines()}
    assert (rows["0.01"], rows["0.001"], rows["1"]) == ("best", "within", "diverged")


@pytest.mark.parametrize(("values", "end"), [((0.9, 0.8), "lowest"), ((0.8, 0.9), "highest")])
def test_a_best_at_the_end_of_what_was_tried_is_said(values: tuple[float, float], end: str) -> None:
    found = verdict(of(0.1, values[0]), of(1, values[1]))
    assert f"is the {end} rate that was tried" in found.lines()[1]


def test_trials_too_short_to_gain_are_said() -> None:
    found = verdict(of(0.1, 0.5), of(1, 0.6), of(2, 0.5), start=0.7)
    assert not found.gains
    assert "--steps" in found.lines()[-1]
    assert not verdict(of(0.1, 0.5), of(1, 0.6), of(2, 0.5), start=0.56).gains  # within the interval
    assert verdict(of(0.1, 0.5), of(1, 0.6), of(2, 0.5), start=0.54).gains


def test_a_trial_without_any_hit_is_within_an_interval_that_reaches_down_to_it() -> None:
    low = Trial(
        1.0, "done", 40, 1280, 1.0, "cpu", {"Rank-1": {"value": 0.04, "low": 0.0, "high": 0.1}}, [[40, 0.4]]
    )
    found = verdict(of(0.1, 0.0), low, of(10, None))
    assert (found.best, [rival.rate for rival in found.rivals]) == (low, [0.1])


def test_no_trial_came_through() -> None:
    with pytest.raises(InputError, match=r"at 0\.1 to 1 all diverged or collapsed; give lower rates"):
        verdict(of(0.1, None), of(1, None))
