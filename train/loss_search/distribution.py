"""A Gaussian over the numbers of a loss: draws from it, and the REINFORCE step of its mean. Pure functions; no torch.

Shapes: B candidates an epoch, D numbers in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...mining.randomness import generator

FIRST_DECAY, SECOND_DECAY, TINY = 0.9, 0.999, 1e-8
"""Adam's own, as in both papers."""


class Outcome(NamedTuple):
    """What one epoch showed."""

    theta: np.ndarray
    """float64[B, D]."""
    rewards: Sequence[float | None]
    """More is better; None: the candidate diverged or collapsed."""


def draw(mean_D: np.ndarray, sigma: float, seed: int, epoch: int, candidate: int) -> np.ndarray:
    """One draw from N(mean, sigma²), float64[D]: a function of its arguments, whoever draws and in whatever order.

    >>> draw(np.zeros(1), 0.0, seed=0, epoch=3, candidate=1)
    array([0.])
    """
    rng = generator(seed, "loss search", epoch, candidate)
    return mean_D + sigma * rng.standard_normal(len(mean_D))


def advantages(rewards: Sequence[float | None]) -> np.ndarray:
    """Rewards of one epoch with mean 0 and deviation 1, float64[B]; zeros where all are equal, or all failed.

    Failures count as the lowest reward; where all others are equal, as less.

    >>> advantages([0.5, None, 0.7]).round(3)
    array([-0.707, -0.707,  1.414])
    >>> advantages([None, 0.7])
    array([-1.,  1.])
    """
    known = [reward for reward in rewards if reward is not None]
    if not known:
        return np.zeros(len(rewards))
    failed = min(known) - (min(known) == max(known))
    values = np.array([failed if reward is None else reward for reward in rewards], np.float64)
    apart = values - values.mean()
    deviation = np.sqrt((apart**2).mean())
    return apart / deviation if deviation > 1e-12 else np.zeros(len(values))


def mean_gradient(outcome: Outcome, mean_D: np.ndarray, sigma: float) -> np.ndarray:
    """1/B Σ R_i ∇ log N(theta_i; mean, sigma²) by the mean, float64[D], rewards normalised within the epoch.

    The gradient of the log density is (theta - mean) / sigma².
    """
    weights_B = advantages(outcome.rewards)
    return (weights_B[:, None] * (outcome.theta - mean_D)).mean(0) / sigma**2


def mean_after(start_D: np.ndarray, outcomes: Sequence[Outcome], sigma: float, eta: float) -> np.ndarray:
    """The mean after these epochs: Adam's steps of size `eta` up the gradient, float64[D].

    It is computed anew from all outcomes, so that a search which was killed has nothing else to remember.

    >>> better = Outcome(np.array([[0.1], [-0.1]]), [0.9, 0.1])
    >>> mean_after(np.zeros(1), [better], sigma=0.2, eta=0.05).round(6)
    array([0.05])
    """
    mean, first, second = start_D.astype(np.float64), 0.0, 0.0
    for step, outcome in enumerate(outcomes, 1):
        gradient = mean_gradient(outcome, mean, sigma)
        first = FIRST_DECAY * first + (1 - FIRST_DECAY) * gradient
        second = SECOND_DECAY * second + (1 - SECOND_DECAY) * gradient**2
        up = first / (1 - FIRST_DECAY**step)
        mean = mean + eta * up / (np.sqrt(second / (1 - SECOND_DECAY**step)) + TINY)
    return mean
