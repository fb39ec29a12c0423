"""The engine of pair and triplet losses: no wait for a device, few launches, bounded memory, `torch.compile`, the same bytes.

Covers train/losses/sorted_pairs.py, train/losses/negative_terms.py and train/losses/triplet_choice.py, too.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from subspace.mining import negative_search, similarity_tiles
from subspace.mining.errors import InputError
from subspace.mining.label_runs import LabelRuns
from subspace.train.losses import (
    BatchAllLoss,
    BatchHardLoss,
    BatchOHNMLoss,
    CirclePairLoss,
    ContrastiveLoss,
    DistanceWeightedLoss,
    MultiSimilarityLoss,
    PairwiseCosFaceLoss,
    RandomTripletLoss,
    SemiHardLoss,
    negative_terms,
)
from subspace.train.losses.pair_engine import RULES, pair_loss
from subspace.train.losses.sorted_pairs import SortedPairs

OHNM: dict[str, Any] = {
    "margin": 0.3,
    "squared": True,
    "soft_margin": False,
    "mean_over_active": True,
    "choose_in": "float32",
    "negatives": {"negatives": 3},
}
LABELS = torch.arange(4) // 2
CONTRASTIVE = {"margin": 1.0, "pos_margin": 0.0, "squared": True, "separate_means": False}
EVERY_RULE: dict[str, dict[str, Any]] = {
    "batch_ohnm": OHNM,
    "batch_ohnm, in halves": {**OHNM, "choose_in": "bfloat16"},
    "batch_ohnm, semi-hard": {**OHNM, "negatives": {"negatives": 3, "absolute_margin": 0.0}},
    "batch_all": {"margin": 0.3},
    "batch_hard": {"margin": 0.3, "squared": False, "soft_margin": True},
    "semi_hard": {"margin": 0.3, "seed": None},
    "semi_hard, random": {"margin": 0.3, "seed": 7},
    "ohnm": {"margin": 0.3, "seed": 7},
    "distance_weighted": {"margin": 0.3, "boundary": None, "seed": 7},
    "contrastive": CONTRASTIVE,
    "contrastive, separate": {**CONTRASTIVE, "pos_margin": 0.2, "squared": False, "separate_means": True},
    "multi_similarity": {"alpha": 2.0, "beta": 50.0, "base": 0.5, "mining_epsilon": None},
    "multi_similarity, mined": {"alpha": 2.0, "beta": 50.0, "base": 0.5, "mining_epsilon": 0.1},
    "circle_pair": {"margin": 0.25, "gamma": 256.0},
    "pairwise_cosface": {"margin": 0.25, "scale": 32.0},
}
LAUNCHES = {  # of loss and gradient of a batch of 4,096 on a GPU; views launch nothing
    "batch_ohnm": 115,
    "multi_similarity": 115,
}


class Launches(TorchDispatchMode):
    """Counts operators that do work."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        views = (
            "view",
            "slice",
            "select",
            "expand",
            "unsqueeze",
            "t.default",
            "transpose",
            "permute",
            "alias",
            "unbind",
            "empty",
        )
        if str(func).startswith("aten.") and not str(func).startswith(
            tuple(f"aten.{view}" for view in views)
        ):
            self.count[str(func)] += 1
        return func(*args, **(kwargs or {}))


def on_a_device_that_only_knows_shapes(
    monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any], batch: int, references: int = 0
) -> Counter[str]:
    """Run a rule as a GPU does, on tensors without numbers: whatever would wait for a number raises."""
    monkeypatch.setattr(similarity_tiles, "SIDE_ON_CPU", 2048)
    monkeypatch.setattr(negative_search, "similarities_at_a_time", lambda device: 2**24)
    monkeypatch.setattr(negative_search, "rows_at_a_time", lambda rows, columns, device: 2**24 // columns)
    labels = torch.arange(batch) // 4
    runs = LabelRuns.of(labels, torch.arange(references) // 4 if references else None)
    with FakeTensorMode(allow_non_fake_inputs=True), Launches() as launches:
        others = torch.empty((references, 512)) if references else None
        named = (runs.anchor_order, runs.reference_order, runs.first, runs.last, runs.own)
        there = [torch.empty(tensor.shape, dtype=torch.int64) for tensor in named]
        monkeypatch.setattr(LabelRuns, "on", lambda runs, device: LabelRuns(*there, runs.most, runs.ends))
        pairs = SortedPairs(torch.empty((batch, 512)), others, runs, [(slice(0, 4), slice(4, 8))])
        pairs.wants_gradient = True
        RULES[name.split(",")[0]](pairs, **settings)
        assert pairs.anchor_slope_BD is not None
    return launches.count


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize("references", [0, 3000])
@pytest.mark.parametrize("name", EVERY_RULE)
def test_no_rule_waits_for_the_gpu(monkeypatch: pytest.MonkeyPatch, name: str, references: int) -> None:
    for batch in (3000, 7000):  # in two tiles a side, and in four
        on_a_device_that_only_knows_shapes(monkeypatch, name, EVERY_RULE[name], batch, references)


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize("name", LAUNCHES)
def test_launches_are_few(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    count = on_a_device_that_only_knows_shapes(monkeypatch, name, EVERY_RULE[name], 4096)
    assert sum(count.values()) <= LAUNCHES[name], count.most_common()
    assert count["aten.mm.default"] <= 3  # a whole product, or half of it in tiles


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
def test_what_waits_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(pairs: SortedPairs) -> Any:
        return pairs.anchors_BD.sum().item()

    monkeypatch.setitem(RULES, "waits", waits)
    with pytest.raises(DataDependentOutputException, match="local_scalar_dense"):
        on_a_device_that_only_knows_shapes(monkeypatch, "waits", {}, 8)


@pytest.mark.parametrize(
    "loss",
    [
        BatchOHNMLoss(choose_in="bfloat16"),
        BatchAllLoss(),
        BatchHardLoss(),
        SemiHardLoss(),
        SemiHardLoss(negative="random"),
        RandomTripletLoss(),
        DistanceWeightedLoss(),
        ContrastiveLoss(),
        ContrastiveLoss(pos_margin=0.2, squared=False, separate_means=True),
        MultiSimilarityLoss(),
        MultiSimilarityLoss(mining_epsilon=0.1),
        CirclePairLoss(),
        PairwiseCosFaceLoss(),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_every_loss_is_the_same_bytes_twice_and_whatever_the_tiles(
    monkeypatch: pytest.MonkeyPatch, loss: torch.nn.Module
) -> None:
    """Tiles of another size add up in another order; all else is exact."""
    random = torch.Generator().manual_seed(1)
    labels = torch.randint(12, (60,), generator=random)
    embeddings = torch.randn(60, 8, generator=random, dtype=torch.float64)
    found = []
    for side, rows in ((512, 512), (512, 512), (7, 11)):
        monkeypatch.setattr(similarity_tiles, "SIDE_ON_CPU", side)
        monkeypatch.setattr(negative_search, "rows_at_a_time", lambda *of, rows=rows: rows)
        leaf = embeddings.clone().requires_grad_()
        loss.eval()(leaf, labels).backward()
        found.append(leaf.grad)
    assert torch.equal(found[0], found[1])
    torch.testing.assert_close(found[0], found[2], atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(set(EVERY_RULE) - {"batch_ohnm, in halves"}))
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_inside_autocast_a_loss_is_what_it_is_outside(name: str, half: torch.dtype) -> None:
    random = torch.Generator().manual_seed(1)
    embeddings, labels = torch.randn(16, 8, generator=random), torch.arange(16) // 4
    found = []
    for enabled in (False, True):
        leaf = embeddings.clone().requires_grad_()
        with torch.autocast("cpu", half, enabled=enabled):
            value, _ = pair_loss(name.split(",")[0], EVERY_RULE[name], leaf, labels)
        value.backward()
        found.append((value.detach(), leaf.grad))
    assert all(torch.equal(plain, inside) for plain, inside in zip(*found, strict=True))


def test_settings_may_be_numbers_of_numpy() -> None:
    embeddings, labels = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)), torch.arange(8) // 2
    for build in (ContrastiveLoss, BatchOHNMLoss):
        value = build(margin=np.float64(0.5))(embeddings, labels)  # pyright: ignore[reportArgumentType]
        assert torch.equal(value, build(margin=0.5)(embeddings, labels))


def test_a_second_derivative_is_refused() -> None:
    embeddings = torch.randn(8, 4, requires_grad=True)
    value = ContrastiveLoss()(embeddings, torch.arange(8) // 2)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(value, embeddings, create_graph=True)


def test_tiles_that_do_not_fit_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.Generator().manual_seed(1)
    labels, found = torch.randint(12, (60,), generator=random), []
    embeddings = torch.randn(60, 8, generator=random, dtype=torch.float64)
    monkeypatch.setattr(similarity_tiles, "SIDE_ON_CPU", 16)
    for most in (2**28, 0):
        monkeypatch.setattr(negative_terms, "KEPT_AT_MOST", most)
        for loss in (MultiSimilarityLoss(), CirclePairLoss(), ContrastiveLoss(), BatchAllLoss()):
            leaf = embeddings.clone().requires_grad_()
            loss(leaf, labels).backward()
            found.append(leaf.grad)
    for kept, again in zip(found[:4], found[4:], strict=True):
        assert torch.equal(kept, again)


def test_without_gradients_there_is_a_value_and_no_more() -> None:
    embeddings, labels = torch.randn(8, 4, requires_grad=True), torch.arange(8) // 2
    with torch.no_grad():
        value = MultiSimilarityLoss()(embeddings, labels)
    assert not value.requires_grad
    torch.testing.assert_close(value, MultiSimilarityLoss()(embeddings, labels).detach())


@pytest.mark.parametrize("loss", [BatchOHNMLoss(), MultiSimilarityLoss(), CirclePairLoss(), BatchAllLoss()])
def test_it_compiles_without_a_graph_break(loss: torch.nn.Module) -> None:
    torch._dynamo.reset()  # what it saw of other losses makes their settings variables
    network = torch.nn.Linear(6, 4)
    images, labels = torch.randn(12, 6, generator=torch.Generator().manual_seed(0)), torch.arange(12) // 3

    def step(images: Tensor) -> Tensor:
        return loss(network(images), labels)

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    step(images).backward()
    expected = network.weight.grad.clone()
    network.weight.grad = None
    compiled(images).backward()
    torch.testing.assert_close(network.weight.grad, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(3), LABELS[:3]), r"\[3\]"),
        ((torch.ones(0, 4), LABELS[:0]), r"\[0, 4\]"),
        ((torch.ones(3, 4), LABELS[:2]), r"labels of shape \[2\] for 3 embeddings"),
        ((torch.ones(3, 4), LABELS[:3], torch.ones(2, 4)), "go together"),
        ((torch.ones(3, 4), LABELS[:3], None, None, 0), "go together"),
        ((torch.ones(3, 4), LABELS[:3], torch.ones(2, 5), LABELS[:2]), "5 numbers, embeddings 4"),
        (
            (torch.ones(3, 4), LABELS[:3], torch.ones(2, 4), LABELS[:3]),
            r"labels of shape \[3\] for 2 references",
        ),
        ((torch.ones(3, 4), LABELS[:3], torch.ones(4, 4), LABELS[:4], 2), "own_start=2"),
    ],
)
def test_shapes_that_do_not_fit_are_told(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pair_loss("contrastive", CONTRASTIVE, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["BatchOHNMLoss", "MultiSimilarityLoss", "CirclePairLoss", "SemiHardLoss"])
def test_a_batch_of_65536_fits_in_two_gigabytes(name: str) -> None:
    script = (
        f"import resource, torch; from subspace.train.losses import {name} as Loss\n"
        "e = torch.randn(65536, 512).requires_grad_(); e.grad = torch.zeros_like(e)\n"
        "Loss()(e[:64], torch.arange(64) // 4)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "Loss()(e, torch.arange(65536) // 4).backward()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2 * 2**20  # kB
