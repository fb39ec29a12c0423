"""Batch OHNM among references: slow loops in float64, the kernel, pytorch-metric-learning, a memory of batches."""

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
from slow_batch_ohnm import slow_loss
from torch import Tensor

from subspace.mining.errors import InputError
from subspace.train.losses.batch_ohnm import BatchOHNMLoss
from subspace.train.losses.cross_batch_memory import CrossBatchMemory

pytestmark = pytest.mark.filterwarnings("ignore:a batch without triplets")

LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3, 3])
PAIRS = torch.arange(12) // 2
REFERENCES = torch.tensor([0, 1, 1, 2, 7, 3, 3])
EVERY_RULE: list[dict[str, Any]] = [
    {},
    {"squared": False},
    {"soft_margin": True},
    {"mean_over_active": False},
    {"range_min": 2},
    {"range_min": 1, "range_max": 4},
    {"range_max": 5, "share_of_positive": 0.95},
    {"soft_margin": True, "margin_inside": True},
    {"max_similarity": 0.6},
    {"absolute_margin": 0.0},
    {"absolute_margin": -0.2, "squared": False, "range_min": 1},
    {"never": torch.tensor([[0, 1], [3, 7], [2, 9]])},
]


def embeddings_of(n: int, seed: int = 0) -> Tensor:
    rows = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)).double()
    return (rows + 0.4).requires_grad_()


def gradients(value: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    found = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
    return tuple(torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, leaves, strict=True))


losses = st.builds(
    BatchOHNMLoss,
    st.sampled_from([0.05, 0.3, 1.0]),
    st.integers(1, 5),
    squared=st.booleans(),
    soft_margin=st.booleans(),
    mean_over_active=st.booleans(),
    range_min=st.sampled_from([0, 0, 1, 3]),
    range_max=st.sampled_from([None, None, 4]),
    share_of_positive=st.sampled_from([None, None, 0.9]),
    max_similarity=st.sampled_from([None, 0.4, 0.8]),
    absolute_margin=st.sampled_from([None, 0.0, 0.2, -0.3]),
    never=st.sampled_from([None, torch.tensor([[0, 1]]), torch.tensor([[2, 0], [3, 4], [9, 9]])]),
)
labels_lists = st.lists(st.integers(0, 4), min_size=1, max_size=8)


@settings(max_examples=150)
@given(
    labels=labels_lists,
    more=labels_lists,
    before=st.integers(0, 8),
    own=st.booleans(),
    loss=losses,
    seed=st.integers(0, 999),
)
def test_value_gradients_and_statistics_follow_the_definition(
    labels: list[int], more: list[int], before: int, own: bool, loss: BatchOHNMLoss, seed: int
) -> None:
    anchors, others = embeddings_of(len(labels), seed), embeddings_of(len(more), seed + 1000)
    if own:  # the batch stands somewhere among the references
        own_start = min(before, len(more))
        references = torch.cat([others[:own_start], anchors, others[own_start:]])
        ref_labels = more[:own_start] + labels + more[own_start:]
    else:
        own_start, references, ref_labels = None, others, more
    expected, told, kinks = slow_loss(loss, anchors, labels, references, ref_labels, own_start)
    assume(all(kink > 1e-6 for kink in kinks))

    value = loss(anchors, torch.tensor(labels), references, torch.tensor(ref_labels), own_start)

    assert value.shape == ()
    torch.testing.assert_close(value, expected, atol=1e-10, rtol=1e-8)
    for found, wanted in zip(
        gradients(value, anchors, others), gradients(expected, anchors, others), strict=True
    ):
        torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-6)
    assert loss.statistics is not None
    assert [number.item() for number in loss.statistics] == pytest.approx(told, nan_ok=True)
    assert not any(number.requires_grad for number in loss.statistics)


@settings(max_examples=100)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), losses, st.integers(0, 999))
def test_the_batch_as_its_own_references_is_the_kernel(
    labels: list[int], loss: BatchOHNMLoss, seed: int
) -> None:
    embeddings, told = embeddings_of(len(labels), seed), torch.tensor(labels)
    expected = loss(embeddings, told)
    assert loss.statistics is not None
    statistics = [number.item() for number in loss.statistics]
    value = loss(embeddings, told, ref_emb=embeddings, ref_labels=told, own_start=0)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*gradients(value, embeddings), *gradients(expected, embeddings))
    assert [number.item() for number in loss.statistics] == pytest.approx(statistics, nan_ok=True)


@pytest.mark.parametrize("rule", EVERY_RULE, ids=str)
def test_gradcheck_for_anchors_and_references(rule: dict[str, Any]) -> None:
    anchors, references = embeddings_of(len(LABELS), 3), embeddings_of(len(REFERENCES), 4)
    loss = BatchOHNMLoss(0.9, **rule)
    assert loss(anchors, LABELS, references, REFERENCES) > 0
    assert torch.autograd.gradcheck(lambda a, r: loss(a, LABELS, r, REFERENCES), (anchors, references))


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("soft_margin", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_all_negatives_are_the_triplet_loss_without_mining(power: int, soft_margin: bool, seed: int) -> None:
    embeddings, references = embeddings_of(len(LABELS), seed), embeddings_of(len(REFERENCES), seed + 50)
    distance = LpDistance(normalize_embeddings=True, p=2, power=power)
    peer = TripletMarginLoss(0.3, smooth_loss=soft_margin, distance=distance)
    expected = peer(embeddings, LABELS, ref_emb=references, ref_labels=REFERENCES)
    how = {"squared": power == 2, "soft_margin": soft_margin, "margin_inside": soft_margin}
    loss = BatchOHNMLoss(0.3, negatives=50, **how)
    value = loss(embeddings, LABELS, references, REFERENCES)
    assert 0 < value.item() == pytest.approx(expected.item(), abs=1e-6)
    for found, wanted in zip(
        gradients(value, embeddings, references), gradients(expected, embeddings, references), strict=True
    ):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("margin", [0.05, 0.3, 1.0])
def test_one_negative_and_one_positive_is_the_batch_hard_loss(power: int, margin: float) -> None:
    embeddings, references = embeddings_of(len(PAIRS), 1), embeddings_of(6, 2)
    more: dict[str, Tensor] = {"ref_emb": references, "ref_labels": torch.arange(6)}
    distance = LpDistance(normalize_embeddings=True, p=2, power=power)
    hard = BatchHardMiner(distance=distance)(embeddings, PAIRS, **more)
    expected = TripletMarginLoss(margin, distance=distance)(embeddings, PAIRS, hard, **more)
    value = BatchOHNMLoss(margin, negatives=1, squared=power == 2)(embeddings, PAIRS, **more)
    assert 0 < value.item() == pytest.approx(expected.item(), abs=1e-6)
    torch.testing.assert_close(
        gradients(value, embeddings)[0], gradients(expected, embeddings)[0], atol=1e-6, rtol=1e-5
    )


def test_with_a_memory_the_batch_meets_all_and_only_it_is_an_anchor() -> None:
    memory = CrossBatchMemory(BatchOHNMLoss(0.5, negatives=50), 4, memory_size=8, warmup_steps=0)
    old, new, labels = embeddings_of(8, 0), embeddings_of(6, 1), PAIRS[:6]
    memory(old, PAIRS[:8])
    everything = torch.cat([new, memory.embedding_memory.double()])
    distance = LpDistance(power=2)
    a, p, n = (index.flatten() for index in torch.meshgrid(*[torch.arange(14)] * 3, indexing="ij"))
    everybody = torch.cat([labels, PAIRS[:8]])
    valid = (a < 6) & (a != p) & (everybody[a] == everybody[p]) & (everybody[a] != everybody[n])
    expected = TripletMarginLoss(0.5, distance=distance)(
        everything, everybody, (a[valid], p[valid], n[valid])
    )
    value = memory(new, labels)
    assert value.item() == pytest.approx(expected.item(), abs=1e-6)
    torch.testing.assert_close(gradients(value, new)[0], gradients(expected, new)[0], atol=1e-6, rtol=1e-5)
    assert memory.statistics is not None


@pytest.mark.parametrize("rule", EVERY_RULE, ids=str)
@pytest.mark.parametrize("ref_labels", [[7, 8, 9], [0, 0, 0]])
def test_without_triplets_it_says_so_and_loss_and_gradient_are_zero(
    ref_labels: list[int], rule: dict[str, Any]
) -> None:
    embeddings, references = embeddings_of(4), embeddings_of(3, 1)
    loss = BatchOHNMLoss(**rule)
    with pytest.warns(UserWarning, match="without triplets"):
        value = loss(embeddings, torch.zeros(4, dtype=torch.int64), references, torch.tensor(ref_labels))
    assert value.item() == 0
    assert all(not g.any() for g in gradients(value, embeddings, references))
    assert loss.statistics is not None
    assert all(math.isnan(number) for number in loss.statistics)


@pytest.mark.parametrize("rule", EVERY_RULE, ids=str)
def test_collapsed_zero_and_half_precision_embeddings_are_finite(rule: dict[str, Any]) -> None:
    for embeddings in (torch.ones(10, 4), torch.zeros(10, 4), torch.ones(10, 4).bfloat16()):
        embeddings.requires_grad_()
        value = BatchOHNMLoss(**rule)(embeddings, LABELS, embeddings, LABELS, 0)
        assert value.dtype == torch.float32
        assert torch.isfinite(value)
        assert torch.isfinite(gradients(value, embeddings)[0]).all()


def test_mistakes_are_told() -> None:
    embeddings = embeddings_of(len(LABELS))
    with pytest.raises(InputError, match="go together"):
        BatchOHNMLoss()(embeddings, LABELS, own_start=0)
    with pytest.raises(InputError, match="go together"):
        BatchOHNMLoss()(embeddings, LABELS, ref_emb=embeddings)
    with pytest.raises(InputError, match="hold NaN"):
        BatchOHNMLoss()(embeddings, LABELS, embeddings * math.nan, LABELS)
