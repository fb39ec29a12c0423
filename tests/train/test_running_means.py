"""Running identity means: the definition by a slow loop, and means that follow a moving network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from waits import CountedWaits

from subspace.mining.errors import InputError
from subspace.train.running_means import RunningMeans, fits
from subspace.train.training_config import ReclusterConfig


def rows(n: int, seed: int, D: int = 5) -> torch.Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed))


def units(n: int, seed: int, D: int = 5) -> torch.Tensor:
    return torch.nn.functional.normalize(rows(n, seed, D), dim=1)


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.5, 0.9]),
    st.integers(0, 99),
)
def test_visits_follow_the_definition(batches: list[list[int]], momentum: float, seed: int) -> None:
    means, spread = units(6, seed), torch.linspace(0, 0.5, 6)
    running = RunningMeans.beginning(means.clone(), spread, momentum)
    slow = [(mean * (1 - s)).tolist() for mean, s in zip(means, spread, strict=True)]
    for number, labels in enumerate(batches):
        embeddings = 3 * rows(len(labels), seed + number)
        running.update(embeddings, torch.tensor(labels))
        for label in set(labels):
            own = [e / e.norm() for e, of in zip(embeddings, labels, strict=True) if of == label]
            visit = sum(own) / len(own)
            slow[label] = (momentum * torch.tensor(slow[label]) + (1 - momentum) * visit).tolist()
    expected = np.array(slow, np.float32)
    length = np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(running.means(), expected / length[:, None], atol=1e-4)
    np.testing.assert_allclose(running.spread(), np.clip(1 - length, 0, 1), atol=1e-5)


def moved_before(
    vector: torch.Tensor, momentum: float, unit: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """The update as it was when means were kept on the CPU alone."""
    label, place, count = labels.unique(return_inverse=True, return_counts=True)
    total = torch.zeros(len(label), unit.shape[1]).index_add_(0, place, unit)
    vector[label] = momentum * vector[label] + (1 - momentum) * (total / count[:, None])
    return vector


@pytest.mark.parametrize(("B", "identities"), [(1, 3), (64, 5), (64, 1000), (512, 100)])
def test_numbers_are_those_of_index_add(B: int, identities: int) -> None:
    vector, random = rows(identities, 1, D=32), torch.Generator().manual_seed(B)
    running, expected = RunningMeans(vector.clone(), 0.3), vector.clone()
    for seed in range(3):
        embeddings = units(B, seed, D=32)
        labels = torch.randint(0, identities, (B,), generator=random)
        running.update(embeddings, labels)
        unit = torch.nn.functional.normalize(embeddings, dim=1, eps=1e-6)
        expected = moved_before(expected, 0.3, unit, labels)
    assert torch.equal(running.vector, expected)


def test_an_update_waits_for_nothing() -> None:
    running = RunningMeans(rows(9, 0))
    with CountedWaits() as waits:
        running.update(rows(6, 1), torch.tensor([3, 1, 3, 8, 1, 3]))
    assert waits.seen == []


def test_what_is_on_its_way_to_the_cpu_is_taken_in_before_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near, far = RunningMeans(rows(6, 0)), RunningMeans(rows(6, 0))
    for seed in range(3):
        near.update(rows(4, seed), torch.tensor([0, 2, 2, seed]))
        with monkeypatch.context() as patch:  # as where the batch is on a GPU
            patch.setattr(RunningMeans, "place", torch.device("meta"))
            far.update(rows(4, seed), torch.tensor([0, 2, 2, seed]))
    np.testing.assert_array_equal(far.means(), near.means())
    assert torch.equal(far.vector, near.vector)


def test_they_stay_where_there_is_no_room() -> None:
    assert fits(2 * 2**30, free=70 * 2**30)
    assert not fits(20 * 2**30, free=40 * 2**30)
    running = RunningMeans(rows(2, 0))
    running.keep_near(torch.device("cpu"))
    assert running.place.type == "cpu"


def test_before_any_visit_they_are_what_was_extracted() -> None:
    means, spread = units(4, 0), torch.tensor([0.0, 0.1, 0.2, 0.9])
    running = RunningMeans.beginning(means.clone(), spread)
    np.testing.assert_allclose(running.means(), means, atol=1e-6)
    np.testing.assert_allclose(running.spread(), spread, atol=1e-6)


def test_they_forget_where_an_identity_was() -> None:
    running = RunningMeans.beginning(units(3, 0), torch.zeros(3), 0.5)
    new = units(1, 7)
    for _ in range(20):
        running.update(new.repeat(2, 1).requires_grad_(), torch.tensor([1, 1]))
    np.testing.assert_allclose(running.means()[1], new[0], atol=1e-5)
    np.testing.assert_allclose(running.means()[[0, 2]], units(3, 0)[[0, 2]], atol=1e-6)
    assert not running.vector.requires_grad


def test_images_that_cancel_out_give_a_zero_mean() -> None:
    running = RunningMeans.beginning(torch.zeros(1, 2), torch.ones(1))
    assert running.means().tolist() == [[0, 0]]
    assert running.spread().tolist() == [1]


def test_a_wrong_momentum_is_named() -> None:
    with pytest.raises(InputError, match="momentum=1"):
        RunningMeans.beginning(units(2, 0), torch.zeros(2), 1.0)


def test_they_are_gathered_where_they_are_needed() -> None:
    assert not ReclusterConfig(refresh="extract").needs_running_means
    assert ReclusterConfig(refresh="extract", stale_below=0.8).needs_running_means
    assert ReclusterConfig().needs_running_means


def test_what_overflowed_is_not_taken_in() -> None:
    running = RunningMeans(torch.eye(3), momentum=0.5)
    running.update(torch.tensor([[torch.inf, 0.0, 0.0], [0.0, 0.0, 1.0]]), torch.tensor([0, 1]))
    assert running.vector.tolist() == [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]]
