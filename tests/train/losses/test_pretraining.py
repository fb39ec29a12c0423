"""What a starting network may be trained with: random class weights, and a refusal of what makes no sense."""

from __future__ import annotations

import math

import pytest
import torch

from subspace.mining import InputError
from subspace.train.losses.building import CLASS_LOSSES, NewClasses, build_pretraining_loss
from subspace.train.losses.class_losses import CosFaceLoss, SoftmaxLoss
from subspace.train.losses.loss import JointLoss
from subspace.train.losses.partial_fc import PartialFCLoss

CLASSES = NewClasses(6, 8, seed=3)
EMBEDDINGS = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) // 2


def test_softmax_is_that_of_before_the_setting() -> None:
    loss, old = build_pretraining_loss("softmax", {}, CLASSES), SoftmaxLoss(6, 8, 16.0, seed=3)
    assert loss(EMBEDDINGS, LABELS).item() == old(EMBEDDINGS, LABELS).item()
    assert torch.equal(loss.get_parameter("weight"), old.weight)


@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_every_class_loss_begins_at_random_weights(name: str) -> None:
    loss = build_pretraining_loss(name, {}, CLASSES)
    other = build_pretraining_loss(name, {}, NewClasses(6, 8, seed=4))
    values = [part(EMBEDDINGS, LABELS).item() for part in (loss, other)]
    assert all(math.isfinite(value) for value in values)
    assert values[0] != values[1]


def test_settings_reach_the_losses() -> None:
    cosface = build_pretraining_loss("cosface", {"cosface": {"margin": 0.2, "scale": 20}}, CLASSES)
    assert isinstance(cosface, CosFaceLoss)
    assert (cosface.m, cosface.scale) == (0.2, 20)
    partial = build_pretraining_loss("partial_fc", {"partial_fc": {"kind": "cosface", "share": 0.5}}, CLASSES)
    assert isinstance(partial, PartialFCLoss)
    assert isinstance(partial.head, CosFaceLoss)
    assert partial.share == 0.5


def test_a_triplet_loss_may_join() -> None:
    loss = build_pretraining_loss("softmax + 0.5*batch_ohnm", {}, CLASSES)
    assert isinstance(loss, JointLoss)
    parts = [
        build_pretraining_loss("softmax", {}, CLASSES)(EMBEDDINGS, LABELS),
        loss.parts[1](EMBEDDINGS, LABELS),
    ]
    torch.testing.assert_close(loss(EMBEDDINGS, LABELS), parts[0] + 0.5 * parts[1])


@pytest.mark.parametrize(
    ("expression", "arguments", "named"),
    [
        ("batch_ohnm", {}, "pretrain.loss=batch_ohnm has no class loss.*use softmax, cosface"),
        ("xbm:multi_similarity", {}, "has no class loss"),
        ("subspace_softmax", {}, "there are no subspaces before the first round; use softmax"),
        ("softmax + offline", {}, "pair look-alikes"),
        ("sofmax", {}, "unknown loss 'sofmax' in pretrain.loss=sofmax"),
        ("1e5e5*softmax", {}, "in pretrain.loss=1e5e5.softmax is not a weight"),
        ("cosface", {"cosface": {"margins": 1}}, "unknown setting pretrain.loss_args.cosface.margins"),
        ("cosface", {"softmax": {"scale": 1}}, "pretrain.loss_args.softmax is given, but pretrain.loss=cosface"),
        ("partial_fc", {"partial_fc": {"share": 2}}, "share=2"),
    ],
)  # fmt: skip
def test_mistakes_are_named_in_one_line(
    expression: str, arguments: dict[str, dict[str, float]], named: str
) -> None:
    with pytest.raises(InputError, match=named) as error:
        build_pretraining_loss(expression, arguments, CLASSES)
    assert "\n" not in str(error.value)
    assert "train.loss=" not in str(error.value).replace("pretrain.loss=", "")
