"""Seeds of steps, and counters that the host knows."""

from __future__ import annotations

import copy

import pytest
import torch

from subspace.mining.errors import InputError
from subspace.train.losses.step_generator import StepSeeds, random_numbers, seeded_globally


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


def test_what_is_seeded_globally_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    reseeded: list[int] = []
    monkeypatch.setattr("torch.cuda.manual_seed_all", reseeded.append)
    before = torch.get_rng_state()
    with seeded_globally(7, torch.device("cpu")):
        drawn = torch.rand(3)
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(7)))
    assert torch.equal(torch.get_rng_state(), before)
    assert reseeded == []  # generators of GPUs would stay reseeded


@pytest.mark.cuda
def test_on_a_gpu_it_is_put_back_without_waiting() -> None:
    gpu = torch.empty(1, device="cuda").device
    before = torch.cuda.get_rng_state(gpu)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with seeded_globally(7, gpu):
            drawn = torch.rand(3, device=gpu)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    own = torch.Generator(gpu).manual_seed(7)
    assert torch.equal(drawn, torch.rand(3, device=gpu, generator=own))
    assert torch.equal(torch.cuda.get_rng_state(gpu), before)


def test_random_numbers_are_a_function_of_place_and_seed() -> None:
    cpu = torch.device("cpu")
    first, again, other = (random_numbers((30, 4), seed, cpu) for seed in (5, 5, 5 + 2**40))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(random_numbers((3, 4), 5, cpu), first[:3])
    # By hand, on the steps of MurmurHash3's end.
    number = 7
    for key in (5, 0):
        number = (number * 0x9E3779B1 + key) & 0xFFFFFFFF
        number = ((number ^ number >> 16) * 0x85EBCA6B) & 0xFFFFFFFF
        number = ((number ^ number >> 13) * 0xC2B2AE35) & 0xFFFFFFFF
        number ^= number >> 16
    assert first.flatten()[7] == number >> 1


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 2, 2**62 + 3])
def test_random_numbers_are_uniform_and_independent(seed: int) -> None:
    """Chi-square over 64 cells of one number, and over 8 x 8 of two that follow each other: below the 0.9999 quantile of 63."""
    drawn = random_numbers((64_000,), seed, torch.device("cpu"))
    assert 0 <= drawn.min() <= drawn.max() < 2**31
    pairs = (drawn[::2] >> 28) * 8 + (drawn[1::2] >> 28)
    for cells in (drawn >> 25, drawn % 64, pairs):
        expected = len(cells) / 64
        assert float(((torch.bincount(cells, minlength=64) - expected) ** 2 / expected).sum()) < 114
