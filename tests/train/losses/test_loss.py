"""What losses answer besides their value, and how sums and memories pass it on."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

from subspace.train.losses import (
    LOSSES,
    ArcFaceLoss,
    BatchHardLoss,
    BatchOHNMLoss,
    ContrastiveLoss,
    CrossBatchMemory,
    EmbeddingLoss,
    JointLoss,
    OIMLoss,
    PartialFCLoss,
    TrainingSet,
    build_loss,
)

IDENTITIES = TrainingSet.from_means(torch.eye(4), torch.tensor([0, 0, 1, 1]), seed=0)
EMBEDDINGS = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) // 2


@pytest.mark.parametrize("name", [*sorted({*LOSSES} - {"xbm"}), "xbm:batch_hard", "batch_all + softmax"])
def test_every_loss_takes_embeddings_and_labels_by_name(name: str) -> None:
    loss = build_loss(name, {}, IDENTITIES)
    assert isinstance(loss, EmbeddingLoss)
    assert torch.isfinite(loss(embeddings=EMBEDDINGS, labels=LABELS))
    names = list(inspect.signature(loss.forward).parameters)
    assert names[:2] == ["embeddings", "labels"]
    assert names[2:] == (["ref_emb", "ref_labels", "own_start"] if loss.takes_references else [])


def test_vectors_of_identities_begin_at_the_means_inside_a_sum() -> None:
    arcface, partial, oim = ArcFaceLoss(4, 4), PartialFCLoss(4, 4), OIMLoss(4, 4)
    loss = JointLoss([BatchHardLoss(), arcface, JointLoss([partial, oim], [1.0, 1.0])], [1.0, 1.0, 1.0])
    assert loss.labels_are_places
    loss.begin_at(torch.eye(4))
    for vectors in (arcface.weight, partial.head.weight, oim.table):
        assert torch.equal(vectors, torch.eye(4))
    assert not JointLoss(
        [BatchHardLoss(), CrossBatchMemory(BatchHardLoss(), 4)], [1.0, 1.0]
    ).labels_are_places


def test_what_softens_a_loss_softens_it_inside_a_sum_and_a_memory() -> None:
    inside, alone = BatchOHNMLoss(0.3, 5), BatchOHNMLoss(0.3, 1, absolute_margin=0.1)
    loss = JointLoss([CrossBatchMemory(inside, 4), alone, ContrastiveLoss()], [1.0, 1.0, 1.0])
    rungs = list(loss.rungs())
    assert [rung.name for rung in rungs] == [
        "15 negatives instead of 5",
        "semi-hard negatives only",
        "10 negatives instead of 1",
    ]
    for rung in rungs:
        rung.take()
    assert (inside.negatives, inside.rule.absolute_margin) == (15, 0.0)
    assert (alone.negatives, alone.rule.absolute_margin) == (10, 0.1)


def test_statistics_of_a_sum_are_those_of_the_first_part_that_has_any() -> None:
    hard = BatchHardLoss()
    loss = JointLoss([ContrastiveLoss(), CrossBatchMemory(hard, 4), BatchOHNMLoss()], [1.0, 1.0, 1.0])
    assert loss.statistics is None
    loss(EMBEDDINGS, LABELS)
    assert loss.statistics is hard.statistics is not None


def test_the_collapsed_value_of_a_sum_is_weighted() -> None:
    parts = [BatchHardLoss(0.4), CrossBatchMemory(BatchHardLoss(soft_margin=True), 4)]
    assert JointLoss([*parts], [0.5, 2.0]).collapsed_value == 0.2 + 2 * math.log(2)
    assert JointLoss([*parts, ContrastiveLoss()], [1.0, 1.0, 1.0]).collapsed_value is None
