"""Losses over a part of the classes, against the full loss on the same part."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import network
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from subspace.mining.errors import InputError
from subspace.mining.randomness import derived_seed
from subspace.train.losses.class_losses import ArcFaceLoss, CosFaceLoss, SoftmaxLoss
from subspace.train.losses.partial_fc import (
    Kind,
    PartialClassLoss,
    PartialFCLoss,
    ShareOf,
    SubspaceSoftmaxLoss,
    others_wanted,
    sample_others,
)
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.optimizers import build_optimizer
from subspace.train.training_state import TrainingState

every_kind = pytest.mark.parametrize("kind", ["softmax", "cosface", "arcface"])


def embeddings_of(n: int, d: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1000 + seed)).double().requires_grad_()


def slow_loss(
    kind: Kind, embeddings: Tensor, weights: Tensor, labels: list[int], used: list[int], scale: float = 64
) -> Tensor:
    """Margin softmax over the classes `used`, by its words."""
    terms = []
    for x, y in zip(embeddings, labels, strict=True):
        cosines = {k: x @ weights[k] / (x.norm() * weights[k].norm()) for k in used}
        if kind == "cosface":
            cosines[y] = cosines[y] - 0.4
        elif kind == "arcface":
            angle = torch.arccos(cosines[y])
            beyond = angle + 0.5 > math.pi
            cosines[y] = cosines[y] - 0.5 * math.sin(0.5) if beyond else torch.cos(angle + 0.5)
        logits = scale * torch.stack(list(cosines.values()))
        terms.append(torch.logsumexp(logits, dim=0) - scale * cosines[y])
    return torch.stack(terms).mean()


def assert_equal_on(
    loss: PartialClassLoss, kind: Kind, labels: list[int], used: list[int], seed: int
) -> None:
    embeddings = embeddings_of(len(labels), seed=seed)
    weights = loss.head.weight.detach().clone().requires_grad_()
    value = loss(embeddings, torch.tensor(labels))
    expected = slow_loss(kind, embeddings, weights, labels, used)
    torch.testing.assert_close(value, expected)
    ours = torch.autograd.grad(value, [embeddings, loss.head.weight])
    theirs = torch.autograd.grad(expected, [embeddings, weights])
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-7)
    unused = sorted(set(range(loss.head.num_classes)) - set(used))
    assert not ours[1][unused].any()


# --- sampling ----------------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(
    present=st.sets(st.integers(0, 29), min_size=1),
    share=st.floats(0.01, 1),
    share_of=st.sampled_from(["others", "all"]),
    seed=st.integers(0, 999),
)
def test_sampled_classes_are_distinct_absent_from_the_batch_and_as_many_as_asked(
    present: set[int], share: float, share_of: ShareOf, seed: int
) -> None:
    count = others_wanted(len(present), 30, share, share_of)
    others = sample_others(torch.tensor(sorted(present)), 30, count, seed).tolist()
    if share_of == "others":
        assert count == math.ceil(share * (30 - len(present)))
    else:  # InsightFace's num_sample = int(sample_rate * num_local), and positives alone where there are more
        assert len(present) + count == max(len(present), int(share * 30))
    assert len(set(others)) == len(others) == count
    assert set(others) <= set(range(30)) - present


def test_every_absent_class_is_drawn_equally_often() -> None:
    present = torch.tensor([0, 3, 4, 9])
    draws = np.concatenate([sample_others(present, 10, 3, seed).numpy() for seed in range(4000)])
    counts = np.bincount(draws, minlength=10)
    assert not counts[present].any()
    assert np.abs(np.delete(counts, present) - 2000).max() < 150  # 4.7 standard deviations


def test_the_draw_is_a_function_of_seed_and_training_step() -> None:
    labels = torch.tensor([3, 1, 3])

    def drawn(loss: PartialFCLoss, steps: int) -> list[list[int]]:
        return [loss.rows(labels)[0].tolist() for _ in range(steps)]

    before = torch.random.get_rng_state()
    first = drawn(PartialFCLoss(100, 4, seed=5), 3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(1)
    assert drawn(PartialFCLoss(100, 4, seed=5), 3) == first
    assert first[0] != first[1] != first[2]
    assert drawn(PartialFCLoss(100, 4, seed=6), 1)[0] != first[0]
    loss = PartialFCLoss(100, 4, seed=5)
    loss.eval()
    assert drawn(loss, 2) == [first[0], first[0]]


# --- values and gradients ----------------------------------------------------------------------------------


@every_kind
@settings(max_examples=15, derandomize=True)
@given(
    labels=st.lists(st.integers(0, 11), min_size=1, max_size=6),
    share=st.sampled_from([0.05, 0.3, 1.0]),
    share_of=st.sampled_from(["others", "all"]),
    seed=st.integers(0, 99),
)
def test_partial_fc_is_the_loss_over_the_drawn_classes(
    kind: Kind, labels: list[int], share: float, share_of: ShareOf, seed: int
) -> None:
    loss = PartialFCLoss(12, 6, kind=kind, share=share, share_of=share_of, seed=seed).double()
    present = sorted(set(labels))
    count = others_wanted(len(present), 12, share, share_of)
    drawn = derived_seed(seed, "partial fc", 0)
    others = sample_others(torch.tensor(present), 12, count, drawn).tolist()
    assert_equal_on(loss, kind, labels, present + others, seed)


@every_kind
@settings(max_examples=15, derandomize=True)
@given(
    labels=st.lists(st.integers(0, 8), min_size=1, max_size=6),
    subspace_of=st.lists(st.integers(0, 3), min_size=9, max_size=9),
    seed=st.integers(0, 99),
)
def test_subspace_softmax_is_the_loss_over_the_subspaces_of_the_batch(
    kind: Kind, labels: list[int], subspace_of: list[int], seed: int
) -> None:
    loss = SubspaceSoftmaxLoss(9, 6, kind=kind, subspace_of=torch.tensor(subspace_of), seed=seed).double()
    subspaces = {subspace_of[y] for y in labels}
    used = [k for k in range(9) if subspace_of[k] in subspaces]
    assert_equal_on(loss, kind, labels, used, seed)


@every_kind
def test_all_classes_give_the_full_loss(kind: Kind) -> None:
    full = {"softmax": SoftmaxLoss, "cosface": CosFaceLoss, "arcface": ArcFaceLoss}[kind](20, 6, scale=64.0)
    labels, embeddings = torch.arange(30) % 17, embeddings_of(30)
    expected = full(embeddings, labels)
    gradients = torch.autograd.grad(expected, [embeddings, full.weight])
    for loss in (
        PartialFCLoss(20, 6, kind=kind, share=1),
        SubspaceSoftmaxLoss(20, 6, kind=kind, subspace_of=torch.arange(20) % 2),
    ):
        assert torch.equal(loss.head.weight, full.weight)
        value = loss(embeddings, labels)
        torch.testing.assert_close(value, expected)
        ours = torch.autograd.grad(value, [embeddings, loss.head.weight])
        torch.testing.assert_close(ours, gradients, atol=1e-6, rtol=1e-5)


@every_kind
def test_gradcheck(kind: Kind) -> None:
    labels, embeddings = torch.tensor([0, 3, 3, 1]), embeddings_of(4, 3)
    for loss in (
        PartialFCLoss(8, 3, kind=kind, share=0.3),
        SubspaceSoftmaxLoss(8, 3, kind=kind, subspace_of=torch.arange(8) // 3),
    ):
        loss.double().eval()

        def value(x: Tensor, _: Tensor, loss: PartialClassLoss = loss) -> Tensor:
            return loss(x, labels)

        assert torch.autograd.gradcheck(value, (embeddings, loss.head.weight))


def test_sparse_and_dense_gradients_are_the_same_steps() -> None:
    weights = []
    for sparse in (False, True):
        loss = PartialFCLoss(50, 6, sparse_gradient=sparse)
        optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
        for step in range(3):
            optimizer.zero_grad()
            loss(embeddings_of(8, seed=step).float(), torch.arange(8) * 3).backward()
            assert loss.head.weight.grad is not None
            assert loss.head.weight.grad.is_sparse == sparse
            optimizer.step()
        weights.append(loss.head.weight.detach())
    torch.testing.assert_close(*weights)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_drawn_classes_alone_move(name: str) -> None:
    loss = PartialFCLoss(50, 6, sparse_gradient=True)
    optimizer = build_optimizer([loss], OptimizerConfig(name=name, lr=0.1))  # pyright: ignore[reportArgumentType]
    labels = torch.arange(8) * 3
    drawn = PartialFCLoss(50, 6).rows(labels)[0]
    before = loss.head.weight.detach().clone()
    loss(embeddings_of(8).float(), labels).backward()
    optimizer.step()
    moved = (loss.head.weight != before).any(dim=1)
    assert moved.nonzero().flatten().tolist() == sorted(drawn.tolist())


def test_a_sparse_gradient_is_clipped_as_a_dense_one() -> None:
    clipped = []
    for sparse in (False, True):
        loss = PartialFCLoss(50, 6, sparse_gradient=sparse)
        network = nn.Linear(6, 6, bias=False)
        torch.nn.init.eye_(network.weight)
        optimizer = build_optimizer([network, loss], OptimizerConfig())
        loss(network(embeddings_of(8).float()), torch.arange(8) * 3).backward()
        TrainingState(network, loss, optimizer).update(clip_norm=0.01)  # pyright: ignore[reportArgumentType]
        gradients = [network.weight.grad, loss.head.weight.grad]
        clipped.append([g.to_dense() for g in gradients if g is not None])
    for dense, sparse in zip(*clipped, strict=True):
        torch.testing.assert_close(dense, sparse)
    assert sum(float(g.square().sum()) for g in clipped[1]) ** 0.5 == pytest.approx(0.01, rel=1e-3)


def test_weight_decay_of_all_classes_is_refused_beside_a_sparse_gradient() -> None:
    loss = nn.ModuleList([PartialFCLoss(50, 6, sparse_gradient=True)])
    with pytest.raises(InputError, match=r"set optimizer\.weight_decay=0, or take adamw or sgd"):
        build_optimizer([loss], OptimizerConfig(name="adagrad", weight_decay=1e-4))
    optimizer = build_optimizer([loss], OptimizerConfig(name="adagrad", weight_decay=0))
    loss[0](embeddings_of(8).float(), torch.arange(8)).backward()
    optimizer.step()


def test_one_identity_alone_in_its_subspace_has_nothing_to_learn() -> None:
    loss, embeddings = SubspaceSoftmaxLoss(3, 6, subspace_of=torch.tensor([0, 1, 1])), embeddings_of(2)
    value = loss(embeddings, torch.tensor([0, 0]))
    assert value.item() == 0
    assert not torch.autograd.grad(value, embeddings)[0].any()


# --- cost --------------------------------------------------------------------------------------------------


class LargestTensor(TorchDispatchMode):
    """Remembers the most numbers that any operation returned, the backward pass included."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor) and tensor.untyped_storage().nbytes():
                self.numbers = max(self.numbers, tensor.numel())
        return result


@pytest.mark.parametrize("name", ["partial fc", "subspace"])
def test_nothing_is_as_large_as_batch_times_classes(name: str) -> None:
    classes, batch = 10_000, 64
    if name == "partial fc":
        loss: PartialClassLoss = PartialFCLoss(classes, 4, share=0.1)
    else:
        loss = SubspaceSoftmaxLoss(classes, 4, subspace_of=torch.arange(classes) // 1000)
    labels, embeddings = torch.arange(batch), embeddings_of(batch, 4).float().detach().requires_grad_()
    largest = LargestTensor()
    with largest:
        loss(embeddings, labels).backward()
    assert largest.numbers <= batch * (0.1 * classes + batch)


# --- state -------------------------------------------------------------------------------------------------


def train(network: nn.Module, loss: nn.Module, steps: range) -> list[float]:
    """SGD on noisy copies of one fixed point a class, two subspaces of 10 classes in turn."""
    optimizer, values = torch.optim.SGD([*network.parameters(), *loss.parameters()], lr=0.02), []
    points = torch.randn(20, 6, generator=torch.Generator().manual_seed(77))
    for step in steps:
        rng = torch.Generator().manual_seed(step)
        labels = torch.randint(10, (16,), generator=rng) + 10 * (step % 2)
        value = loss(network(points[labels] + 0.2 * torch.randn(16, 6, generator=rng)), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values


def toy_loss(name: str, seed: int = 0) -> PartialClassLoss:
    if name == "partial fc":
        return PartialFCLoss(20, 6, share=0.3, scale=16, seed=seed)
    return SubspaceSoftmaxLoss(20, 6, subspace_of=torch.arange(20) // 10, scale=16, seed=seed)


both = pytest.mark.parametrize("name", ["partial fc", "subspace"])


@both
def test_twenty_steps_lower_the_loss(name: str) -> None:
    values = train(network(0), toy_loss(name), range(20))
    assert sum(values[-4:]) < 0.8 * sum(values[:4])


@both
def test_a_checkpoint_in_the_middle_changes_nothing(name: str, tmp_path: Path) -> None:
    """Buffers and weights come from the checkpoint; the seed from the settings, as in a resumed run."""
    whole_network, whole = network(0), toy_loss(name)
    train(whole_network, whole, range(10))
    save_file(whole.state_dict(), tmp_path / "loss.safetensors")
    resumed_network, resumed = network(9), toy_loss(name)
    resumed_network.load_state_dict(whole_network.state_dict())
    resumed.load_state_dict(load_file(tmp_path / "loss.safetensors"))

    assert train(resumed_network, resumed, range(10, 15)) == train(whole_network, whole, range(10, 15))
    for key, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], tensor), key


# --- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, "share=0.0"),
        ({"share": 1.1}, "share=1.1"),
        ({"kind": "sphere"}, "kind='sphere'"),
        ({"kind": "softmax", "margin": 0.4}, "margin=0.4 with kind='softmax'"),
        ({"margin": -1.0}, "margin=-1.0"),
        ({"scale": -1.0}, "scale=-1.0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_bad_settings_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PartialFCLoss(5, 6, **options)


def test_subspaces_must_be_one_whole_number_a_class() -> None:
    with pytest.raises(InputError, match=r"shape \[3\].*each of 4 classes"):
        SubspaceSoftmaxLoss(4, 6, subspace_of=torch.tensor([0, 1, 1]))
    with pytest.raises(InputError, match="float32"):
        SubspaceSoftmaxLoss(2, 6, subspace_of=torch.tensor([0.0, 1.0]))


@both
def test_wrong_labels_and_embeddings_are_told(name: str) -> None:
    loss = toy_loss(name)
    with pytest.raises(InputError, match=r"label 20 is outside 0\.\.19"):
        loss(embeddings_of(2), torch.tensor([0, 20]))
    with pytest.raises(InputError, match="NaN"):
        loss(torch.full((1, 6), math.nan), torch.tensor([0]))
