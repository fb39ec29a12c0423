"""Seeds of steps, and counters that the host knows."""

from __future__ import annotations

import copy

import pytest
import torch

from subspace.mining.errors import InputError
from subspace.train.losses.step_generator import StepSeeds


def seeds(steps: StepSeeds, n: int) -> list[int]:
    return [steps() for _ in range(n)]


def test_seeds_are_a_function_of_seed_purpose_and_step() -> None:
    unbroken = seeds(StepSeeds(3, "a"), 6)
    assert len(set(unbroken)) == 6
    assert seeds(StepSeeds(3, "b"), 6) != unbroken
    assert seeds(StepSeeds(4, "a"), 6) != unbroken

    first = StepSeeds(3, "a")
    assert seeds(first, 3) == unbroken[:3]
    resumed = StepSeeds(3, "a")
    seeds(resumed, 5)
    resumed.load_state_dict(first.state_dict())
    assert seeds(resumed, 3) == unbroken[3:]
    assert len(set(seeds(resumed.eval(), 3))) == 1
    with pytest.raises(InputError, match="seed=-1"):
        StepSeeds(-1, "a")


def test_a_copy_counts_by_itself() -> None:
    steps = StepSeeds(3, "a")
    seeds(steps, 2)
    other = copy.deepcopy(steps)
    seeds(other, 2)
    assert (steps.count("step"), int(steps.step)) == (2, 2)
    assert (other.count("step"), int(other.step)) == (4, 4)


def test_a_step_does_not_ask_the_device() -> None:
    steps = StepSeeds(3, "a")
    steps()
    steps.to(torch.device("meta"))  # has no numbers to ask for
    assert steps() == seeds(StepSeeds(3, "a"), 2)[1]
