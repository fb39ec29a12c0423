"""Cosines of a batch by slow loops, whatever the order of its labels, and without a wait for the device."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from waits import CountedWaits

from subspace.train.losses import ArcFaceLoss, BatchHardLoss, OIMLoss
from subspace.train.losses.loss import JointLoss
from subspace.train.monitoring.batch_cosines import TEACHES_WITHIN, cosines_of_batch


def test_cosines_are_those_of_slow_loops() -> None:
    random = np.random.default_rng(0)
    rows, labels = random.normal(size=(20, 6)) + 0.5, random.integers(0, 6, 20)
    labels[7] = 99  # alone
    vectors = random.normal(size=(100, 6))
    unit, unit_vectors = (table / np.linalg.norm(table, axis=1, keepdims=True) for table in (rows, vectors))
    cosine, to_class = unit @ unit.T, unit @ unit_vectors[labels].T
    positive, negative, nearest, active, target, nontarget = ([] for _ in range(6))
    for a in range(20):
        own = [cosine[a, b] for b in range(20) if b != a and labels[b] == labels[a]]
        others = [b for b in range(20) if labels[b] != labels[a]]
        positive += own
        negative += [cosine[a, b] for b in others]
        nearest.append(max(cosine[a, b] for b in others))
        if own:
            active.append(nearest[-1] + TEACHES_WITHIN > min(own))
        target.append(to_class[a, a])
        nontarget.append(max(to_class[a, b] for b in others))
    found = cosines_of_batch(torch.tensor(rows), torch.tensor(labels), torch.tensor(vectors[labels]))
    slow = [np.mean(values) for values in (positive, negative, nearest, active, target, nontarget)]
    assert [float(value) for value in found] == pytest.approx(slow, abs=1e-6)


def test_what_a_batch_lacks_is_nan() -> None:
    one = cosines_of_batch(torch.randn(4, 3), torch.zeros(4, dtype=torch.long))
    assert [math.isnan(value) for value in one] == [False, True, True, True, True, True]
    singles = cosines_of_batch(torch.randn(4, 3), torch.arange(4))
    assert [math.isnan(value) for value in singles] == [True, False, False, True, True, True]


def test_no_value_is_read_off_the_device() -> None:
    images, labels = torch.randn(64, 8), torch.arange(64) // 4
    with CountedWaits() as waits:
        cosines_of_batch(images, labels, images)
    assert waits.seen == []


def test_losses_with_vectors_of_classes_give_them() -> None:
    labels = torch.tensor([3, 0, 3])
    arcface, oim = ArcFaceLoss(5, 4), OIMLoss(5, 4)
    assert torch.equal(arcface.class_vectors(labels), arcface.weight[labels])
    assert torch.equal(oim.class_vectors(labels), oim.table[labels])
    assert BatchHardLoss().class_vectors(labels) is None
    joint = JointLoss([BatchHardLoss(), arcface], [1.0, 0.5])
    assert torch.equal(joint.class_vectors(labels), arcface.weight[labels])
