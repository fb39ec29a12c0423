"""Losses that draw their negatives: what they may draw, how often, and that a resumed run draws the same."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import MarginLoss, TripletMarginLoss
from pytorch_metric_learning.miners import DistanceWeightedMiner
from pytorch_metric_learning.utils import loss_and_miner_utils
from torch import Tensor, nn

from subspace.mining.errors import InputError
from subspace.mining.label_runs import LabelRuns
from subspace.train.losses.random_triplets import DistanceWeightedLoss, RandomTripletLoss
from subspace.train.losses.step_generator import StepSeeds, random_numbers
from subspace.train.losses.triplet_choice import distance_weights

UNEQUAL = torch.tensor([0, 0, 0, 1, 1, 2, -3, -3, -3, -3])
REFERENCES = torch.tensor([0, 1, 1, 2, 7, -3, -3])
LOSSES: dict[str, Callable[[], nn.Module]] = {
    "random": RandomTripletLoss,
    "weighted": DistanceWeightedLoss,
    "weighted, margin-based": lambda: DistanceWeightedLoss(boundary=1.2),
}
all_losses = pytest.mark.parametrize("build", LOSSES.values(), ids=LOSSES.keys())


def embeddings_of(n: int, seed: int = 0, d: int = 5) -> Tensor:
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).double() + 0.5
    return rows.requires_grad_()


def gradient(loss: Tensor, embeddings: Tensor) -> Tensor:
    return torch.autograd.grad(loss, embeddings, retain_graph=True)[0]


def assert_same(value: Tensor, expected: Tensor, embeddings: Tensor) -> None:
    assert value.item() == pytest.approx(expected.item(), abs=1e-5)
    torch.testing.assert_close(
        gradient(value, embeddings), gradient(expected, embeddings), atol=1e-5, rtol=1e-4
    )


def drawn_triplets(labels: list[int], seed: int) -> list[tuple[int, int, int]]:
    """Anchor, positive and drawn negative, as rows of the batch."""
    runs = LabelRuns.of(torch.tensor(labels))
    positive, exists = runs.positives
    negative = runs.negative(random_numbers(tuple(positive.shape), seed, torch.device("cpu")))
    row = runs.anchor_order
    return [
        (int(row[a]), int(row[positive[a, p]]), int(row[negative[a, p]]))
        for a, p in exists.nonzero().tolist()
    ]


def table(
    embeddings: Tensor, labels: Tensor, ref_emb: Tensor | None = None, ref_labels: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Euclidean distances of unit vectors, and which pairs are of two identities."""
    others = embeddings if ref_emb is None else ref_emb
    unit, other = (rows / rows.norm(dim=1, keepdim=True) for rows in (embeddings, others))
    negative = labels[:, None] != (labels if ref_labels is None else ref_labels)
    return (2 - 2 * unit @ other.T).clamp(min=0).sqrt(), negative


@settings(max_examples=40)
@given(
    labels=st.lists(st.integers(-1, 3), min_size=1, max_size=10),
    margin=st.sampled_from([0.05, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_random_triplets_follow_the_definition(labels: list[int], margin: float, seed: int) -> None:
    embeddings = embeddings_of(len(labels), seed)
    unit = [row / row.norm() for row in embeddings]
    n = len(labels)
    triplets = drawn_triplets(labels, StepSeeds(seed, "random triplets")())
    pairs = [(a, p) for a in range(n) for p in range(n) if a != p and labels[a] == labels[p]]
    assert sorted((a, p) for a, p, _ in triplets) == (pairs if len(set(labels)) > 1 else [])
    assert all(labels[a] != labels[k] for a, _, k in triplets)
    terms = [
        ((unit[a] - unit[p]) ** 2).sum() - ((unit[a] - unit[k]) ** 2).sum() + margin for a, p, k in triplets
    ]
    active = [term for term in terms if term > 0]
    loss = RandomTripletLoss(margin, seed)
    value = loss(embeddings, torch.tensor(labels))
    assert_same(value, torch.stack(active).mean() if active else 0 * embeddings.sum(), embeddings)
    assert loss.statistics is not None
    if terms:
        assert loss.statistics.active_fraction.item() == pytest.approx(len(active) / len(terms))
    else:
        assert math.isnan(loss.statistics.active_fraction.item())


@pytest.mark.parametrize("d", [2, 3, 16, 128])
@pytest.mark.parametrize("references", [False, True])
def test_weights_are_those_of_pytorch_metric_learning(
    d: int, references: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    caught = []
    monkeypatch.setattr(
        loss_and_miner_utils,
        "get_random_triplet_indices",
        lambda *_, weights, **__: caught.append(weights) or [torch.empty(0, dtype=torch.int64)] * 3,
    )
    embeddings = embeddings_of(10, d=d).detach()
    more = (embeddings_of(7, seed=1, d=d).detach(), REFERENCES) if references else ()
    DistanceWeightedMiner()(embeddings, UNEQUAL, *more)
    ours = distance_weights(*table(embeddings, UNEQUAL, *more), d)
    assert (ours > 0).any()
    torch.testing.assert_close(ours, caught[0].nan_to_num(0), atol=1e-5, rtol=1e-5)


def test_weights_follow_the_density_within_their_bounds() -> None:
    d = torch.tensor([[0.1, 0.5, 0.8, 1.2, 1.39, 1.41, 2.0, 0.7]]).double()
    negative = torch.tensor([[True] * 7 + [False]])
    w = distance_weights(d, negative, 6)[0]

    def inverse_density(x: float) -> float:
        return 1 / (x ** (6 - 2) * (1 - x**2 / 4) ** ((6 - 3) / 2))

    expected = torch.tensor([inverse_density(x) for x in (0.5, 0.5, 0.8, 1.2, 1.39)]).double()
    torch.testing.assert_close(w[:5], expected / expected.sum())
    assert w[5:].tolist() == [0, 0, 0]
    # A row whose likeliest negative is e^200 times less likely than another row's keeps its draws.
    far = distance_weights(torch.tensor([[0.5, 1.3], [1.3, 1.35]]), torch.ones(2, 2, dtype=torch.bool), 512)
    torch.testing.assert_close(far.sum(dim=1), torch.ones(2))


def test_weighted_draws_have_the_frequencies_of_the_weights() -> None:
    angles = torch.tensor([0.0, 0.4, 0.6, 0.9, 1.2, 2.5]).double()
    embeddings = torch.stack([angles.cos(), angles.sin(), 0 * angles, 0 * angles + 0.1], dim=1)
    labels = torch.tensor([0, 0, 1, 2, 3, 4])
    euclidean, negative = table(embeddings, labels)
    weight = distance_weights(euclidean, negative, 4)
    loss = DistanceWeightedLoss(margin=4.0, seed=3)
    d = euclidean.square()
    total = torch.zeros(())
    for _ in range(3000):
        total = total + loss(embeddings, labels) / 3000
    expected = ((d[0, 1] - (weight[0] * d[0]).sum() + 4) + (d[0, 1] - (weight[1] * d[1]).sum() + 4)) / 2
    assert total.item() == pytest.approx(expected.item(), abs=0.02)


ONE_OTHER = torch.tensor([0, 0, 0, 1])
"""Every anchor has one negative only, so nothing is left to chance."""


@pytest.mark.parametrize("seed", range(5))
def test_losses_are_those_of_pytorch_metric_learning(seed: int) -> None:
    embeddings = embeddings_of(4, seed)
    d = LpDistance()(embeddings, embeddings)
    pairs = [(a, p, 3) for a in range(3) for p in range(3) if p != a and d[a, 3] < 1.4]
    assert pairs
    rows = tuple(torch.tensor(pairs).T)
    hinge = TripletMarginLoss(0.2, distance=LpDistance(power=2))(embeddings, ONE_OTHER, rows)
    loss = DistanceWeightedLoss(0.2)
    assert_same(loss(embeddings, ONE_OTHER), hinge, embeddings)
    assert loss.statistics is not None
    assert loss.statistics.d_ap.item() == pytest.approx(
        sum(d[a, p].item() ** 2 for a, p, _ in pairs) / len(pairs)
    )
    boundary = MarginLoss(margin=0.2, beta=1.0)(embeddings, ONE_OTHER, rows)
    assert_same(DistanceWeightedLoss(0.2, boundary=1.0)(embeddings, ONE_OTHER), boundary, embeddings)


def test_an_anchor_whose_negatives_are_all_too_far_is_left_out() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0]], requires_grad=True)
    loss = DistanceWeightedLoss(4.0)
    value = loss(embeddings, torch.tensor([0, 0, 1]))
    assert value.item() == 0
    assert gradient(value, embeddings).abs().max() == 0
    assert loss.statistics is not None
    assert math.isnan(loss.statistics.active_fraction.item())


@all_losses
@pytest.mark.parametrize("references", [False, True])
def test_gradcheck(build: Callable[[], nn.Module], references: bool) -> None:
    more = (embeddings_of(7, seed=6).detach(), REFERENCES) if references else ()
    loss = build().eval()  # the same draws at every call
    assert loss(embeddings_of(10, seed=5), UNEQUAL, *more).item() > 0
    assert torch.autograd.gradcheck(lambda e: loss(e, UNEQUAL, *more), embeddings_of(10, seed=5))


@all_losses
def test_a_resumed_loss_draws_what_the_unbroken_one_would_have(build: Callable[[], nn.Module]) -> None:
    embeddings = embeddings_of(10)
    before = torch.get_rng_state()
    unbroken, first, resumed = build(), build(), build()
    values = [unbroken(embeddings, UNEQUAL).item() for _ in range(6)]
    assert torch.equal(torch.get_rng_state(), before)
    assert len(set(values)) > 2
    assert [first(embeddings, UNEQUAL).item() for _ in range(3)] == values[:3]
    resumed.load_state_dict(first.state_dict())
    assert [resumed(embeddings, UNEQUAL).item() for _ in range(3)] == values[3:]


@all_losses
@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [5, 5, 5, 5], [1]])
def test_without_triplets_loss_and_gradient_are_zero(
    build: Callable[[], nn.Module], labels: list[int]
) -> None:
    embeddings = embeddings_of(len(labels))
    value = build()(embeddings, torch.tensor(labels))
    assert value.item() == 0
    assert gradient(value, embeddings).abs().max() == 0


@all_losses
def test_collapsed_half_precision_and_nan_embeddings(build: Callable[[], nn.Module]) -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    for embeddings in (torch.ones(6, 512), torch.zeros(6, 4), torch.ones(6, 4).bfloat16()):
        embeddings.requires_grad_()
        value = build()(embeddings, labels)
        assert value.dtype == torch.float32
        assert torch.isfinite(value)
        assert torch.isfinite(gradient(value, embeddings)).all()
    with pytest.raises(InputError, match="hold NaN"):
        build()(torch.full((6, 4), math.nan), labels)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RandomTripletLoss(margin=0), "margin=0"),
        (lambda: RandomTripletLoss(seed=-2), "seed=-2"),
        (lambda: DistanceWeightedLoss(margin=math.nan), "margin=nan"),
        (lambda: DistanceWeightedLoss(boundary=2.5), "boundary=2.5"),
    ],
)
def test_bad_settings_are_named(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()
