"""The verification loss, against a slow loop with its own draws, and its checkpoints."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from subspace.mining.errors import InputError
from subspace.mining.label_runs import LabelRuns
from subspace.train.losses.step_generator import random_numbers
from subspace.train.losses.verification import VerificationLoss

UNEQUAL = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3, 3])
D = 6


def embeddings_of(n: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(n, D, generator=generator).double() + 0.5).requires_grad_()


def slow_loss(loss: VerificationLoss, embeddings: Tensor, labels: list[int]) -> Tensor:
    """Without dropout, with the negatives that the loss draws."""
    unit = [row / row.norm() for row in embeddings]
    seed = copy.deepcopy(loss.steps)()
    n = len(labels)
    positives = [(i, j) for i in range(n) for j in range(n) if i != j and labels[i] == labels[j]]
    if len(set(labels)) < 2 or not positives:
        return 0 * embeddings.sum()
    runs = LabelRuns.of(torch.tensor(labels))
    row, (place, exists) = runs.anchor_order, runs.positives
    drawn = runs.negative(random_numbers(tuple(place.shape), seed, torch.device("cpu")))
    found = exists.nonzero().tolist()
    triplets = [(int(row[a]), int(row[place[a, p]]), int(row[drawn[a, p]])) for a, p in found]
    assert sorted((i, j) for i, j, _ in triplets) == positives
    assert all(labels[i] != labels[k] for i, _, k in triplets)
    terms = []
    for i, j, k in triplets:
        for other, same in ((j, 1), (k, 0)):
            logits = loss.weight.double() @ (D * (unit[i] - unit[other]) ** 2) + loss.bias.double()
            terms.append(-torch.log_softmax(logits, dim=0)[same])
    return torch.stack(terms).mean()


@settings(max_examples=40)
@given(labels=st.lists(st.integers(-1, 3), min_size=1, max_size=10), seed=st.integers(0, 99))
def test_value_and_gradient_follow_the_definition(labels: list[int], seed: int) -> None:
    embeddings = embeddings_of(len(labels), seed)
    loss = VerificationLoss(D, dropout=0.0, seed=seed)
    with torch.no_grad():
        loss.weight.copy_(torch.randn(2, D, generator=torch.Generator().manual_seed(seed)))
    expected = slow_loss(loss, embeddings, labels)
    value = loss(embeddings, torch.tensor(labels))
    assert value.item() == pytest.approx(expected.item(), abs=1e-9)
    wanted = torch.autograd.grad(expected, embeddings)[0]
    torch.testing.assert_close(torch.autograd.grad(value, embeddings)[0], wanted)


def test_gradcheck_of_embeddings_and_references() -> None:
    loss = VerificationLoss(D, seed=1).eval()
    references, ref_labels = embeddings_of(7, seed=9), torch.tensor([0, 1, 1, 2, 5, 3, 3])
    assert torch.autograd.gradcheck(lambda e: loss(e, UNEQUAL), embeddings_of(10))
    assert torch.autograd.gradcheck(
        lambda e, r: loss(e, UNEQUAL, r, ref_labels), (embeddings_of(10), references)
    )
    training = VerificationLoss(D, dropout=0.5, seed=1)

    def first_step(e: Tensor) -> Tensor:
        training.steps.load_state_dict({"step": torch.tensor(0)})
        return training(e, UNEQUAL)

    assert torch.autograd.gradcheck(first_step, embeddings_of(10))


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    embeddings, labels = (
        torch.randn(200, 50, generator=torch.Generator().manual_seed(0)),
        torch.arange(200) // 2,
    )
    loss = VerificationLoss(50, dropout=0.75, seed=0)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[0.0], [1e-3]]).expand(2, 50))  # about linear in the squares
    trained = [loss(embeddings, labels).item() for _ in range(20)]
    assert len(set(trained)) == 20
    assert sum(trained) / 20 == pytest.approx(loss.eval()(embeddings, labels).item(), abs=1e-3)


def test_it_learns_to_tell_pairs_apart() -> None:
    embeddings = (torch.eye(6).repeat_interleave(3, dim=0)).requires_grad_()
    labels = torch.arange(18) // 3
    loss = VerificationLoss(6, dropout=0.1)
    with torch.no_grad():
        loss.weight.zero_()
        loss.bias.zero_()
    optimizer = torch.optim.Adam([*loss.parameters()], lr=0.1)
    first = loss(embeddings, labels).item()
    assert first == pytest.approx(math.log(2))
    for _ in range(60):
        optimizer.zero_grad()
        loss(embeddings, labels).backward()
        optimizer.step()
    assert loss.eval()(embeddings, labels).item() < 0.1


def test_a_resumed_loss_draws_what_the_unbroken_one_would_have() -> None:
    embeddings = embeddings_of(10)
    unbroken = VerificationLoss(D, seed=5)
    before = torch.get_rng_state()
    values = [unbroken(embeddings, UNEQUAL).item() for _ in range(6)]
    assert torch.equal(torch.get_rng_state(), before)
    first = VerificationLoss(D, seed=5)
    assert [first(embeddings, UNEQUAL).item() for _ in range(3)] == values[:3]
    resumed = VerificationLoss(D, seed=5)
    resumed.load_state_dict(first.state_dict())
    assert [resumed(embeddings, UNEQUAL).item() for _ in range(3)] == values[3:]
    assert VerificationLoss(D, seed=6)(embeddings, UNEQUAL).item() != values[0]


def test_it_begins_as_a_threshold_on_the_distance() -> None:
    loss = VerificationLoss(D, dropout=0.0)
    embeddings = embeddings_of(2)
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    d = (unit[0] - unit[1]).square().sum()
    same = loss(torch.stack((*embeddings, -embeddings[0])), torch.tensor([0, 0, 1]))
    # Two positive pairs (both orders) at d; their negatives are the third image, at 4 and at 4 - d.
    terms = [4 * (d - 1), 4 * (d - 1), -4 * (4 - 1), -4 * (4 - d - 1)]
    slow = torch.stack([torch.as_tensor(term) for term in terms]).exp().log1p().mean()
    assert same.item() == pytest.approx(slow.item(), rel=1e-6)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [5, 5, 5, 5]])
def test_without_pairs_loss_and_gradients_are_zero(labels: list[int]) -> None:
    embeddings, loss = embeddings_of(4), VerificationLoss(D)
    value = loss(embeddings, torch.tensor(labels))
    value.backward()
    assert value.item() == 0
    for leaf in (embeddings, loss.weight, loss.bias):
        assert leaf.grad is not None
        assert leaf.grad.abs().max() == 0


def test_half_precision_and_duplicates_are_finite() -> None:
    embeddings = torch.ones(6, D, dtype=torch.bfloat16, requires_grad=True)
    value = VerificationLoss(D)(embeddings, torch.tensor([0, 0, 1, 1, 2, 2]))
    value.backward()
    assert value.dtype == torch.float32
    # Every pair is at distance 0: said to be the same, with a logit of 4, which half of them are not.
    assert value.item() == pytest.approx((math.log1p(math.exp(-4)) + math.log1p(math.exp(4))) / 2)
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()


def test_bad_settings_and_inputs_are_named() -> None:
    with pytest.raises(InputError, match="dropout=1"):
        VerificationLoss(D, dropout=1.0)
    with pytest.raises(InputError, match="embedding_size=0"):
        VerificationLoss(0)
    with pytest.raises(InputError, match="built for 8"):
        VerificationLoss(8)(embeddings_of(10), UNEQUAL)
    with pytest.raises(InputError, match="hold NaN"):
        VerificationLoss(D)(embeddings_of(10) * math.nan, UNEQUAL)
