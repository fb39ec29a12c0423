"""The learning rate's shape, and which weights decay.

Covers train/optimizer_config.py as well.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from subspace.mining import InputError
from subspace.train.losses.class_losses import SoftmaxLoss
from subspace.train.networks.backbone import Backbone
from subspace.train.networks.building import build_backbone
from subspace.train.networks.head import head_parameters
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.optimizers import RowAdamW, RowSGD, build_optimizer, learning_rate, set_learning_rates


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


@pytest.mark.parametrize("power", [1.0, 2.0, 0.9])
def test_poly_equals_that_of_torch(power: float) -> None:
    config = OptimizerConfig(lr=0.3, warmup_steps=0, schedule="poly", power=power)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=50, power=power)
    for step in range(60):
        assert learning_rate(config, step, 50) == pytest.approx(schedule.get_last_lr()[0], rel=1e-6, abs=1e-9)
        optimizer.step()
        schedule.step()


def test_poly_begins_after_the_warm_up() -> None:
    config = OptimizerConfig(lr=0.3, warmup_steps=10, schedule="poly", power=2)
    assert learning_rate(config, 9, 50) == learning_rate(config, 10, 50) == 0.3
    assert learning_rate(config, 30, 50) == pytest.approx(0.3 / 4)


@pytest.mark.parametrize("total", [10, 97, 100])
def test_step_equals_that_of_torch(total: int) -> None:
    shares = (0.07, 0.3, 0.55)
    config = OptimizerConfig(lr=0.3, warmup_steps=0, schedule="step", milestones=shares, step_factor=0.2)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    falls = [
        next(step for step in range(total + 1) if 100 * step >= percent * total) for percent in (7, 30, 55)
    ]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, falls, gamma=0.2)
    for step in range(total):
        assert learning_rate(config, step, total) == pytest.approx(schedule.get_last_lr()[0]), step
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("milestones", [[0.5, 0.5], [0.7, 0.2], [0.0], [1.0], [0.5, 20]])
def test_milestones_that_are_no_rising_shares_are_refused(milestones: list[float]) -> None:
    with pytest.raises(ValueError, match="rising shares of the run"):
        OptimizerConfig.model_validate({"milestones": milestones})


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


def test_adagrad_is_torchs_and_its_sums_follow_a_moved_network() -> None:
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    first = build_optimizer([ours], OptimizerConfig(name="adagrad", lr=0.1, weight_decay=0.01))
    ours.double()  # as a move to another device, after the sums were made
    theirs.double()
    groups = [{"params": [theirs.weight], "weight_decay": 0.01}, {"params": [theirs.bias]}]
    second = torch.optim.Adagrad(groups, lr=0.1)
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for _ in range(3):
        for module, optimizer in ((ours, first), (theirs, second)):
            optimizer.zero_grad()
            module(inputs).square().sum().backward()
            optimizer.step()
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)
    assert all(first.state[p]["sum"].dtype == torch.float64 for p in ours.parameters())


def two_modules() -> tuple[Backbone, SoftmaxLoss]:
    return build_backbone("iresnet18", embedding_size=8), SoftmaxLoss(4, 8)


def held_by(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


@pytest.mark.parametrize(
    "changed", [{}, {"body_lr_factor": 0.1}, {"body_lr_factor": 0.1, "head": ["conv1", "layer2.0"]}]
)
def test_a_parameters_number_does_not_depend_on_settings(changed: dict[str, object]) -> None:
    network, loss = two_modules()
    optimizer = build_optimizer([network, loss], OptimizerConfig.model_validate(changed))
    trained = [p for module in (network, loss) for p in module.parameters() if p.requires_grad]
    expected = [p for p in trained if p.ndim >= 2] + [p for p in trained if p.ndim < 2]
    assert [id(p) for p in held_by(optimizer)] == [id(p) for p in expected]


def test_the_defaults_make_the_two_groups_of_old() -> None:
    optimizer = build_optimizer(list(two_modules()), OptimizerConfig(weight_decay=0.1))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert [group["lr_factor"] for group in optimizer.param_groups] == [1.0, 1.0]


@pytest.mark.parametrize("head", [None, ["fc"], ["conv1", "layer4.1"]])
def test_the_body_learns_at_its_share(head: list[str] | None) -> None:
    network, loss = two_modules()
    config = OptimizerConfig.model_validate(
        {"lr": 0.5, "body_lr_factor": 0.1, "head": head, "weight_decay": 0}
    )
    optimizer = build_optimizer([network, loss], config)
    names = {id(p): name for name, p in network.named_parameters()}
    for lr in (None, 0.2):
        if lr is not None:
            set_learning_rates(optimizer, lr)
        for group in optimizer.param_groups:
            for p in group["params"]:
                in_head = id(p) not in names or names[id(p)] in head_parameters(network, head)
                assert group["lr"] == pytest.approx((lr or 0.5) * (1 if in_head else 0.1))


def test_a_tenth_of_the_rate_is_a_tenth_of_the_step() -> None:
    networks = [build_backbone("small", embedding_size=8) for _ in range(2)]
    steps = []
    for network, factor in zip(networks, (1.0, 0.1), strict=True):
        config = OptimizerConfig(name="sgd", lr=0.5, momentum=0, weight_decay=0, body_lr_factor=factor)
        optimizer = build_optimizer([network], config)
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        for p in network.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
        steps.append({name: (p.detach() - before[name]).mean() for name, p in network.named_parameters()})
    for name in steps[0]:
        share = 1 if name.startswith(("body.fc", "body.features")) else 0.1
        torch.testing.assert_close(steps[1][name], share * steps[0][name], rtol=1e-4, atol=0)


def test_a_wrong_head_is_refused() -> None:
    with pytest.raises(InputError, match=r"'neck'; it has conv1"):
        build_optimizer(list(two_modules()), OptimizerConfig(head=("neck",)))
    build_optimizer([nn.Conv2d(3, 4, 3)], OptimizerConfig(body_lr_factor=0.1))  # not a network: no head


def rows_of_a_step(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows, and the gradient of each, of a weight of 6 rows."""
    random = torch.Generator().manual_seed(step)
    rows = torch.randperm(6, generator=random)[: 1 + step % 4].sort().values
    return rows, torch.randn(len(rows), 3, generator=random)


def test_rows_of_a_sparse_gradient_move_as_in_adamw_of_these_rows() -> None:
    """As InsightFace does it: a parameter of the drawn rows, with their moments, and the steps of the whole."""
    ours = nn.Parameter(torch.randn(6, 3, generator=torch.Generator().manual_seed(9)))
    weight, mean, square = ours.detach().clone(), torch.zeros(6, 3), torch.zeros(6, 3)
    given = {"lr": 0.1, "weight_decay": 0.2}
    optimizer = RowAdamW([ours], **given)
    for step in range(9):
        rows, slope = rows_of_a_step(step)
        ours.grad = torch.sparse_coo_tensor(rows[None], slope, (6, 3), check_invariants=True)
        optimizer.step()
        assert ours.grad.is_sparse
        part = nn.Parameter(weight[rows])
        part.grad = slope
        peer = torch.optim.AdamW([part], **given)
        peer.state[part] = {
            "step": torch.tensor(float(step)),
            "exp_avg": mean[rows],
            "exp_avg_sq": square[rows],
        }
        peer.step()
        weight[rows], mean[rows], square[rows] = (
            part.detach(),
            peer.state[part]["exp_avg"],
            peer.state[part]["exp_avg_sq"],
        )
        torch.testing.assert_close(ours.detach(), weight)
    torch.testing.assert_close(optimizer.state[ours]["exp_avg"], mean)
    torch.testing.assert_close(optimizer.state[ours]["exp_avg_sq"], square)


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.5}])
def test_rows_of_a_sparse_gradient_move_as_in_sgd_of_these_rows(settings: dict[str, Any]) -> None:
    """Torch's own SGD keeps a sparse momentum that grows with every step; ours stays as large as the parameter."""
    ours = nn.Parameter(torch.randn(6, 3, generator=torch.Generator().manual_seed(9)))
    weight, momentum = ours.detach().clone(), torch.zeros(6, 3)
    settings = {"lr": 0.1, "weight_decay": 0.2, **settings}
    optimizer = RowSGD([ours], **settings)
    for step in range(9):
        rows, slope = rows_of_a_step(step)
        twice = torch.cat((rows, rows[:1])), torch.cat((slope, slope[:1]))  # a row that is named twice
        ours.grad = torch.sparse_coo_tensor(twice[0][None], twice[1], (6, 3), check_invariants=True)
        optimizer.step()
        slope[0] *= 2
        part = nn.Parameter(weight[rows])
        part.grad = slope
        peer = torch.optim.SGD([part], **settings)
        peer.state[part] = {"momentum_buffer": momentum[rows]} if "momentum" in settings else {}
        peer.step()
        weight[rows] = part.detach()
        if "momentum" in settings:
            momentum[rows] = peer.state[part]["momentum_buffer"]
        torch.testing.assert_close(ours.detach(), weight)
    if "momentum" in settings:
        torch.testing.assert_close(optimizer.state[ours]["momentum_buffer"], momentum)


def test_a_dense_gradient_moves_all_as_in_adamw_and_sparse_ones_go_on_from_there() -> None:
    start = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    ours, bias, peer = (nn.Parameter(x) for x in (start.clone(), torch.ones(2), start.clone()))
    optimizers = RowAdamW([ours, bias], lr=0.1), torch.optim.AdamW([peer], lr=0.1)
    for step in range(4):
        slope = torch.randn(6, 3, generator=torch.Generator().manual_seed(step))
        every = torch.arange(6)[None]
        ours.grad = (
            slope if step % 2 == 0 else torch.sparse_coo_tensor(every, slope, (6, 3), check_invariants=True)
        )
        bias.grad = torch.ones(2)
        peer.grad = slope.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, peer)
    assert (bias < 0.7).all()
    assert optimizers[0].state[ours].keys() == optimizers[1].state[peer].keys()
