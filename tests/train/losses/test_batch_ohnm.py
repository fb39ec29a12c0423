"""The batch-OHNM loss, against slow loops with autograd in float64 and against pytorch-metric-learning."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from torch import Tensor

from subspace.mining.errors import InputError
from subspace.train.losses.batch_ohnm import BatchOHNMLoss


def embeddings_of(n: int, d: int = 5, seed: int = 0, scale: float = 3.0) -> Tensor:
    """float64 leaves of any length; a spread of 1 around one point makes some triplets easy and some hard."""
    generator = torch.Generator().manual_seed(seed)
    return (scale * (torch.randn(n, d, generator=generator).double() + 0.5)).requires_grad_()


def slow_loss(
    embeddings: Tensor, labels: list[int], *, margin: float, k: int, squared: bool, soft_margin: bool
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """The loss, and d_ap and d_an of every triplet."""
    unit = [row / row.norm() for row in embeddings]

    def distance(i: int, j: int) -> Tensor:
        square = ((unit[i] - unit[j]) ** 2).sum()
        return square if squared else square.sqrt()

    triplets = []
    for a in range(len(labels)):
        negatives = sorted(
            (distance(a, j) for j in range(len(labels)) if labels[j] != labels[a]), key=Tensor.item
        )
        for p in range(len(labels)):
            if p != a and labels[p] == labels[a]:
                triplets += [(distance(a, p), d_an) for d_an in negatives[:k]]
    if soft_margin:
        terms = [torch.log1p(torch.exp(d_ap - d_an)) for d_ap, d_an in triplets]
    else:
        terms = [d_ap - d_an + margin for d_ap, d_an in triplets if d_ap - d_an + margin > 0]
    return (torch.stack(terms).mean() if terms else embeddings.sum() * 0), triplets


def gradient(loss: Tensor, embeddings: Tensor) -> Tensor:
    return torch.autograd.grad(loss, embeddings)[0]


variants = st.fixed_dictionaries({"squared": st.booleans(), "soft_margin": st.booleans()})


@settings(max_examples=60)
@given(
    labels=st.lists(st.integers(0, 4), min_size=2, max_size=12),
    margin=st.sampled_from([0.05, 0.3, 1.0]),
    k=st.integers(1, 6),
    variant=variants,
    seed=st.integers(0, 999),
)
def test_value_gradient_and_statistics_follow_the_definition(
    labels: list[int], margin: float, k: int, variant: dict[str, bool], seed: int
) -> None:
    embeddings = embeddings_of(len(labels), seed=seed)
    expected, triplets = slow_loss(embeddings, labels, margin=margin, k=k, **variant)
    violations = [(d_ap - d_an + margin).item() for d_ap, d_an in triplets]
    assume(all(abs(violation) > 1e-4 for violation in violations))  # float32 may see the other side

    loss = BatchOHNMLoss(margin, k, **variant)
    value = loss(embeddings, torch.tensor(labels))

    assert value.shape == ()
    assert value.item() == pytest.approx(expected.item(), abs=1e-5)
    torch.testing.assert_close(
        gradient(value, embeddings), gradient(expected, embeddings), atol=1e-5, rtol=1e-4
    )
    assert loss.statistics is not None
    told = [number.item() for number in loss.statistics]
    if not triplets:
        assert all(math.isnan(number) for number in told)
        return
    assert told[0] == pytest.approx(sum(v > 0 for v in violations) / len(violations))
    assert told[1] == pytest.approx(sum(d_ap.item() for d_ap, _ in triplets) / len(triplets), abs=1e-5)
    assert told[2] == pytest.approx(sum(d_an.item() for _, d_an in triplets) / len(triplets), abs=1e-5)
    assert not any(number.requires_grad for number in loss.statistics)


PAIRS = torch.arange(12) // 2
"""Two images of each identity: one positive an anchor."""
UNEQUAL = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3, 3])


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("margin", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("scale", [0.2, 3.0])
def test_one_negative_and_one_positive_is_the_batch_hard_loss(
    power: int, margin: float, scale: float
) -> None:
    embeddings = embeddings_of(len(PAIRS), scale=scale)
    distance = LpDistance(normalize_embeddings=True, p=2, power=power)
    hard = BatchHardMiner(distance=distance)(embeddings, PAIRS)
    expected = TripletMarginLoss(margin, distance=distance)(embeddings, PAIRS, hard)
    value = BatchOHNMLoss(margin, negatives=1, squared=power == 2)(embeddings, PAIRS)
    assert 0 < value.item() == pytest.approx(expected.item(), abs=1e-5)
    torch.testing.assert_close(
        gradient(value, embeddings), gradient(expected, embeddings), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("soft_margin", [False, True])
def test_all_negatives_are_the_triplet_loss_without_mining(power: int, soft_margin: bool) -> None:
    embeddings = embeddings_of(len(UNEQUAL))
    distance = LpDistance(normalize_embeddings=True, p=2, power=power)
    margin = 0.0 if soft_margin else 0.3  # pytorch-metric-learning adds the margin inside the softplus
    expected = TripletMarginLoss(margin, smooth_loss=soft_margin, distance=distance)(embeddings, UNEQUAL)
    loss = BatchOHNMLoss(0.3, negatives=len(UNEQUAL), squared=power == 2, soft_margin=soft_margin)
    value = loss(embeddings, UNEQUAL)
    assert value.item() == pytest.approx(expected.item(), abs=1e-5)
    torch.testing.assert_close(
        gradient(value, embeddings), gradient(expected, embeddings), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("variant", [{}, {"squared": False}, {"soft_margin": True}])
@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [5, 5, 5, 5]])
def test_without_triplets_loss_and_gradient_are_zero(labels: list[int], variant: dict[str, Any]) -> None:
    embeddings = embeddings_of(4)
    value = BatchOHNMLoss(**variant)(embeddings, torch.tensor(labels))
    assert value.item() == 0
    assert gradient(value, embeddings).tolist() == [[0] * 5] * 4


def test_without_violations_loss_and_gradient_are_zero() -> None:
    embeddings = torch.eye(3).repeat_interleave(2, dim=0).requires_grad_()
    loss = BatchOHNMLoss(margin=0.5)
    value = loss(embeddings, torch.tensor([0, 0, 1, 1, 2, 2]))
    assert value.item() == 0
    assert gradient(value, embeddings).abs().max() == 0
    assert loss.statistics is not None
    assert [number.item() for number in loss.statistics] == [0, 0, 2]


@pytest.mark.parametrize("variant", [{}, {"squared": False}, {"soft_margin": True, "squared": False}])
def test_collapsed_and_zero_embeddings_have_a_finite_gradient(variant: dict[str, Any]) -> None:
    for embeddings in (torch.ones(6, 4), torch.zeros(6, 4), 1e-20 * torch.ones(6, 4)):
        embeddings.requires_grad_()
        value = BatchOHNMLoss(margin=0.3, **variant)(embeddings, torch.tensor([0, 0, 1, 1, 2, 2]))
        expected = math.log(2) if "soft_margin" in variant else 0.3
        assert value.item() == pytest.approx(expected, abs=1e-5)
        assert torch.isfinite(gradient(value, embeddings)).all()


def test_the_length_of_an_embedding_does_not_matter() -> None:
    embeddings = embeddings_of(10).detach()
    loss = BatchOHNMLoss()
    lengths = torch.linspace(0.1, 100, 10).double()[:, None]
    torch.testing.assert_close(loss(embeddings, UNEQUAL), loss(embeddings * lengths, UNEQUAL))


def test_half_precision_embeddings_are_compared_in_single() -> None:
    embeddings = embeddings_of(10).detach().bfloat16()
    value = BatchOHNMLoss()(embeddings, UNEQUAL)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, BatchOHNMLoss()(embeddings.float(), UNEQUAL))


def test_a_step_against_the_gradient_lowers_the_loss() -> None:
    embeddings = embeddings_of(len(UNEQUAL), scale=1.0)
    loss = BatchOHNMLoss()
    before = loss(embeddings, UNEQUAL)
    with torch.no_grad():
        moved = embeddings - 0.01 * gradient(before, embeddings)
    assert loss(moved, UNEQUAL).item() < before.item()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_embeddings_that_are_not_finite_are_told_in_one_line(value: float) -> None:
    embeddings = embeddings_of(4).detach()
    embeddings[2, 1] = value
    with pytest.raises(InputError, match="hold NaN or infinity") as error:
        BatchOHNMLoss()(embeddings, torch.tensor([0, 0, 1, 1]))
    assert "\n" not in str(error.value)


def test_no_negatives_are_refused() -> None:
    with pytest.raises(InputError, match="negatives=0"):
        BatchOHNMLoss(negatives=0)
