"""The learning rate's shape, and which weights decay."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from subspace.train.backbones import build_backbone
from subspace.train.optimizers import OptimizerConfig, build_optimizer, learning_rate


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(1, 200), st.sampled_from(["cosine", "constant"]), st.floats(1e-4, 1))
def test_the_rate_rises_to_its_peak_and_then_falls_or_stays(
    warmup: int, total: int, schedule: str, lr: float
) -> None:
    config = OptimizerConfig.model_validate({"lr": lr, "warmup_steps": warmup, "schedule": schedule})
    rates = [learning_rate(config, step, total) for step in range(total)]
    assert all(0 <= rate <= lr * (1 + 1e-9) for rate in rates)
    assert rates[0] > 0  # no step is wasted
    rising, after = rates[:warmup], rates[warmup:]
    for step, rate in enumerate(rising):
        assert rate == pytest.approx(lr * (step + 1) / warmup)
    if after:
        assert after[0] == pytest.approx(lr)
        if schedule == "constant":
            assert set(after) == {after[0]}
        else:
            assert all(a > b for a, b in pairwise(after))
            assert after[len(after) // 2] == pytest.approx(lr / 2, rel=math.pi / len(after))
            assert learning_rate(config, total, total) == pytest.approx(0, abs=1e-12)
            assert learning_rate(config, total + 10, total) == pytest.approx(0, abs=1e-12)


def test_the_cosine_equals_that_of_torch() -> None:
    config = OptimizerConfig(lr=0.3, warmup_steps=0)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        assert learning_rate(config, step, 50) == pytest.approx(schedule.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_biases_and_norms_do_not_decay(name: str) -> None:
    network = build_backbone("small", embedding_size=8)
    config = OptimizerConfig.model_validate({"name": name, "weight_decay": 0.1, "lr": 0.01, "momentum": 0})
    optimizer = build_optimizer([network], config)
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters())

    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name_, p in network.named_parameters():
        if p.ndim == 1:
            assert torch.equal(p, before[name_])
        else:
            torch.testing.assert_close(p.detach(), before[name_] * (1 - 0.1 * 0.01))


def test_frozen_weights_are_left_out_and_modules_joined() -> None:
    frozen, trained = nn.Linear(3, 2), nn.Linear(2, 2)
    frozen.requires_grad_(False)
    optimizer = build_optimizer([frozen, trained], OptimizerConfig())
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in trained.parameters()}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_torchs_with_nesterov_momentum(momentum: float) -> None:
    ours, theirs = (nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    module = nn.Module()
    module.weight = ours
    config = OptimizerConfig(name="sgd", lr=0.1, momentum=momentum, weight_decay=0.01)
    first = build_optimizer([module], config)
    second = torch.optim.SGD([theirs], lr=0.1, momentum=momentum, nesterov=momentum > 0, weight_decay=0.01)
    for _ in range(3):
        for parameter, optimizer in ((ours, first), (theirs, second)):
            optimizer.zero_grad()
            (parameter**3).sum().backward()
            optimizer.step()
    assert torch.equal(ours, theirs)
