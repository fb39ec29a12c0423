"""Offline triplets: slow loops in float64, the miner of subsets, and the plan whose order the loss reads."""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from subspace.mining import IdentityImages, PlanConfig, mine_offline, nearest_in_subspace, plan_batches
from subspace.mining.errors import InputError
from subspace.train.losses.building import TrainingSet, build_loss
from subspace.train.losses.offline_triplets import OfflineTripletLoss
from subspace.train.losses.triplet_rules import BatchHardLoss

UNEQUAL = torch.tensor([4, 4, 4, 0, 0, 7, 1, 1, 2, 2, 2, 2, 9, 9])
"""Pairs (4, 0), (7, 1), (2, 9); 7 has one image."""


def embeddings_of(n: int, seed: int = 0) -> Tensor:
    rows = torch.randn(n, 5, generator=torch.Generator().manual_seed(seed)).double()
    return (rows + 0.5).requires_grad_()


def slow_triplets(embeddings: Tensor, labels: list[int]) -> list[tuple[Tensor, Tensor]]:
    """d_ap and d_an of every anchor, pair of runs after pair of runs."""
    unit = [row / row.norm() for row in embeddings]
    runs = [[i for i, _ in group] for _, group in groupby(enumerate(labels), key=lambda item: item[1])]
    triplets = []
    for one, other in zip(runs[::2], runs[1::2], strict=False):
        for own, partner in ((one, other), (other, one)):
            for a in own:
                positives = [((unit[a] - unit[p]) ** 2).sum() for p in own if p != a]
                negatives = [((unit[a] - unit[n]) ** 2).sum() for n in partner]
                if positives:
                    triplets.append((max(positives, key=Tensor.item), min(negatives, key=Tensor.item)))
    return triplets


def assert_same(value: Tensor, expected: Tensor, embeddings: Tensor) -> None:
    torch.testing.assert_close(value, expected, atol=1e-10, rtol=1e-8)
    found, wanted = (torch.autograd.grad(v, embeddings, retain_graph=True)[0] for v in (value, expected))
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-6)


@settings(max_examples=150)
@given(
    labels=st.lists(st.tuples(st.integers(-1, 4), st.integers(1, 4)), min_size=1, max_size=6),
    margin=st.sampled_from([0.05, 0.2, 1.0]),
    seed=st.integers(0, 999),
)
def test_runs_meet_in_pairs(labels: list[tuple[int, int]], margin: float, seed: int) -> None:
    told = [label for label, images in labels for _ in range(images)]
    embeddings = embeddings_of(len(told), seed)
    triplets = slow_triplets(embeddings, told)
    active = [d_ap - d_an + margin for d_ap, d_an in triplets if d_ap - d_an + margin > 0]
    expected = torch.stack(active).mean() if active else embeddings.sum() * 0

    loss = OfflineTripletLoss(margin)
    value = loss(embeddings, torch.tensor(told))

    assert value.shape == ()
    assert_same(value, expected, embeddings)
    assert loss.statistics is not None
    statistics = [number.item() for number in loss.statistics]
    if not triplets:
        assert all(math.isnan(number) for number in statistics)
        return
    means = [sum(pair[i].item() for pair in triplets) / len(triplets) for i in (0, 1)]
    assert statistics == pytest.approx([len(active) / len(triplets), *means])
    assert not any(number.requires_grad for number in loss.statistics)


def test_gradcheck() -> None:
    embeddings = embeddings_of(len(UNEQUAL), 3)
    assert torch.autograd.gradcheck(lambda e: OfflineTripletLoss(0.9)(e, UNEQUAL), embeddings)


@pytest.mark.parametrize("seed", range(4))
def test_two_identities_are_batch_hard_and_what_the_miner_finds(seed: int) -> None:
    embeddings, labels = embeddings_of(9, seed), torch.tensor([5] * 4 + [2] * 5)
    value = OfflineTripletLoss(0.6)(embeddings, labels)
    assert value > 0
    assert_same(value, BatchHardLoss(0.6)(embeddings, labels), embeddings)
    unit = torch.nn.functional.normalize(embeddings, dim=1)
    a, p, n = mine_offline(unit, labels)
    violation = (unit[a] - unit[p]).square().sum(dim=1) - (unit[a] - unit[n]).square().sum(dim=1) + 0.6
    assert_same(value, violation[violation > 0].mean(), embeddings)


def test_nothing_outside_the_pair_is_a_negative() -> None:
    # The third identity is the nearest to the first, but their partners are others; the last has none.
    angles = torch.tensor([0.0, 0.1, 2.0, 2.1, 0.05, 0.06, -2.0, -2.1, 0.04, 0.03]).double()
    embeddings = torch.stack([angles.cos(), angles.sin()], dim=1).requires_grad_()
    labels = torch.arange(10) // 2
    loss = OfflineTripletLoss(0.2)
    assert loss(embeddings, labels).item() == 0
    order = torch.tensor([0, 1, 4, 5, 2, 3, 6, 7, 8, 9])
    value = loss(embeddings[order], labels[order])
    assert value.item() > 0.1
    assert not torch.autograd.grad(value, embeddings)[0][[2, 3, 6, 7, 8, 9]].any()


@pytest.mark.parametrize("labels", [[1, 1, 1, 1], [0, 1, 2, 3], [0, 1, 5, 5], [3]])
def test_without_triplets_loss_and_gradient_are_zero(labels: list[int]) -> None:
    embeddings = embeddings_of(len(labels))
    value = OfflineTripletLoss()(embeddings, torch.tensor(labels))
    assert value.item() == 0
    assert not torch.autograd.grad(value, embeddings)[0].any()


def test_collapsed_zero_and_half_precision_embeddings_are_finite() -> None:
    for embeddings in (torch.ones(14, 4), torch.zeros(14, 4), torch.ones(14, 4).bfloat16()):
        embeddings.requires_grad_()
        value = OfflineTripletLoss()(embeddings, UNEQUAL)
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(0.2, abs=1e-5)
        assert torch.isfinite(torch.autograd.grad(value, embeddings)[0]).all()


def test_mistakes_are_told() -> None:
    with pytest.raises(InputError, match="margin=0"):
        OfflineTripletLoss(0)
    with pytest.raises(InputError, match="hold NaN"):
        OfflineTripletLoss()(embeddings_of(14) * math.nan, UNEQUAL)
    with pytest.raises(InputError, match="13 embeddings"):
        OfflineTripletLoss()(embeddings_of(13), UNEQUAL)
    with pytest.raises(InputError, match=r"of shape \[0, 5\]"):
        OfflineTripletLoss()(embeddings_of(0), UNEQUAL[:0])


def test_a_plan_of_pairs_has_the_order_that_the_loss_reads() -> None:
    random = np.random.default_rng(0)
    means = random.standard_normal((600, 8)).astype(np.float32)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    subspace_id = (np.arange(600) % 2).astype(np.int32)
    nearest = nearest_in_subspace(means, subspace_id, 1)[:, 0]
    images = IdentityImages(np.arange(600), np.arange(0, 1801, 3), np.arange(1800))
    config = PlanConfig(strategy="custom", steps=100, P=8, K=2, group_size=2)
    beside = total = 0
    for block in plan_batches(images, subspace_id, config, neighbors=nearest[:, None]):
        seed, partner = block.identity[:, ::2], block.identity[:, 1::2]
        beside, total = beside + (nearest[seed] == partner).sum(), total + seed.size
        assert (subspace_id[seed] == subspace_id[partner]).all()
        assert (block.image_id // 3 == np.repeat(block.identity, 2, axis=1)).all()
    assert beside > 0.95 * total  # the others stand in the batch already


def test_it_is_built_by_name() -> None:
    training_set = TrainingSet.from_means(torch.eye(10), torch.zeros(10, dtype=torch.int64), 0)
    embeddings = embeddings_of(len(UNEQUAL))
    loss = build_loss("offline", {"offline": {"margin": 0.7}}, training_set)
    assert_same(loss(embeddings, UNEQUAL), OfflineTripletLoss(0.7)(embeddings, UNEQUAL), embeddings)
    joint = build_loss("0.5*offline", {}, training_set)
    assert_same(joint(embeddings, UNEQUAL), 0.5 * OfflineTripletLoss()(embeddings, UNEQUAL), embeddings)
