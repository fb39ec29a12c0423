"""Every loss by its name: built, trained a few steps, restored; and what is wrong with an expression."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from subspace.mining import InputError
from subspace.train import BatchOHNMLoss
from subspace.train.losses import LOSSES, JointLoss
from subspace.train.losses.building import DEFAULT_ARGS, TrainingSet, build_loss, check_loss

MEANS = torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), dim=1)
TRAINING_SET = TrainingSet.from_means(MEANS, torch.arange(6) // 3, seed=1)
NAMES = [
    *(name for name in LOSSES if name != "xbm"),
    "xbm:multi_similarity",
    "xbm:batch_ohnm",
    "batch_ohnm + 0.5*arcface",
]


def trained(loss: torch.nn.Module, network: torch.nn.Module, steps: range) -> list[float]:
    """Losses of some steps of SGD; the batches are a function of the step."""
    values = []
    optimizer = torch.optim.SGD([*network.parameters(), *loss.parameters()], lr=0.05)
    for step in steps:
        images = torch.randn(12, 5, generator=torch.Generator().manual_seed(step))
        labels = torch.arange(12) // 2  # in planned order: `offline` reads it
        value = loss(network(images + labels[:, None]), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values


def fresh(name: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    return build_loss(name, {}, TRAINING_SET), torch.nn.Linear(5, 8)


@pytest.mark.parametrize("name", NAMES)
def test_training_cut_in_two_equals_training_in_one_go(name: str) -> None:
    loss, network = fresh(name)
    whole = trained(loss, network, range(6))
    assert all(value == value for value in whole)
    loss, network = fresh(name)
    first = trained(loss, network, range(3))
    again, second_network = fresh(name)
    again.load_state_dict(loss.state_dict())
    second_network.load_state_dict(network.state_dict())
    assert first + trained(again, second_network, range(3, 6)) == whole


def test_class_weights_begin_at_the_identity_means() -> None:
    for name in ("softmax", "arcface", "partial_fc", "subspace_softmax"):
        (weight,) = build_loss(name, {}, TRAINING_SET).parameters()
        assert torch.equal(weight, MEANS)
    assert torch.equal(build_loss("oim", {}, TRAINING_SET).table, MEANS)


def test_a_sum_is_weighted() -> None:
    embeddings, labels = torch.randn(12, 8, generator=torch.Generator().manual_seed(2)), torch.arange(12) % 6
    joint = build_loss("2*batch_ohnm + 1e-1*softmax", {}, TRAINING_SET)
    assert isinstance(joint, JointLoss)
    one, other = (
        build_loss(name, {}, TRAINING_SET)(embeddings, labels) for name in ("batch_ohnm", "softmax")
    )
    torch.testing.assert_close(joint(embeddings, labels), 2 * one + 0.1 * other)
    assert joint.statistics is not None


@pytest.mark.parametrize("weight", ["1e+2", "1E+2", "1.e+2 ", "1e2", "100"])
def test_a_weight_may_have_an_exponent(weight: str) -> None:
    for expression in (f"{weight}*softmax+batch_ohnm", f"{weight}*softmax + batch_ohnm"):
        joint = build_loss(expression, {}, TRAINING_SET)
        assert isinstance(joint, JointLoss)
        assert joint.weights == [100.0, 1.0]


def test_settings_reach_the_loss() -> None:
    loss = build_loss(
        "batch_ohnm", {"batch_ohnm": {"margin": 0.1, "negatives": 7, "range_min": 1}}, TRAINING_SET
    )
    assert isinstance(loss, BatchOHNMLoss)
    assert (loss.margin, loss.negatives, loss.rule.range_min) == (0.1, 7, 1)


@pytest.mark.parametrize(
    ("expression", "arguments", "named"),
    [
        ("arcfase", {}, "unknown loss 'arcfase'"),
        ("", {}, "unknown loss"),
        ("xbm", {}, "unknown loss"),
        ("batch_ohnm + ", {}, "unknown loss"),
        ("1e5e5*softmax", {}, "not a weight"),
        ("batch_ohnm + 0*softmax", {}, "'0' in train.loss=.* is not a weight above 0"),
        ("batch_ohnm + -1*softmax", {}, "'-1' in train.loss=.* is not a weight"),
        ("-0.5*batch_ohnm", {}, "'-0.5' in train.loss=.* is not a weight"),
        ("1e999*softmax", {}, "'1e999' in train.loss=.* is not a weight"),
        ("arcface", {"arcface": {"margins": 1}}, "'arcface' has margin"),
        ("arcface", {"arcface": {"num_classes": 3}}, "unknown setting"),
        ("arcface", {"cosface": {"margin": 1}}, "does not use it"),
        ("batch_ohnm", {"batch_ohnm": {"negatives": 0}}, "negatives=0"),
        ("xbm:softmax", {}, "ref_emb"),
        ("xbm:offline", {}, "ref_emb"),
        ("xbm:contrastive", {"xbm": {"loss": 1}}, "'xbm' has memory_size, warmup_steps"),
        (
            "batch_ohnm",
            {"batch_ohnm": {"never": [[0, 1]]}},
            "unknown setting train.loss_args.batch_ohnm.never",
        ),
        (
            "arcface",
            {"arcface": {"margin": "wide"}},
            "train.loss_args.arcface.margin='wide' must be a number",
        ),
        ("offline", {"offline": {"margin": 0}}, "margin=0"),
    ],
)
def test_mistakes_are_named(expression: str, arguments: dict[str, dict[str, Any]], named: str) -> None:
    with pytest.raises(InputError, match=named) as built:
        build_loss(expression, arguments, TRAINING_SET)
    with pytest.raises(InputError) as checked:
        check_loss(expression, arguments)
    assert str(built.value) == str(checked.value)


@pytest.mark.parametrize(
    "unasked",
    [
        *({name: own} for name, own in DEFAULT_ARGS.items()),
        {"multi_similarity": {"base": 0.8}},
        {"batch_ohnm": {"margin": 0.3, "negatives": 3}},
    ],
)
def test_what_subspace_yaml_has_or_had_by_itself_may_stay_with_another_loss(
    unasked: dict[str, dict[str, float]],
) -> None:
    build_loss("contrastive", unasked, TRAINING_SET)
    with pytest.raises(InputError, match="does not use it"):
        build_loss(
            "contrastive", {name: own | {"margin": 0.7} for name, own in unasked.items()}, TRAINING_SET
        )
