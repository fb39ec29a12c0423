"""The softmax loss, against pytorch-metric-learning's given the same weights."""

from __future__ import annotations

import math

import pytest
import torch
from pytorch_metric_learning.losses import NormalizedSoftmaxLoss
from torch import Tensor

from subspace.mining.errors import InputError
from subspace.train.class_losses import SoftmaxLoss


def embeddings_of(n: int, d: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize("scale", [1.0, 16.0, 64.0])
def test_value_and_gradients_equal_those_of_pytorch_metric_learning(scale: float) -> None:
    labels = torch.tensor([0, 3, 1, 1, 2, 0, 3])
    embeddings = embeddings_of(len(labels))
    loss = SoftmaxLoss(4, 6, scale=scale)
    other = NormalizedSoftmaxLoss(4, 6, temperature=1 / scale)
    with torch.no_grad():
        other.W.copy_(loss.weight.T)

    value, expected = loss(embeddings, labels), other(embeddings, labels)

    torch.testing.assert_close(value, expected)
    ours = torch.autograd.grad(value, [embeddings, loss.weight])
    theirs = torch.autograd.grad(expected, [embeddings, other.W])
    torch.testing.assert_close(ours, (theirs[0], theirs[1].T), atol=1e-5, rtol=1e-4)


def test_the_loss_is_the_mean_log_probability_of_the_own_class() -> None:
    labels, embeddings = [2, 0], embeddings_of(2).detach()
    loss = SoftmaxLoss(3, 6, scale=5.0)
    terms = []
    for row, label in zip(embeddings.double(), labels, strict=True):
        cosines = [float(row @ w / (row.norm() * w.norm())) for w in loss.weight.detach().double()]
        powers = [math.exp(5 * cosine) for cosine in cosines]
        terms.append(-math.log(powers[label] / sum(powers)))
    assert loss(embeddings, torch.tensor(labels)).item() == pytest.approx(sum(terms) / 2, abs=1e-5)


def test_weights_are_a_function_of_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    first = SoftmaxLoss(10, 4, seed=3).weight
    torch.manual_seed(99)
    assert torch.equal(SoftmaxLoss(10, 4, seed=3).weight, first)
    assert not torch.equal(SoftmaxLoss(10, 4, seed=4).weight, first)
    torch.random.set_rng_state(before)
    SoftmaxLoss(10, 4)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_zero_embeddings_have_a_finite_gradient() -> None:
    embeddings = torch.zeros(2, 6, requires_grad=True)
    loss = SoftmaxLoss(3, 6)
    value = loss(embeddings, torch.tensor([0, 1]))
    assert value.item() == pytest.approx(math.log(3))
    assert torch.isfinite(torch.autograd.grad(value, embeddings)[0]).all()


def test_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="at least two identities, got 1"):
        SoftmaxLoss(1, 6)


def test_embeddings_that_are_not_finite_are_told() -> None:
    embeddings = embeddings_of(2).detach()
    embeddings[0, 0] = math.nan
    with pytest.raises(InputError, match="NaN"):
        SoftmaxLoss(3, 6)(embeddings, torch.tensor([0, 1]))
