"""Losses from elsewhere: the user's functions, and every loss of pytorch-metric-learning, equal to what it is there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_metric_learning.distances as pml_distances
import pytorch_metric_learning.losses as pml
import pytorch_metric_learning.miners as pml_miners
import torch
from torch import Tensor, nn

from subspace.mining.errors import InputError, OwnCodeError
from subspace.train.losses import (
    BatchOHNMLoss,
    JointLoss,
    NewClasses,
    OwnLoss,
    TrainingSet,
    build_loss,
    build_pretraining_loss,
    check_loss,
)
from subspace.train.losses.building import try_own_losses
from subspace.train.losses.own_losses import pml_losses
from subspace.train.losses.step_generator import StepSeeds, seeded_globally

D, CLASSES = 8, 6
LABELS = torch.arange(12) // 2
NEW = NewClasses(CLASSES, D, seed=3)
CODE = """
import numpy as np
import torch
from subspace.train.losses import BatchOHNMLoss

class Centres(torch.nn.Module):
    def __init__(self, num_classes, embedding_size, pull=1.0):
        super().__init__()
        self.pull = pull
        self.centre = torch.nn.Parameter(torch.randn(num_classes, embedding_size))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, embeddings, labels):
        self.calls += 1
        noise = float(torch.rand(())) + float(np.random.rand())
        return self.pull * (embeddings - self.centre[labels]).square().mean() * (1 + noise)

def ohnm(margin=0.3):
    return BatchOHNMLoss(margin)

def softmax(num_classes, embedding_size):
    from subspace.train.losses import SoftmaxLoss
    return SoftmaxLoss(num_classes, embedding_size)

class Placed(BatchOHNMLoss):
    labels_are_places = True
    def begin_at(self, means_CD):
        self.centre = means_CD

def number(): return 3
def broken(): raise KeyError("in the user's code")

class Bad(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, embeddings, labels):
        if self.kind == "raise":
            return embeddings @ labels
        return {
            "vector": embeddings.sum(1), "nan": embeddings.sum() * torch.nan, "float": 1.5,
            "constant": torch.tensor(1.0), "int": torch.tensor(3), "detached": embeddings.detach().sum(),
        }[self.kind]
"""


@pytest.fixture(autouse=True)
def users_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users_losses.py").write_text(CODE)
    (tmp_path / "users_broken_losses.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    for name in ("users_losses", "users_broken_losses"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def embeddings_of(seed: int) -> Tensor:
    return torch.randn(12, D, generator=torch.Generator().manual_seed(seed))


def gradient(value: Tensor, embeddings: Tensor) -> Tensor:
    return torch.autograd.grad(value, embeddings)[0]


# --- python:module:function --------------------------------------------------------------------------------


def test_a_class_of_ones_own_gets_its_settings_and_what_the_training_set_says() -> None:
    name = "python:users_losses:Centres"
    loss = build_loss(name, {name: {"pull": 2.0}}, NEW)
    assert isinstance(loss, OwnLoss)
    assert loss.labels_are_places
    assert (loss.module.pull, tuple(loss.module.centre.shape)) == (2.0, (CLASSES, D))
    again = build_loss(name, {name: {"pull": 2.0}}, NEW)
    assert torch.equal(loss.module.centre, again.module.centre)
    assert {"module.centre", "module.calls", "steps.step"} == set(loss.state_dict())


def test_means_are_read_for_losses_that_begin_there_alone() -> None:
    def never() -> Tensor:
        raise AssertionError("read")

    identities = TrainingSet(CLASSES, D, never, never, seed=0)
    build_loss("python:users_losses:Centres + batch_ohnm", {}, identities)
    with pytest.raises(AssertionError, match="read"):
        build_loss("python:users_losses:Centres + softmax", {}, identities)


def test_what_it_draws_is_a_function_of_seed_and_step_and_nobody_elses_draws_move() -> None:
    loss, other = (build_loss("python:users_losses:Centres", {}, NEW) for _ in range(2))
    state = torch.get_rng_state()
    values = [loss(embeddings_of(0), LABELS).item() for _ in range(3)]
    assert torch.equal(torch.get_rng_state(), state)
    assert len(set(values)) == 3
    torch.manual_seed(99)
    first = other(embeddings_of(0), LABELS).item()
    third = build_loss("python:users_losses:Centres", {}, NEW)
    third.load_state_dict(other.state_dict())
    assert [first, *(third(embeddings_of(0), LABELS).item() for _ in range(2))] == values


def test_a_loss_of_ours_keeps_its_answers() -> None:
    name = "python:users_losses:ohnm"
    loss = build_loss(f"xbm:{name}", {name: {"margin": 0.2}, "xbm": {"warmup_steps": 0}}, NEW)
    plain = BatchOHNMLoss(0.2)
    assert loss(embeddings_of(0), LABELS) == plain(embeddings_of(0), LABELS)
    assert loss.statistics == plain.statistics
    assert loss.collapsed_value == 0.2
    assert not loss.labels_are_places
    assert [rung.name for rung in loss.rungs()] == [rung.name for rung in plain.rungs()]
    loss(embeddings_of(1), LABELS)  # with references


def test_a_class_loss_of_ours_begins_at_the_means_and_is_saved_once() -> None:
    means = torch.nn.functional.normalize(embeddings_of(5)[:CLASSES], dim=1)
    identities = TrainingSet.from_means(means, torch.zeros(CLASSES, dtype=torch.int64), seed=0)
    loss = build_loss("python:users_losses:softmax", {}, identities)
    assert set(loss.state_dict()) == {"module.weight", "steps.step"}
    assert torch.equal(loss.module.weight, means)


def test_half_precision_and_sums() -> None:
    loss = build_loss("2*python:users_losses:Centres + 0.5*pml:TripletMarginLoss + softmax", {}, NEW)
    assert isinstance(loss, JointLoss)
    assert loss.weights == [2.0, 0.5, 1.0]
    embeddings = embeddings_of(0).half().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(embeddings, LABELS)
    assert value.dtype == torch.float32
    assert gradient(value, embeddings).dtype == torch.float16


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("python:users_losses:nothing", {}, "has no 'nothing'"),
        ("python:no_such_module_here:f", {}, "cannot import 'no_such_module_here'"),
        ("python:users_losses:number", {}, "python:users_losses:number returned an int; return an nn.Module"),
        ("python:users_losses:Bad", {}, "train.loss_args.python:users_losses:Bad: missing a required argument: 'kind'"),
        ("python:users_losses:ohnm", {"depth": 1}, "got an unexpected keyword argument 'depth'"),
        ("python:users_losses:Centres", {"num_classes": 3}, "Centres.num_classes follows from the training set"),
        ("pml:TripletMarginLoss", {"margins": 1}, "train.loss_args.pml:TripletMarginLoss: "),
        ("pml:TripletMarginLoss", {"distance": "LpDistanc"}, "distance=LpDistanc: pytorch-metric-learning has no such distance; did you mean LpDistance?"),
        ("pml:TripletMarginLoss", {"miner": {"epsilon": 1}}, "miner=None: pytorch-metric-learning has no such miner"),
        ("pml:PNPLoss", {"variant": "x"}, "pml:PNPLoss: variant=x but must be one of"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_one_line(name: str, settings: dict[str, Any], message: str) -> None:
    check_loss(name, {name: settings})  # what needs an import is not looked at there
    with pytest.raises(InputError) as error:
        build_loss(name, {name: settings}, NEW)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("python:users_losses", "'python:users_losses' is incomplete"),
        ("python::f", "incomplete"),
        ("pml:", "pytorch-metric-learning has no loss ''; it has AngularLoss, ArcFaceLoss"),
        ("pml:TripletMarginLos", "train.loss=pml:TripletMarginLos: pytorch-metric-learning has no loss 'TripletMarginLos'; did you mean pml:TripletMarginLoss?"),
        ("pml:CrossBatchMemory", "has no loss 'CrossBatchMemory'"),
        ("pml:VICRegLoss", "has no loss 'VICRegLoss'"),
        ("arcfase", "did you mean arcface?"),
        ("xbm:pml:TripletMarginLoss", "a memory cannot serve 'pml:TripletMarginLoss'"),
    ],
)  # fmt: skip
def test_wrong_names_are_refused_before_anything_is_imported(expression: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        check_loss(expression, {})
    assert message in str(error.value)


def test_what_is_missing_is_found_before_the_training() -> None:
    try_own_losses("batch_ohnm + xbm:python:users_losses:ohnm + pml:CircleLoss", {}, NEW)
    with pytest.raises(InputError, match="has no 'gone'"):
        try_own_losses("batch_ohnm + python:users_losses:gone", {}, NEW)
    with pytest.raises(OwnCodeError, match="ZeroDivisionError") as error:
        try_own_losses("python:users_broken_losses:loss", {}, NEW)
    assert "users_broken_losses.py" in error.value.traceback


def test_a_memory_hands_on_what_a_loss_of_ones_own_asks_for() -> None:
    identities = TrainingSet.from_means(
        torch.eye(D)[:CLASSES], torch.zeros(CLASSES, dtype=torch.int64), seed=0
    )
    loss = build_loss("xbm:python:users_losses:Placed", {}, identities)
    assert loss.labels_are_places
    assert torch.equal(loss.loss.module.centre, torch.eye(D)[:CLASSES])


def test_without_pytorch_metric_learning_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subspace.train.losses.own_losses.pml_losses", tuple)
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning.losses", None)
    check_loss("pml:TripletMarginLoss", {})
    with pytest.raises(InputError, match=r"which is missing: pip install 'subspace-mining\[pml\]'"):
        try_own_losses("pml:TripletMarginLoss", {}, NEW)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("vector", r"returned a value of shape \[12\]: return a scalar tensor"),
        ("float", "returned a value of type float"),
        ("nan", "returned nan for embeddings that are finite"),
    ],
)
def test_what_a_loss_returns_is_looked_at(kind: str, message: str) -> None:
    name = "python:users_losses:Bad"
    loss = build_loss(name, {name: {"kind": kind}}, NEW)
    with pytest.raises(InputError, match=message):
        loss(embeddings_of(0), LABELS)
    with pytest.raises(InputError, match="hold NaN"):
        loss(embeddings_of(0) * torch.nan, LABELS)


@pytest.mark.parametrize("kind", ["constant", "int", "detached"])
def test_a_value_that_teaches_nothing_is_refused_where_it_should_teach(kind: str) -> None:
    name = "python:users_losses:Bad"
    loss = build_loss(name, {name: {"kind": kind}}, NEW)
    embeddings = embeddings_of(0).requires_grad_()
    with pytest.raises(InputError, match=f"{name} returned a value without gradient") as error:
        loss(embeddings, LABELS)
    assert "\n" not in str(error.value)
    with torch.no_grad():
        loss(embeddings, LABELS)


def test_an_error_of_the_users_has_the_users_traceback() -> None:
    name = "python:users_losses:Bad"
    with pytest.raises(OwnCodeError, match="python:users_losses:Bad raised RuntimeError") as error:
        build_loss(name, {name: {"kind": "raise"}}, NEW)(embeddings_of(0), LABELS)
    files = [line.split('"')[1] for line in error.value.traceback.splitlines() if line.startswith("  File")]
    assert [Path(file).name for file in files] == ["users_losses.py"]
    with pytest.raises(OwnCodeError, match="KeyError"):
        build_loss("python:users_losses:broken", {}, NEW)


def test_a_starting_network_may_learn_by_it() -> None:
    assert isinstance(build_pretraining_loss("pml:ArcFaceLoss", {}, NEW), OwnLoss)


# --- pml:NAME ----------------------------------------------------------------------------------------------

ARGUMENTS: dict[str, dict[str, Any]] = {
    "HistogramLoss": {"n_bins": 20},
    "RankedListLoss": {"margin": 0.4, "Tn": 10},
}
SIZES = {"P2SGradLoss": {"descriptors_dim": D, "num_classes": CLASSES}}
CLASSES_WANTED = {
    "ArcFaceLoss", "CosFaceLoss", "LargeMarginSoftmaxLoss", "NormalizedSoftmaxLoss", "ProxyAnchorLoss", "ProxyNCALoss",
    "SoftTripleLoss", "SphereFaceLoss", "SubCenterArcFaceLoss",
}  # fmt: skip


def test_the_names_are_those_of_the_package() -> None:
    public = {name for name in dir(pml) if isinstance(getattr(pml, name), type)}
    assert set(pml_losses()) <= public
    assert {"TripletMarginLoss", "ProxyAnchorLoss", "SubCenterArcFaceLoss", "SupConLoss"} <= set(pml_losses())


@pytest.mark.parametrize("name", pml_losses())
def test_a_loss_is_what_it_is_there(name: str) -> None:
    settings = ARGUMENTS.get(name, {})
    loss = build_loss(f"pml:{name}", {f"pml:{name}": settings}, NEW)
    assert isinstance(loss, OwnLoss)
    given = {"num_classes": CLASSES, "embedding_size": D} if name in CLASSES_WANTED else SIZES.get(name, {})
    peer = getattr(pml, name)(**given, **settings)
    peer.load_state_dict(loss.module.state_dict())
    embeddings = embeddings_of(0).requires_grad_()
    with seeded_globally(StepSeeds(NEW.seed, f"loss pml:{name}")()):
        expected = peer(embeddings, LABELS)
    value = loss(embeddings, LABELS)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient(value, embeddings), gradient(expected, embeddings))


def test_distance_miner_and_reducer_are_named() -> None:
    settings = {
        "margin": 0.2,
        "distance": {"name": "LpDistance", "power": 2},
        "miner": {"name": "BatchHardMiner", "distance": "CosineSimilarity"},
        "reducer": "MeanReducer",
    }
    loss = build_loss("pml:TripletMarginLoss", {"pml:TripletMarginLoss": settings}, NEW)
    from pytorch_metric_learning.reducers import MeanReducer

    peer = pml.TripletMarginLoss(0.2, distance=pml_distances.LpDistance(power=2), reducer=MeanReducer())
    miner = pml_miners.BatchHardMiner(distance=pml_distances.CosineSimilarity())
    embeddings = embeddings_of(1).requires_grad_()
    expected = peer(embeddings, LABELS, miner(embeddings, LABELS))
    value = loss(embeddings, LABELS)
    assert value > 0
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient(value, embeddings), gradient(expected, embeddings))


def test_class_weights_train_and_a_resumed_training_is_the_same() -> None:
    def trained(loss: nn.Module, network: nn.Module, steps: range) -> list[float]:
        values, optimizer = [], torch.optim.SGD([*network.parameters(), *loss.parameters()], lr=0.05)
        for step in steps:
            value = loss(network(embeddings_of(step)), LABELS)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            values.append(value.item())
        return values

    def fresh() -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(0)
        expression = "pml:SubCenterArcFaceLoss + pml:TripletMarginLoss + python:users_losses:Centres"
        settings = {"pml:TripletMarginLoss": {"triplets_per_anchor": 2}}
        return build_loss(expression, settings, NEW), nn.Linear(D, D)

    loss, network = fresh()
    before = loss.parts[0].module.W.detach().clone()
    whole = trained(loss, network, range(6))
    assert not torch.equal(loss.parts[0].module.W, before)
    loss, network = fresh()
    first = trained(loss, network, range(3))
    again, second_network = fresh()
    again.load_state_dict(loss.state_dict())
    second_network.load_state_dict(network.state_dict())
    assert first + trained(again, second_network, range(3, 6)) == whole
