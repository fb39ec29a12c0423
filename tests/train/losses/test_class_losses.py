"""The class losses, against slow loops in float64 and against pytorch-metric-learning's given the same weights.

Covers train/losses/cosine_head.py, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import ArcFaceLoss as PeerArcFace
from pytorch_metric_learning.losses import CircleLoss as PeerCircle
from pytorch_metric_learning.losses import CosFaceLoss as PeerCosFace
from pytorch_metric_learning.losses import NormalizedSoftmaxLoss
from pytorch_metric_learning.reducers import MeanReducer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from subspace.mining.errors import InputError
from subspace.train.losses.class_losses import (
    ArcFaceLoss,
    CircleClassLoss,
    CosFaceLoss,
    CurricularFaceLoss,
    MVSoftmaxLoss,
    SoftmaxLoss,
)
from subspace.train.losses.cosine_head import CosineClassLoss, arcface_target, cosface_target


def embeddings_of(n: int, d: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize("scale", [1.0, 16.0, 64.0])
def test_value_and_gradients_equal_those_of_pytorch_metric_learning(scale: float) -> None:
    labels = torch.tensor([0, 3, 1, 1, 2, 0, 3])
    embeddings = embeddings_of(len(labels))
    loss = SoftmaxLoss(4, 6, scale=scale)
    other = NormalizedSoftmaxLoss(4, 6, temperature=1 / scale)
    with torch.no_grad():
        other.W.copy_(loss.weight.T)

    value, expected = loss(embeddings, labels), other(embeddings, labels)

    torch.testing.assert_close(value, expected)
    ours = torch.autograd.grad(value, [embeddings, loss.weight])
    theirs = torch.autograd.grad(expected, [embeddings, other.W])
    torch.testing.assert_close(ours, (theirs[0], theirs[1].T), atol=1e-5, rtol=1e-4)


def test_the_loss_is_the_mean_log_probability_of_the_own_class() -> None:
    labels, embeddings = [2, 0], embeddings_of(2).detach()
    loss = SoftmaxLoss(3, 6, scale=5.0)
    terms = []
    for row, label in zip(embeddings.double(), labels, strict=True):
        cosines = [float(row @ w / (row.norm() * w.norm())) for w in loss.weight.detach().double()]
        powers = [math.exp(5 * cosine) for cosine in cosines]
        terms.append(-math.log(powers[label] / sum(powers)))
    assert loss(embeddings, torch.tensor(labels)).item() == pytest.approx(sum(terms) / 2, abs=1e-5)


def test_weights_are_a_function_of_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    first = SoftmaxLoss(10, 4, seed=3).weight
    torch.manual_seed(99)
    assert torch.equal(SoftmaxLoss(10, 4, seed=3).weight, first)
    assert not torch.equal(SoftmaxLoss(10, 4, seed=4).weight, first)
    torch.random.set_rng_state(before)
    SoftmaxLoss(10, 4)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_zero_embeddings_have_a_finite_gradient() -> None:
    embeddings = torch.zeros(2, 6, requires_grad=True)
    loss = SoftmaxLoss(3, 6)
    value = loss(embeddings, torch.tensor([0, 1]))
    assert value.item() == pytest.approx(math.log(3))
    assert torch.isfinite(torch.autograd.grad(value, embeddings)[0]).all()


def test_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="at least two identities, got 1"):
        SoftmaxLoss(1, 6)


def test_embeddings_that_are_not_finite_are_told() -> None:
    embeddings = embeddings_of(2).detach()
    embeddings[0, 0] = math.nan
    with pytest.raises(InputError, match="NaN"):
        SoftmaxLoss(3, 6)(embeddings, torch.tensor([0, 1]))


# --- margins -----------------------------------------------------------------------------------------------


def slow_target(kind: str, cosine: Tensor, m: float) -> Tensor:
    """What the true class's cosine becomes, from its angle."""
    if kind == "am":
        return cosine - m
    angle = torch.arccos(cosine)
    if kind == "constant":  # InsightFace changes the angle of the own class where no gradient sees it
        return cosine + (torch.cos(angle + m) - cosine).detach()
    return torch.cos(angle + m) if angle < math.pi - m else cosine - m * math.sin(math.pi - m)


def slow_logits(loss: CosineClassLoss, cosines: Tensor, y: int) -> Tensor:
    """One image's logits by the papers' words, class by class."""
    own, logits = cosines[y], []
    for k, cosine in enumerate(cosines):
        match loss:
            case SoftmaxLoss():
                value = cosine
            case CosFaceLoss():
                value = slow_target("am", own, loss.m) if k == y else cosine
            case ArcFaceLoss(margin_gradient=gradient):
                kind = "arc" if gradient == "exact" else gradient
                value = slow_target(kind, own, loss.m) if k == y else cosine
            case MVSoftmaxLoss(kind=kind, weighting=weighting, t=t):
                g = own - loss.m if kind == "am" else torch.cos(torch.arccos(own) + loss.m)
                if k == y and loss.easy_margin:  # FaceX-Zoo's lines
                    value = g if own > (loss.m if kind == "am" else 0) else own
                elif k == y:
                    value = slow_target(kind, own, loss.m)
                elif cosine > g:
                    value = cosine + t if weighting == "fixed" else (1 + t) * cosine + t
                else:
                    value = cosine
            case CurricularFaceLoss(t=t):
                if k == y:
                    value = slow_target("arc", own, loss.m)
                elif cosine > torch.cos(torch.arccos(own) + loss.m):
                    value = cosine * (t.item() + cosine)
                else:
                    value = cosine
            case CircleClassLoss():
                if k == y:
                    value = max(0.0, 1 + loss.m - cosine.item()) * (cosine - (1 - loss.m))
                else:
                    value = max(0.0, cosine.item() + loss.m) * (cosine - loss.m)
            case _:
                raise AssertionError(loss)
        logits.append(loss.scale * value)
    return torch.stack(logits)


def slow_loss(loss: CosineClassLoss, embeddings: Tensor, weights: Tensor, labels: list[int]) -> Tensor:
    terms = []
    for x, y in zip(embeddings, labels, strict=True):
        cosines = torch.stack([x @ w / (x.norm() * w.norm()) for w in weights])
        logits = slow_logits(loss, cosines, y)
        terms.append(torch.logsumexp(logits, dim=0) - logits[y])
    return torch.stack(terms).mean()


Build = Callable[..., CosineClassLoss]
LOSSES: dict[str, Build] = {
    "softmax": SoftmaxLoss,
    "cosface": CosFaceLoss,
    "arcface": ArcFaceLoss,
    "arcface constant": partial(ArcFaceLoss, margin_gradient="constant"),
    "mv am easy": partial(MVSoftmaxLoss, kind="am", easy_margin=True),
    "mv arc easy": partial(MVSoftmaxLoss, kind="arc", easy_margin=True),
    "mv am fixed": partial(MVSoftmaxLoss, kind="am", weighting="fixed"),
    "mv am adaptive": partial(MVSoftmaxLoss, kind="am", weighting="adaptive"),
    "mv arc fixed": partial(MVSoftmaxLoss, kind="arc", weighting="fixed"),
    "mv arc adaptive": partial(MVSoftmaxLoss, kind="arc", weighting="adaptive"),
    "curricular": CurricularFaceLoss,
    "circle": CircleClassLoss,
}
every_loss = pytest.mark.parametrize("build", LOSSES.values(), ids=LOSSES)


@every_loss
@settings(max_examples=15, derandomize=True)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    size=st.integers(2, 5),
    margin=st.sampled_from([None, 0.0, 0.1, 0.7]),
    scale=st.sampled_from([1.0, 30.0]),
    seed=st.integers(0, 99),
)
def test_value_and_gradients_follow_the_definition(
    build: Build, labels: list[int], size: int, margin: float | None, scale: float, seed: int
) -> None:
    circle, plain = build is CircleClassLoss, build is SoftmaxLoss
    options = {"gamma" if circle else "scale": scale} | (
        {} if plain or margin is None else {"margin": margin}
    )
    loss = build(5, size, seed=seed, **options).double()
    embeddings = embeddings_of(len(labels), size, 1000 + seed).detach().double().requires_grad_()

    value = loss(embeddings, torch.tensor(labels))
    weights = loss.weight.detach().clone().requires_grad_()
    expected = slow_loss(loss, embeddings, weights, labels)

    torch.testing.assert_close(value, expected)
    ours = torch.autograd.grad(value, [embeddings, loss.weight])
    theirs = torch.autograd.grad(expected, [embeddings, weights])
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize(
    "build",
    [build for name, build in LOSSES.items() if name not in ("circle", "arcface constant")],
    ids=lambda build: str(build)[:40],
)
def test_gradcheck(build: Build) -> None:
    """Circle and InsightFace's ArcFace have none: what they hold constant is so on purpose; the slow loops cover them."""
    loss = build(4, 3).double().eval()
    labels = torch.tensor([0, 3, 3, 1, 2])
    embeddings = embeddings_of(5, 3, seed=2).detach().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, _: loss(x, labels), (embeddings, loss.weight))


def assert_equal_to_peer(loss: CosineClassLoss, peer: nn.Module, embeddings: Tensor, labels: Tensor) -> None:
    """pytorch-metric-learning keeps its weights as W[D, C]."""
    with torch.no_grad():
        peer.W.copy_(loss.weight.T)
    value, expected = loss(embeddings, labels), peer(embeddings, labels)
    torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-5)
    ours = torch.autograd.grad(value, [embeddings, loss.weight])
    theirs = torch.autograd.grad(expected, [embeddings, peer.W])
    torch.testing.assert_close(ours, (theirs[0], theirs[1].T), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("margin", [0.0, 0.35, 0.5])
def test_cosface_equals_pytorch_metric_learning(margin: float) -> None:
    loss = CosFaceLoss(7, 6, margin=margin)
    assert_equal_to_peer(loss, PeerCosFace(7, 6, margin=margin), embeddings_of(40), torch.arange(40) % 7)


@pytest.mark.parametrize("margin", [0.0, 0.3, 0.5, 1.2])
def test_arcface_equals_pytorch_metric_learning_on_both_sides_of_pi(margin: float) -> None:
    """The peer takes degrees, and beyond pi the same line: c_y - m·sin(m)."""
    loss, labels, embeddings = ArcFaceLoss(7, 2, margin=margin), torch.arange(40) % 7, embeddings_of(40, 2)
    cosine = functional.cosine_similarity(embeddings, loss.weight[labels])
    assert margin == 0 or 0 < (cosine.arccos() + margin > math.pi).sum() < 40
    assert_equal_to_peer(loss, PeerArcFace(7, 2, margin=math.degrees(margin)), embeddings, labels)


def test_arcface_stays_finite_where_pytorch_metric_learning_does_not() -> None:
    """At a cosine of exactly 1 the slope of the arc cosine is infinite."""
    embeddings = torch.eye(2, requires_grad=True)
    loss, peer = ArcFaceLoss(2, 2), PeerArcFace(2, 2, margin=math.degrees(0.5))
    with torch.no_grad():
        loss.weight.copy_(torch.eye(2))
        peer.W.copy_(torch.eye(2))
    labels = torch.tensor([0, 1])
    value, expected = loss(embeddings, labels), peer(embeddings, labels)
    torch.testing.assert_close(value, expected)
    assert torch.isfinite(torch.autograd.grad(value, embeddings)[0]).all()
    assert not torch.isfinite(torch.autograd.grad(expected, embeddings)[0]).all()


def test_circle_equals_the_pair_form_of_pytorch_metric_learning_over_the_weights() -> None:
    """One positive, the own weight vector; the other weight vectors are the negatives."""
    loss, labels, embeddings = CircleClassLoss(7, 6, gamma=64), torch.arange(20) % 7, embeddings_of(20)
    weights = loss.weight.detach().clone().requires_grad_()
    peer = PeerCircle(m=0.25, gamma=64, reducer=MeanReducer())
    value = loss(embeddings, labels)
    expected = peer(embeddings, labels, ref_emb=weights, ref_labels=torch.arange(7))
    torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-5)
    ours = torch.autograd.grad(value, [embeddings, loss.weight])
    theirs = torch.autograd.grad(expected, [embeddings, weights])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_mv_softmax_without_emphasis_is_cosface_or_arcface() -> None:
    labels, embeddings = torch.arange(20) % 7, embeddings_of(20)
    am = MVSoftmaxLoss(7, 6, kind="am", weighting="fixed", t=0, margin=0.4, scale=64)
    arc = MVSoftmaxLoss(7, 6, kind="arc", weighting="adaptive", t=0, scale=64)
    assert torch.equal(am(embeddings, labels), CosFaceLoss(7, 6)(embeddings, labels))
    assert torch.equal(arc(embeddings, labels), ArcFaceLoss(7, 6)(embeddings, labels))


@pytest.mark.parametrize("target", [cosface_target, arcface_target])
@pytest.mark.parametrize("margin", [0.0, 0.3, 0.5, 1.5])
def test_targets_grow_with_the_cosine_and_never_exceed_it(
    target: Callable[[Tensor, float], Tensor], margin: float
) -> None:
    cosine = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    changed = target(cosine, margin)
    assert (changed.diff() > 0).all()
    assert (changed <= cosine + 1e-12).all()


@pytest.mark.parametrize("build", [CosFaceLoss, ArcFaceLoss, MVSoftmaxLoss])
def test_a_wider_margin_costs_more(build: Build) -> None:
    labels, embeddings = torch.arange(20) % 7, embeddings_of(20)
    values = [build(7, 6, margin=m)(embeddings, labels).item() for m in (0.0, 0.2, 0.4, 0.6)]
    assert values == sorted(set(values))


# --- edges -------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_cosines_of_one_and_minus_one_have_a_finite_gradient(build: Build, dtype: torch.dtype) -> None:
    loss = build(2, 3)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[0.3, 0.4, 1.2], [-0.3, -0.4, -1.2]]))
    embeddings = loss.weight.detach()[[0, 0, 1, 1]].to(dtype).requires_grad_()
    value = loss(embeddings, torch.tensor([0, 1, 0, 1]))
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    for gradient in torch.autograd.grad(value, [embeddings, loss.weight]):
        assert torch.isfinite(gradient).all()


@every_loss
@pytest.mark.parametrize(("labels", "value"), [([0, 5], 5), ([-1, 0], -1), ([0, 10**12], 10**12)])
def test_labels_outside_the_classes_are_told(build: Build, labels: list[int], value: int) -> None:
    with pytest.raises(InputError, match=rf"label {value} is outside 0\.\.4"):
        build(5, 6)(embeddings_of(2), torch.tensor(labels))


def test_labels_of_another_shape_or_type_are_told() -> None:
    with pytest.raises(InputError, match=r"shape \[3\] for 2 embeddings"):
        SoftmaxLoss(5, 6)(embeddings_of(2), torch.tensor([0, 1, 2]))
    with pytest.raises(InputError, match="float32"):
        SoftmaxLoss(5, 6)(embeddings_of(2), torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (SoftmaxLoss, {"scale": 0.0}, "scale=0.0"),
        (SoftmaxLoss, {"scale": math.inf}, "scale=inf"),
        (CosFaceLoss, {"margin": -0.1}, "margin=-0.1"),
        (ArcFaceLoss, {"margin": 28.6}, "margin=28.6 .* radians"),
        (ArcFaceLoss, {"margin": math.nan}, "margin=nan"),
        (MVSoftmaxLoss, {"kind": "x"}, "kind='x'"),
        (MVSoftmaxLoss, {"weighting": "x"}, "weighting='x'"),
        (MVSoftmaxLoss, {"t": -1.0}, "t=-1.0"),
        (CurricularFaceLoss, {"momentum": 1.5}, "momentum=1.5"),
        (CircleClassLoss, {"gamma": 0.0}, "gamma=0.0"),
        (CircleClassLoss, {"margin": 2.0}, "margin=2.0"),
    ],
)
def test_bad_settings_are_told(build: Build, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(5, 6, **options)


# --- training ----------------------------------------------------------------------------------------------


def toy_batch(step: int, classes: int = 5, d: int = 6) -> tuple[Tensor, Tensor]:
    """Noisy copies of fixed points, one point a class."""
    generator = torch.Generator().manual_seed(step)
    points = torch.randn(classes, d, generator=torch.Generator().manual_seed(77))
    labels = torch.randint(classes, (16,), generator=generator)
    return points[labels] + 0.3 * torch.randn(16, d, generator=generator), labels


def train(network: nn.Module, loss: nn.Module, steps: range, lr: float = 0.02) -> list[float]:
    """The losses of plain SGD steps."""
    optimizer, values = torch.optim.SGD([*network.parameters(), *loss.parameters()], lr=lr), []
    for step in steps:
        inputs, labels = toy_batch(step)
        value = loss(network(inputs), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values


def network(seed: int = 0) -> nn.Module:
    linear = nn.Linear(6, 6)
    with torch.no_grad():
        linear.weight.normal_(generator=torch.Generator().manual_seed(seed))
        linear.bias.zero_()
    return linear


@every_loss
def test_twenty_steps_lower_the_loss(build: Build) -> None:
    values = train(network(), build(5, 6), range(20))
    assert sum(values[-3:]) < 0.8 * sum(values[:3])


@every_loss
def test_a_checkpoint_in_the_middle_changes_nothing(build: Build, tmp_path: Path) -> None:
    whole_network, whole = network(), build(5, 6)
    train(whole_network, whole, range(10))
    save_file(whole.state_dict(), tmp_path / "loss.safetensors")
    resumed_network, resumed = network(9), build(5, 6, seed=9)
    resumed_network.load_state_dict(whole_network.state_dict())
    resumed.load_state_dict(load_file(tmp_path / "loss.safetensors"))

    assert train(resumed_network, resumed, range(10, 15)) == train(whole_network, whole, range(10, 15))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


def test_curricular_t_keeps_no_batch_that_overflowed() -> None:
    """On a GPU nobody looks whether embeddings are finite, and fp16 training leaves out a step that is not."""
    loss, cosines = CurricularFaceLoss(5, 6, momentum=0.1), torch.full((2, 1), 0.5)
    loss.margin(cosines, torch.zeros(2, 5))
    assert loss.t.item() == pytest.approx(0.05)
    for lost in (math.nan, math.inf):
        loss.margin(torch.tensor([[0.5], [lost]]), torch.zeros(2, 5))
        assert loss.t.item() == pytest.approx(0.05)


def test_curricular_t_is_a_running_mean_of_the_own_cosines_in_training_only() -> None:
    loss, labels, embeddings = CurricularFaceLoss(5, 6, momentum=0.1), torch.arange(5), embeddings_of(5)
    mean = functional.cosine_similarity(embeddings, loss.weight[labels]).mean().item()
    loss(embeddings, labels)
    assert loss.t.item() == pytest.approx(0.1 * mean, abs=1e-6)
    loss(embeddings, labels)
    assert loss.t.item() == pytest.approx(0.19 * mean, abs=1e-6)
    loss.eval()(embeddings, labels)
    assert loss.t.item() == pytest.approx(0.19 * mean, abs=1e-6)
