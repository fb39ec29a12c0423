"""The Gaussian of a search: REINFORCE against differences of the log density, and that it climbs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from subspace.train.loss_search.distribution import Outcome, advantages, draw, mean_after, mean_gradient


def test_the_gradient_is_that_of_the_log_density() -> None:
    rng = np.random.default_rng(0)
    mean, theta, rewards = rng.normal(size=3), rng.normal(size=(4, 3)), [0.1, 0.4, 0.2, 0.9]

    def surrogate(at: np.ndarray) -> float:
        weights = (np.array(rewards) - np.mean(rewards)) / np.std(rewards)
        return float(np.mean(weights * norm.logpdf(theta, at, 0.2).sum(1)))

    found = mean_gradient(Outcome(theta, rewards), mean, 0.2)
    for axis in range(3):
        step = 1e-5 * np.eye(3)[axis]
        assert found[axis] == pytest.approx(
            (surrogate(mean + step) - surrogate(mean - step)) / 2e-5, rel=1e-5
        )


def test_it_climbs_to_what_is_rewarded() -> None:
    best, start = np.array([0.3, -0.2]), np.zeros(2)
    outcomes: list[Outcome] = []
    for epoch in range(60):
        mean = mean_after(start, outcomes, 0.2, 0.05)
        theta = np.stack([draw(mean, 0.2, 7, epoch, number) for number in range(8)])
        outcomes.append(Outcome(theta, [-float(((each - best) ** 2).sum()) for each in theta]))
    assert np.abs(mean_after(start, outcomes, 0.2, 0.05) - best).max() < 0.1
    assert (mean_after(start, outcomes, 0.2, 0.0) == start).all()


def test_failures_count_as_the_lowest_and_equal_rewards_teach_nothing() -> None:
    assert advantages([0.2, None, 0.8]).tolist() == advantages([0.2, 0.2, 0.8]).tolist()
    theta = np.array([[-0.1], [0.7]])
    for nothing in ([0.5, 0.5], [None, None]):
        assert mean_after(np.zeros(1), [Outcome(theta, nothing)], 0.2, 0.05).tolist() == [0.0]
    one_came_through = mean_after(np.zeros(1), [Outcome(theta, [None, 0.3])], 0.2, 0.05)
    assert one_came_through == pytest.approx([0.05])  # towards it: it was taken for nothing learnt


def test_a_draw_is_a_function_of_its_place() -> None:
    mean = np.zeros(5)
    first = draw(mean, 0.2, 1, 2, 3)
    assert (draw(mean, 0.2, 1, 2, 3) == first).all()
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert (draw(mean, 0.2, *other) != first).all()
    many = np.stack([draw(mean + 0.5, 0.2, 0, 0, number) for number in range(2000)])
    assert many.mean() == pytest.approx(0.5, abs=0.01)
    assert many.std() == pytest.approx(0.2, abs=0.01)
