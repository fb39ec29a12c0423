"""Searched losses against the losses that they can be, a slow loop in float64, and finite differences.

Covers train/loss_search/spaces.py, too.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from subspace.mining.errors import InputError
from subspace.train.loss_search.curve import LossCurve, Piecewise
from subspace.train.loss_search.piecewise import log_piecewise, piecewise_linear
from subspace.train.loss_search.spaces import Space
from subspace.train.losses import NewClasses, TrainingSet, build_loss, check_loss, check_pretraining_loss
from subspace.train.losses.building import build_pretraining_loss, pair_losses_of
from subspace.train.losses.class_losses import ArcFaceLoss, CosFaceLoss, SearchedLoss, SoftmaxLoss
from subspace.train.losses.cosine_head import CosineClassLoss

LABELS = torch.tensor([0, 3, 1, 1, 2, 0, 3, 2])


def embeddings(dtype: torch.dtype = torch.float32) -> Tensor:
    """Eight images of six numbers, some near their class vectors."""
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(3), dtype=dtype).requires_grad_()


def both(loss: CosineClassLoss, other: CosineClassLoss) -> tuple[list[Tensor], list[Tensor]]:
    """Value and gradients of two losses with equal weights."""
    found = []
    for each in (loss, other):
        each.weight.data.copy_(other.weight.data)
        images = embeddings()
        value = each(images, LABELS)
        found.append([value, *torch.autograd.grad(value, [images, each.weight])])
    return found[0], found[1]


def slow(curve: LossCurve, images: Tensor, weight: Tensor) -> float:
    """The definition, an image at a time: t on the cosine, softmax, p / (a·p + 1 - a), tau, logarithm."""
    total = 0.0
    for image, label in zip(functional.normalize(images.double()), LABELS.tolist(), strict=True):
        cosines = (functional.normalize(weight.double()) @ image).tolist()
        powers = [math.exp(curve.scale * cosine) for cosine in cosines]
        powers[label] = math.exp(curve.scale * curve.t.at(cosines[label], -1, 1))
        p = powers[label] / sum(powers)
        left = p / (curve.a * p + 1 - curve.a)
        total -= math.log(max(curve.tau.at(left, 0, 1), 0.1 * left))
    return total / len(LABELS)


@pytest.mark.parametrize("bins", [1, 6])
@pytest.mark.parametrize("scale", [16.0, 64.0])
def test_the_start_of_am_lfs_is_softmax(bins: int, scale: float) -> None:
    space = Space("am-lfs", bins, scale)
    ours, softmax = both(SearchedLoss(4, 6, curve=space.curve(space.start)), SoftmaxLoss(4, 6, scale=scale))
    for found, expected in zip(ours, softmax, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("curve", [
    LossCurve(32.0, t=Piecewise((1.0,) * 5, (-0.4,) * 5)), Space("search-softmax", 1, 32.0).curve([0.4]),
], ids=["t", "a"])  # fmt: skip
def test_a_lowered_target_is_cosface(curve: LossCurve) -> None:
    ours, cosface = both(SearchedLoss(4, 6, curve=curve), CosFaceLoss(4, 6, margin=0.4, scale=32.0))
    for found, expected in zip(ours, cosface, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_chords_of_arcface_come_near_it() -> None:
    bins, margin = 400, 0.5

    def arcface(cosine: float) -> float:
        angle = math.acos(cosine)
        return math.cos(angle + margin) if angle + margin < math.pi else cosine - margin * math.sin(margin)

    ends = np.linspace(-1, 1, bins + 1)
    values = np.array([arcface(end) for end in ends])
    slopes = np.diff(values) / np.diff(ends)
    t = Piecewise(tuple(slopes), tuple(values[:-1] - slopes * ends[:-1]))
    ours, expected = both(
        SearchedLoss(4, 6, curve=LossCurve(16.0, t=t)), ArcFaceLoss(4, 6, margin=margin, scale=16.0)
    )
    assert ours[0].item() == pytest.approx(expected[0].item(), rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_value_and_gradients_of_any_curve(seed: int) -> None:
    space = Space("am-lfs", 6, 8.0)
    theta = space.start + 0.3 * np.random.default_rng(seed).standard_normal(space.size)
    drawn = space.curve(theta)
    curve = LossCurve(drawn.scale, drawn.t, drawn.tau, a=-2.0 * seed)
    loss, images = SearchedLoss(4, 6, curve=curve).double(), embeddings(torch.float64)
    assert loss(images, LABELS).item() == pytest.approx(
        slow(curve, images.detach(), loss.weight.detach()), rel=1e-6
    )
    assert torch.autograd.gradcheck(
        lambda images, _: loss(images, LABELS), (images, loss.weight), eps=1e-7, atol=1e-4
    )


def test_bins_and_their_ends() -> None:
    slopes, biases = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 0.1, 0.2])
    x = torch.tensor([-1.5, -1.0, 0.0, 0.34, 1.0, 1.0001])
    expected = torch.tensor([-1.5, -1.0, 0.1, 1.22, 3.2, 3.2003])
    torch.testing.assert_close(piecewise_linear(x, slopes, biases, -1, 1), expected)


def test_tau_has_a_floor_and_no_probability_is_too_small() -> None:
    log_p = torch.tensor([-1e4, -300.0, -60.0, -1.0]).requires_grad_()
    for bias in (-0.5, 0.0, 0.5):
        value = log_piecewise(log_p, torch.ones(1), torch.tensor([bias]))
        (slope,) = torch.autograd.grad(value.sum(), [log_p])
        assert value.isfinite().all()
        assert slope.isfinite().all()
        assert (slope >= 0).all()
        assert slope.max() <= 10
    torch.testing.assert_close(log_piecewise(log_p, torch.ones(1), torch.zeros(1)), log_p)


def test_a_margin_of_search_softmax_is_bounded() -> None:
    space = Space("search-softmax", 1, 1e4)
    assert space.curve([-3.0]).a == 0
    assert math.isfinite(space.curve([1e9]).a)
    assert space.curve([1e9]).margin == pytest.approx(0.07)


def test_a_file_is_a_loss_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "my curve.json"
    path.write_text(json.dumps(LossCurve(16.0, a=-3.0).to_json()))
    spec = f"searched:{path}"
    means = torch.nn.functional.normalize(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)))
    known = TrainingSet.from_means(means, subspace_of=torch.zeros(4, dtype=torch.int64), seed=0)
    loss = build_loss(spec, {}, known)
    assert isinstance(loss, SearchedLoss)
    assert loss.labels_are_places
    assert torch.equal(loss.weight, means)
    assert not {"t", "tau"} & {*loss.state_dict()}
    joint = build_loss(f"0.5*{spec} + batch_ohnm", {}, NewClasses(4, 6, seed=0))
    assert [type(part).__name__ for part in joint.parts] == ["SearchedLoss", "BatchOHNMLoss"]  # pyright: ignore
    assert pair_losses_of(f"{spec} + batch_ohnm") == ("batch_ohnm",)
    check_pretraining_loss(spec, {})


@pytest.mark.parametrize(("spec", "arguments", "said"), [
    ("searched:", {}, "unknown loss"), ("searched", {}, "unknown loss 'searched'.*searched:PATH"),
    ("xbm:searched:c.json", {}, "takes no references"),
    ("searched:c.json", {"searched:c.json": {"scale": 3}}, None),
    ("softmax", {"searched:c.json": {"scale": 3}}, "does not use it"),
])  # fmt: skip
def test_what_a_run_cannot_have_is_said(
    spec: str, arguments: dict[str, dict[str, int]], said: str | None
) -> None:
    if said is not None:
        with pytest.raises(InputError, match=said):
            check_loss(spec, arguments)
    else:
        check_loss(spec, arguments)
        with pytest.raises(InputError, match="settings lie in its file"):
            build_loss(spec, arguments, NewClasses(4, 6, seed=0))


def test_a_missing_file_is_one_line() -> None:
    check_loss("searched:nowhere.json", {})  # a run is read without it
    with pytest.raises(
        InputError,
        match=r"^train\.loss: nowhere\.json does not exist; where it has moved, add train\.loss=searched:NEW$",
    ):
        build_loss("searched:nowhere.json", {}, NewClasses(4, 6, seed=0))
    with pytest.raises(InputError, match=r"^pretrain\.loss: .* pretrain\.loss=searched:NEW$"):
        build_pretraining_loss("searched:nowhere.json", {}, NewClasses(4, 6, seed=0))
