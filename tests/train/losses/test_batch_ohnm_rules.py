"""The rules for negatives against slow loops, and gradients in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from slow_batch_ohnm import slow_loss

from subspace.train import BatchOHNMLoss

losses = st.builds(
    lambda *values, soft_margin, **rules: BatchOHNMLoss(
        *values, soft_margin=bool(soft_margin), margin_inside=soft_margin == "inside", **rules
    ),
    st.sampled_from([0.05, 0.3, 1.0]),
    st.integers(1, 5),
    squared=st.booleans(),
    soft_margin=st.sampled_from(["", "outside", "inside"]),
    mean_over_active=st.booleans(),
    range_min=st.integers(0, 3),
    range_max=st.sampled_from([None, 4, 6]),
    share_of_positive=st.sampled_from([None, None, 0.95, 0.5]),
    max_similarity=st.sampled_from([None, 0.4, 0.8]),
    absolute_margin=st.sampled_from([None, 0.0, 0.2]),
    never=st.sampled_from([None, torch.tensor([[0, 1]]), torch.tensor([[2, 0], [3, 4], [9, 9]])]),
)


@pytest.mark.filterwarnings("ignore:a batch without triplets")
@settings(max_examples=150)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), losses, st.integers(0, 999))
def test_every_rule_follows_its_definition(labels: list[int], loss: BatchOHNMLoss, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(len(labels), 4, generator=random).double().add(0.4).requires_grad_()
    expected, _, kinks = slow_loss(loss, embeddings, labels, embeddings, labels, own_start=0)
    assume(all(kink > 1e-6 for kink in kinks))
    value = loss(embeddings, torch.tensor(labels))
    torch.testing.assert_close(value, expected, atol=1e-10, rtol=1e-8)
    wanted = torch.autograd.grad(expected, embeddings)[0]
    torch.testing.assert_close(torch.autograd.grad(value, embeddings)[0], wanted, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("variant", [{}, {"squared": False}, {"soft_margin": True}, {"absolute_margin": 0.0}])
def test_gradcheck(variant: dict[str, bool]) -> None:
    random = torch.Generator().manual_seed(3)
    embeddings = torch.randn(10, 5, generator=random, dtype=torch.float64).requires_grad_()
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 4, 4])
    assert torch.autograd.gradcheck(lambda e: BatchOHNMLoss(1.0, **variant)(e, labels), (embeddings,))


def test_the_order_of_the_batch_does_not_matter() -> None:
    random = torch.Generator().manual_seed(0)
    embeddings, labels = torch.randn(40, 8, generator=random), torch.arange(40) // 4
    order = torch.randperm(40, generator=random)
    loss, grads = BatchOHNMLoss(), []
    for rows in (torch.arange(40), order):
        leaf = embeddings[rows].clone().requires_grad_()
        loss(leaf, labels[rows]).backward()
        grads.append(leaf.grad)
    torch.testing.assert_close(grads[0][order], grads[1])


def test_a_batch_of_one_identity_says_so() -> None:
    embeddings = torch.randn(4, 3, requires_grad=True)
    with pytest.warns(UserWarning, match="without triplets"):
        value = BatchOHNMLoss()(embeddings, torch.zeros(4, dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert torch.equal(embeddings.grad, torch.zeros(4, 3))
