"""Batch all, batch hard and semi-hard, against slow loops in float64 and pytorch-metric-learning."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import assert_length_is_ignored_and_nan_told
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner, TripletMarginMiner
from torch import Tensor, nn

from subspace.mining.errors import InputError
from subspace.train.losses.triplet_rules import BatchAllLoss, BatchHardLoss, SemiHardLoss

UNEQUAL = torch.tensor([0, 0, 0, 1, 1, 2, -3, -3, -3, -3])
REFERENCES = torch.tensor([0, 1, 1, 2, 7, -3, -3])
LOSSES: dict[str, Callable[[], nn.Module]] = {
    "all": BatchAllLoss,
    "hard": BatchHardLoss,
    "hard, Euclidean": lambda: BatchHardLoss(squared=False),
    "hard, soft margin": lambda: BatchHardLoss(soft_margin=True),
    "semi-hard": SemiHardLoss,
    "semi-hard, random": lambda: SemiHardLoss(negative="random"),
}
all_losses = pytest.mark.parametrize("build", LOSSES.values(), ids=LOSSES.keys())
labels_lists = st.lists(st.integers(-1, 3), min_size=1, max_size=11)
margins = st.sampled_from([0.05, 0.3, 1.0])


def embeddings_of(n: int, seed: int = 0, *, twins: bool = False) -> Tensor:
    rows = torch.randn(n, 5, generator=torch.Generator().manual_seed(seed)).double() + 0.5
    if twins:  # duplicates within and across identities
        rows = rows[torch.arange(n) // 2]
    return rows.requires_grad_()


def slow_distances(embeddings: Tensor) -> list[list[Tensor]]:
    unit = [row / row.norm() for row in embeddings]
    return [[((a - b) ** 2).sum() for b in unit] for a in unit]


def slow_triplets(labels: list[int]) -> list[tuple[int, int, int]]:
    every = range(len(labels))
    return [
        (a, p, n)
        for a in every
        for p in every
        for n in every
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]
    ]


def mean(terms: list[Tensor], embeddings: Tensor) -> Tensor:
    return torch.stack(terms).mean() if terms else 0 * embeddings.sum()


def assert_same(value: Tensor, expected: Tensor, embeddings: Tensor) -> None:
    assert value.shape == ()
    assert value.item() == pytest.approx(expected.item(), abs=1e-5)
    assert_same_gradient(value, expected, embeddings)


def assert_same_gradient(value: Tensor, expected: Tensor, embeddings: Tensor) -> None:
    gradients = [torch.autograd.grad(loss, embeddings, retain_graph=True)[0] for loss in (value, expected)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def told(loss: nn.Module) -> list[float]:
    return [number.item() for number in loss.statistics]


@settings(max_examples=60)
@given(labels=labels_lists, margin=margins, seed=st.integers(0, 999), twins=st.booleans())
def test_batch_all_visits_every_triplet(labels: list[int], margin: float, seed: int, twins: bool) -> None:
    embeddings = embeddings_of(len(labels), seed, twins=twins)
    d = slow_distances(embeddings)
    triplets = slow_triplets(labels)
    terms = [d[a][p] - d[a][n] + margin for a, p, n in triplets]
    loss = BatchAllLoss(margin)
    value = loss(embeddings, torch.tensor(labels))
    assert_same(value, mean([term for term in terms if term > 0], embeddings), embeddings)

    assert loss.shares is not None
    if not triplets:
        assert all(math.isnan(number) for number in [*told(loss), *(share.item() for share in loss.shares)])
        return
    easy = sum(bool(term <= 0) for term in terms) / len(terms)
    assert loss.shares.easy.item() == pytest.approx(easy)
    assert sum(share.item() for share in loss.shares) == pytest.approx(1)
    if not twins:  # a tie of d_an and d_ap falls on either side
        hard = sum(bool(d[a][n] < d[a][p]) for a, p, n in triplets) / len(triplets)
        assert loss.shares.hard.item() == pytest.approx(hard)
    d_ap = sum(d[a][p].item() for a, p, _ in triplets) / len(triplets)
    d_an = sum(d[a][n].item() for a, _, n in triplets) / len(triplets)
    assert told(loss) == pytest.approx([1 - easy, d_ap, d_an])
    assert not any(number.requires_grad for number in loss.statistics or ())


@settings(max_examples=60)
@given(
    labels=labels_lists, margin=margins, seed=st.integers(0, 999), squared=st.booleans(), soft=st.booleans()
)
def test_batch_hard_takes_the_farthest_and_the_nearest(
    labels: list[int], margin: float, seed: int, squared: bool, soft: bool
) -> None:
    embeddings = embeddings_of(len(labels), seed)
    d = slow_distances(embeddings)
    triplets = []
    for a, label in enumerate(labels):
        positives = [d[a][j] for j, other in enumerate(labels) if other == label and j != a]
        negatives = [d[a][j] for j, other in enumerate(labels) if other != label]
        if positives and negatives:
            d_ap, d_an = max(positives, key=Tensor.item), min(negatives, key=Tensor.item)
            triplets.append((d_ap, d_an) if squared else (d_ap.sqrt(), d_an.sqrt()))
    terms = [d_ap - d_an + margin for d_ap, d_an in triplets]
    active = [term for term in terms if term > 0]
    expected = [torch.log1p(torch.exp(d_ap - d_an)) for d_ap, d_an in triplets] if soft else active
    loss = BatchHardLoss(margin, squared=squared, soft_margin=soft)
    assert_same(loss(embeddings, torch.tensor(labels)), mean(expected, embeddings), embeddings)
    if triplets:
        means = [sum(pair[i].item() for pair in triplets) / len(triplets) for i in (0, 1)]
        assert told(loss) == pytest.approx([len(active) / len(terms), *means])
    else:
        assert all(math.isnan(number) for number in told(loss))


@settings(max_examples=60)
@given(labels=labels_lists, margin=margins, seed=st.integers(0, 999))
def test_semi_hard_takes_the_nearest_negative_beyond_the_positive(
    labels: list[int], margin: float, seed: int
) -> None:
    embeddings = embeddings_of(len(labels), seed)
    d = slow_distances(embeddings)
    triplets, pairs = [], 0
    for a, label in enumerate(labels):
        negatives = [d[a][j] for j, other in enumerate(labels) if other != label]
        for p, other in enumerate(labels):
            if p != a and other == label and negatives:
                pairs += 1
                inside = [d_an for d_an in negatives if d[a][p] < d_an < d[a][p] + margin]
                if inside:
                    triplets.append((d[a][p], min(inside, key=Tensor.item)))
    loss = SemiHardLoss(margin)
    value = loss(embeddings, torch.tensor(labels))
    expected = mean([d_ap - d_an + margin for d_ap, d_an in triplets], embeddings)
    assert_same(value, expected, embeddings)
    if triplets:
        means = [sum(pair[i].item() for pair in triplets) / len(triplets) for i in (0, 1)]
        assert told(loss) == pytest.approx([len(triplets) / pairs, *means])


def test_random_semi_hard_negatives_are_uniform_over_the_semi_hard_ones() -> None:
    # One anchor-positive pair each way; on the circle distances are known.
    angles = torch.tensor([0.0, 0.3, 0.2, 0.4, -0.45, 0.5, 0.65, 0.78, 2.0]).double()
    embeddings = torch.stack([angles.cos(), angles.sin()], dim=1).requires_grad_()
    labels = torch.tensor([0, 0, 1, 2, 3, 4, 5, 6, 7])
    loss = SemiHardLoss(0.2, "random", seed=1)
    d = slow_distances(embeddings)
    expected = [[n for n in range(2, 9) if d[a][1 - a] < d[a][n] < d[a][1 - a] + 0.2] for a in (0, 1)]
    drawn: dict[float, int] = {}
    for _ in range(1500):
        value = round(loss(embeddings, labels).item(), 9)
        drawn[value] = drawn.get(value, 0) + 1
    wanted = {
        round((d[0][1] - (d[0][n] + d[1][k]) / 2 + 0.2).item(), 9) for n in expected[0] for k in expected[1]
    }
    assert len(wanted) == 6
    assert drawn.keys() == wanted
    assert min(drawn.values()) > 0.5 * 1500 / len(wanted)


references = pytest.mark.parametrize("references", [False, True], ids=["batch", "references"])


def batch(references: bool, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    more = {"ref_emb": embeddings_of(len(REFERENCES), seed + 50).detach(), "ref_labels": REFERENCES}
    return embeddings_of(len(UNEQUAL), seed), more if references else {}


@references
@pytest.mark.parametrize("seed", range(4))
class TestPytorchMetricLearningHasIt:
    @pytest.mark.parametrize("power", [1, 2])
    @pytest.mark.parametrize("margin", [0.05, 0.5])
    def test_batch_hard(self, seed: int, references: bool, power: int, margin: float) -> None:
        embeddings, more = batch(references, seed)
        distance = LpDistance(power=power)
        mined = BatchHardMiner(distance=distance)(embeddings, UNEQUAL, **more)
        expected = TripletMarginLoss(margin, distance=distance)(embeddings, UNEQUAL, mined, **more)
        value = BatchHardLoss(margin, squared=power == 2)(embeddings, UNEQUAL, **more)
        assert_same(value, expected, embeddings)

    @pytest.mark.parametrize("inside", [False, True])
    def test_batch_hard_soft_margin(self, seed: int, references: bool, inside: bool) -> None:
        embeddings, more = batch(references, seed)
        distance = LpDistance(power=2)
        mined = BatchHardMiner(distance=distance)(embeddings, UNEQUAL, **more)
        peer = TripletMarginLoss(0.4 * inside, smooth_loss=True, distance=distance)
        value = BatchHardLoss(0.4, soft_margin=True, margin_inside=inside)(embeddings, UNEQUAL, **more)
        assert_same(value, peer(embeddings, UNEQUAL, mined, **more), embeddings)

    def test_batch_all(self, seed: int, references: bool) -> None:
        embeddings, more = batch(references, seed)
        distance = LpDistance(power=2)
        expected = TripletMarginLoss(0.3, distance=distance)(embeddings, UNEQUAL, **more)
        loss = BatchAllLoss(0.3)
        assert_same(loss(embeddings, UNEQUAL, **more), expected, embeddings)
        counts = [
            len(TripletMarginMiner(0.3, kind, distance=distance)(embeddings, UNEQUAL, **more)[0])
            for kind in ("easy", "semihard", "hard")
        ]
        assert loss.shares is not None
        assert [s.item() for s in loss.shares] == pytest.approx([count / sum(counts) for count in counts])

    def test_semi_hard(self, seed: int, references: bool) -> None:
        embeddings, more = batch(references, seed)
        distance = LpDistance(power=2)
        mined = TripletMarginMiner(0.4, "semihard", distance=distance)(embeddings, UNEQUAL, **more)
        d = distance(embeddings, more.get("ref_emb", embeddings))
        nearest: dict[tuple[int, int], tuple[float, int]] = {}
        for a, p, n in zip(*(rows.tolist() for rows in mined), strict=True):
            nearest[a, p] = min(nearest.get((a, p), (math.inf, -1)), (d[a, n].item(), n))
        chosen = torch.tensor([(a, p, n) for (a, p), (_, n) in nearest.items()]).T
        expected = TripletMarginLoss(0.4, distance=distance)(embeddings, UNEQUAL, tuple(chosen), **more)
        value = SemiHardLoss(0.4)(embeddings, UNEQUAL, **more)
        assert value.item() > 0
        assert_same(value, expected, embeddings)


@all_losses
@references
def test_gradcheck(build: Callable[[], nn.Module], references: bool) -> None:
    embeddings, more = batch(references, seed=2)
    loss = build().eval()  # the same draws at every call
    assert torch.autograd.gradcheck(lambda e: loss(e, UNEQUAL, **more), embeddings)


@all_losses
@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [5, 5, 5, 5], [1]])
def test_without_triplets_loss_and_gradient_are_zero(
    build: Callable[[], nn.Module], labels: list[int]
) -> None:
    embeddings, loss = embeddings_of(len(labels)), build()
    value = loss(embeddings, torch.tensor(labels))
    assert value.item() == 0
    assert torch.autograd.grad(value, embeddings)[0].abs().max() == 0
    assert all(math.isnan(number) for number in told(loss))


@all_losses
def test_collapsed_zero_and_half_precision_embeddings_are_finite(build: Callable[[], nn.Module]) -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    for embeddings in (torch.ones(6, 4), torch.zeros(6, 4), torch.ones(6, 4).bfloat16()):
        embeddings.requires_grad_()
        value = build()(embeddings, labels)
        assert value.dtype == torch.float32
        assert torch.isfinite(value)
        assert torch.isfinite(torch.autograd.grad(value, embeddings)[0]).all()


@all_losses
def test_nan_is_told_and_length_does_not_matter(build: Callable[[], nn.Module]) -> None:
    assert_length_is_ignored_and_nan_told(build, embeddings_of(10), UNEQUAL)


def test_batch_all_counts_two_hundred_million_triplets() -> None:
    # 1,024 images of 4 identities; in 4-byte numbers the triplets would be 800 MB.
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(1024, 8, generator=generator).requires_grad_()
    labels = torch.arange(1024) % 4
    loss = BatchAllLoss(0.3)
    loss(embeddings, labels).backward()
    assert loss.shares is not None
    assert sum(share.item() for share in loss.shares) == pytest.approx(1)
    sample = torch.randint(0, 1024, (3, 100_000), generator=generator)
    a, p, n = sample[:, (labels[sample[0]] == labels[sample[1]]) & (labels[sample[0]] != labels[sample[2]])]
    unit = nn.functional.normalize(embeddings.detach(), dim=1)
    d_ap, d_an = (unit[a] - unit[p]).square().sum(dim=1), (unit[a] - unit[n]).square().sum(dim=1)
    assert loss.shares.hard.item() == pytest.approx((d_an < d_ap).float().mean().item(), abs=0.02)


def test_a_resumed_semi_hard_loss_draws_what_the_unbroken_one_would_have() -> None:
    embeddings = embeddings_of(10)
    unbroken, first, resumed = (SemiHardLoss(1.0, "random", seed=4) for _ in range(3))
    values = [unbroken(embeddings, UNEQUAL).item() for _ in range(6)]
    assert len(set(values)) > 2
    assert [first(embeddings, UNEQUAL).item() for _ in range(3)] == values[:3]
    resumed.load_state_dict(first.state_dict())
    assert [resumed(embeddings, UNEQUAL).item() for _ in range(3)] == values[3:]


@pytest.mark.parametrize("build", [BatchAllLoss, BatchHardLoss, SemiHardLoss])
@pytest.mark.parametrize("margin", [0.0, -0.1, math.nan, math.inf])
def test_bad_margins_are_named(build: Callable[[float], nn.Module], margin: float) -> None:
    with pytest.raises(InputError, match=f"margin={margin}"):
        build(margin)


def test_an_unknown_choice_is_named() -> None:
    with pytest.raises(InputError, match="negative='easiest' must be one of hardest, random"):
        SemiHardLoss(negative="easiest")
