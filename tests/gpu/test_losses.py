"""Every loss on the device is what it is on the CPU in float64: values, gradients and what the loss itself learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from subspace.train.losses import LOSSES, TrainingSet, build_loss

CLASSES, D, P, K, STEPS = 40, 16, 9, 3, 3
CASES: dict[str, dict[str, Any]] = {
    **{name: {} for name in sorted(LOSSES) if name not in ("xbm", "offline")},
    "xbm:batch_ohnm": {"xbm": {"memory_size": 50, "warmup_steps": 0}},
    "xbm:multi_similarity": {"xbm": {"memory_size": 50, "warmup_steps": 0}},
    "batch_ohnm + 0.5*softmax": {},
}
NEAR = 1e-5
"""Largest difference of a tensor from the float64 one, relative to its length."""


def three_steps(
    expression: str, device: str, dtype: torch.dtype, labels_on: str | None = None
) -> list[Tensor]:
    """Value and gradient of each step, and what the loss holds in the end; plain SGD on its own weights."""
    torch.manual_seed(0)
    noise = torch.Generator().manual_seed(1)
    means = torch.nn.functional.normalize(torch.randn(CLASSES, D, generator=noise), dim=1)
    training_set = TrainingSet.from_means(means, torch.arange(CLASSES) % 4, seed=0)
    loss = build_loss(expression, CASES[expression], training_set).to(device, dtype).train()
    found: list[Tensor] = []
    for _ in range(STEPS):
        labels = torch.randperm(CLASSES, generator=noise)[:P].repeat_interleave(K)
        rows = means[labels] + 0.25 * torch.randn(P * K, D, generator=noise)
        rows = torch.nn.functional.normalize(rows, dim=1).to(device, dtype).requires_grad_()
        loss.zero_grad()
        value = loss(rows, labels.to(labels_on or device))
        value.backward()
        found += [value.detach(), _dense(rows.grad)]
        with torch.no_grad():
            for weight in loss.parameters():
                if weight.grad is not None:
                    found.append(_dense(weight.grad))
                    weight -= 0.05 * _dense(weight.grad)
    found += [tensor for tensor in loss.state_dict().values() if tensor.is_floating_point()]
    return [tensor.detach().cpu().double() for tensor in found]


def _dense(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    gradient = gradient.detach()
    return gradient.to_dense() if gradient.is_sparse else gradient.clone()


@pytest.mark.parametrize("expression", CASES)
def test_a_loss_is_that_of_float64_on_the_cpu(expression: str, device: str) -> None:
    here, again = (three_steps(expression, device, torch.float32) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(here, again, strict=True)), (
        "not the same bytes twice"
    )
    unwaiting = three_steps(expression, device, torch.float32, labels_on="cpu")
    assert all(torch.equal(one, other) for one, other in zip(here, unwaiting, strict=True)), (
        "other bytes where labels lie on the CPU"
    )
    assert all(tensor.isfinite().all() for tensor in here)
    exact = three_steps(expression, "cpu", torch.float64)
    assert any(bool(tensor.any()) for tensor in exact)
    for place, (one, other) in enumerate(zip(here, exact, strict=True)):
        off = float((one - other).norm() / other.norm().clamp(min=1e-3))
        assert off <= NEAR, f"tensor {place} is off by {off:.1e}"


@pytest.mark.cuda
@pytest.mark.parametrize("expression", CASES)
def test_no_loss_waits_for_a_gpu(expression: str) -> None:
    rows = torch.randn(P * K, D, generator=torch.Generator().manual_seed(0)).cuda().requires_grad_()
    labels = torch.arange(P).repeat_interleave(K)
    means = torch.nn.functional.normalize(torch.randn(CLASSES, D), dim=1)
    loss = build_loss(
        expression, CASES[expression], TrainingSet.from_means(means, torch.arange(CLASSES) % 4, seed=0)
    )
    loss = loss.cuda().train()
    for _ in range(2):  # the first step reads counters, and sets up
        loss(rows, labels).backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(rows, labels).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
