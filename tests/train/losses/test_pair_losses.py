"""The pair losses, against pytorch-metric-learning where it has them and against slow loops in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import assert_length_is_ignored_and_nan_told
from pytorch_metric_learning import losses as pml
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.miners import MultiSimilarityMiner
from pytorch_metric_learning.reducers import DoNothingReducer
from torch import Tensor, nn

from subspace.mining.errors import InputError
from subspace.train.losses.pair_losses import (
    CirclePairLoss,
    ContrastiveLoss,
    MultiSimilarityLoss,
    PairwiseCosFaceLoss,
)

LOSSES: dict[str, Callable[[], nn.Module]] = {
    "contrastive": ContrastiveLoss,
    "contrastive, linear": lambda: ContrastiveLoss(pos_margin=0.1, squared=False, separate_means=True),
    "contrastive, separate": lambda: ContrastiveLoss(pos_margin=0.2, separate_means=True),
    "multi-similarity": MultiSimilarityLoss,
    "mined": lambda: MultiSimilarityLoss(mining_epsilon=0.1),
    "circle": CirclePairLoss,
    "cosface": PairwiseCosFaceLoss,
}
all_losses = pytest.mark.parametrize("build", LOSSES.values(), ids=LOSSES.keys())
UNEQUAL = torch.tensor([0, 0, 0, 1, 1, 2, -5, -5, -5, -5])
REFERENCES = torch.tensor([0, 1, 1, 2, 3, -5, -5])


def embeddings_of(n: int, d: int = 6, seed: int = 0, scale: float = 1.0, shift: float = 0.5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (scale * (torch.randn(n, d, generator=generator).double() + shift)).requires_grad_()


def gradient(loss: Tensor, embeddings: Tensor) -> Tensor:
    return torch.autograd.grad(loss, embeddings, retain_graph=True)[0]


def assert_same(value: Tensor, expected: Tensor, embeddings: Tensor) -> None:
    assert value.item() == pytest.approx(expected.item(), abs=1e-5, rel=1e-5)
    torch.testing.assert_close(
        gradient(value, embeddings), gradient(expected, embeddings), atol=1e-5, rtol=1e-4
    )


def slow(
    pair_terms: Callable[[Tensor, Tensor], Tensor | None], embeddings: Tensor, labels: list[int]
) -> list[Tensor]:
    """`pair_terms(cosines to positives, cosines to negatives)` of every anchor with a negative."""
    unit = [row / row.norm() for row in embeddings]
    terms = []
    for a, label in enumerate(labels):
        cosine = [unit[a] @ other for other in unit]
        positives = [c for j, c in enumerate(cosine) if j != a and labels[j] == label]
        negatives = [c for j, c in enumerate(cosine) if labels[j] != label]
        if negatives:
            empty = embeddings.new_empty(0)
            found = pair_terms(torch.stack(positives) if positives else empty, torch.stack(negatives))
            if found is not None:
                terms.append(found)
    return terms


@settings(max_examples=60)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    seed=st.integers(0, 999),
    twins=st.booleans(),
)
def test_values_follow_the_formulas(labels: list[int], seed: int, twins: bool) -> None:
    embeddings = embeddings_of(len(labels), seed=seed)
    if twins and labels.count(labels[0]) > 1:  # a duplicate within an identity
        twin = labels.index(labels[0], 1)
        embeddings = embeddings.detach().clone()
        embeddings[twin] = embeddings[0]
        embeddings.requires_grad_()
    given_labels = torch.tensor(labels)
    zero = 0 * embeddings.sum()

    def contrastive(p: Tensor, n: Tensor) -> Tensor:
        return torch.cat([(2 - 2 * p) / 2, (1.0 - (2 - 2 * n).sqrt()).clamp(min=0) ** 2 / 2])

    terms = slow(contrastive, embeddings, labels)
    assert_same(
        ContrastiveLoss(1.0)(embeddings, given_labels), torch.cat(terms).mean() if terms else zero, embeddings
    )

    def multi(p: Tensor, n: Tensor) -> Tensor:
        pull = torch.log(1 + torch.exp(-2 * (p - 0.5)).sum()) / 2
        return pull + torch.log(1 + torch.exp(50 * (n - 0.5)).sum()) / 50

    terms = slow(multi, embeddings, labels)
    assert_same(MultiSimilarityLoss()(embeddings, given_labels), sum(terms, zero) / len(labels), embeddings)

    def mined(p: Tensor, n: Tensor) -> Tensor | None:
        return multi(p[p - 0.1 < n.max()], n[n + 0.1 > p.min()]) if len(p) else None

    terms = slow(mined, embeddings, labels)
    value = MultiSimilarityLoss(mining_epsilon=0.1)(embeddings, given_labels)
    assert_same(value, sum(terms, zero) / len(labels), embeddings)

    def circle(p: Tensor, n: Tensor) -> Tensor | None:
        a_p, a_n = (1.25 - p.detach()).clamp(min=0), (n.detach() + 0.25).clamp(min=0)
        product = torch.exp(16 * a_n * (n - 0.25)).sum() * torch.exp(-16 * a_p * (p - 0.75)).sum()
        return torch.log1p(product) if len(p) else None

    terms = slow(circle, embeddings, labels)
    value = CirclePairLoss(gamma=16)(embeddings, given_labels)
    assert_same(value, torch.stack(terms).mean() if terms else zero, embeddings)

    def cosface(p: Tensor, n: Tensor) -> Tensor:
        top = torch.exp(32 * (p - 0.25))
        return -torch.log(top / (top + torch.exp(32 * n).sum()))

    terms = [term for term in slow(cosface, embeddings, labels) if len(term)]
    value = PairwiseCosFaceLoss()(embeddings, given_labels)
    assert_same(value, torch.cat(terms).mean() if terms else zero, embeddings)


references = pytest.mark.parametrize("references", [False, True], ids=["batch", "references"])


def batch(references: bool, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    more = {"ref_emb": embeddings_of(len(REFERENCES), seed=seed + 50).detach(), "ref_labels": REFERENCES}
    return embeddings_of(len(UNEQUAL), seed=seed), more if references else {}


@references
@pytest.mark.parametrize("seed", range(5))
class TestPytorchMetricLearningHasIt:
    def test_multi_similarity(self, seed: int, references: bool) -> None:
        embeddings, more = batch(references, seed)
        expected = pml.MultiSimilarityLoss(alpha=2, beta=50, base=0.5)(embeddings, UNEQUAL, **more)
        assert_same(MultiSimilarityLoss()(embeddings, UNEQUAL, **more), expected, embeddings)

    def test_multi_similarity_with_mining(self, seed: int, references: bool) -> None:
        embeddings, more = batch(references, seed)
        mined = MultiSimilarityMiner(epsilon=0.1)(embeddings, UNEQUAL, **more)
        expected = pml.MultiSimilarityLoss(alpha=2, beta=50, base=0.5)(embeddings, UNEQUAL, mined, **more)
        value = MultiSimilarityLoss(mining_epsilon=0.1)(embeddings, UNEQUAL, **more)
        assert_same(value, expected, embeddings)

    @pytest.mark.parametrize(("margin", "gamma"), [(0.25, 256), (0.4, 80)])
    def test_circle(self, seed: int, references: bool, margin: float, gamma: float) -> None:
        embeddings, more = batch(references, seed)
        expected = pml.CircleLoss(m=margin, gamma=gamma)(embeddings, UNEQUAL, **more)
        assert_same(CirclePairLoss(margin, gamma)(embeddings, UNEQUAL, **more), expected, embeddings)

    def test_pairwise_cosface_without_margin_is_nt_xent(self, seed: int, references: bool) -> None:
        embeddings, more = batch(references, seed)
        expected = pml.NTXentLoss(temperature=1 / 32)(embeddings, UNEQUAL, **more)
        assert_same(PairwiseCosFaceLoss(0.0, 32.0)(embeddings, UNEQUAL, **more), expected, embeddings)

    def test_contrastive_up_to_the_square_and_the_half(self, seed: int, references: bool) -> None:
        embeddings, more = batch(references, seed)
        peer = pml.ContrastiveLoss(neg_margin=1.2, distance=LpDistance(), reducer=DoNothingReducer())
        terms = peer(embeddings, UNEQUAL, **more)
        squares = torch.cat([terms["pos_loss"]["losses"], terms["neg_loss"]["losses"]]).square()
        assert_same(ContrastiveLoss(1.2)(embeddings, UNEQUAL, **more), squares.mean() / 2, embeddings)

    @pytest.mark.parametrize("pos_margin", [0.0, 0.6])
    def test_contrastive_as_it_is_there(self, seed: int, references: bool, pos_margin: float) -> None:
        embeddings, more = batch(references, seed)
        peer = pml.ContrastiveLoss(pos_margin=pos_margin, neg_margin=1.2)
        loss = ContrastiveLoss(1.2, pos_margin, squared=False, separate_means=True)
        assert_same(loss(embeddings, UNEQUAL, **more), peer(embeddings, UNEQUAL, **more), embeddings)

    @pytest.mark.parametrize("separate", [False, True])
    @pytest.mark.parametrize("squared", [False, True])
    def test_contrastive_with_a_margin_for_positives(
        self, seed: int, references: bool, squared: bool, separate: bool
    ) -> None:
        embeddings, more = batch(references, seed)
        peer = pml.ContrastiveLoss(pos_margin=0.6, neg_margin=1.2, reducer=DoNothingReducer())
        found = peer(embeddings, UNEQUAL, **more)
        terms = [found[name]["losses"] for name in ("pos_loss", "neg_loss")]
        if squared:
            terms = [term.square() / 2 for term in terms]
        expected = sum(term[term > 0].mean() for term in terms) if separate else torch.cat(terms).mean()
        loss = ContrastiveLoss(1.2, 0.6, squared=squared, separate_means=separate)
        assert_same(loss(embeddings, UNEQUAL, **more), expected, embeddings)


# Circle's weights are cut from the graph, so its gradient is not that of its value: compared above instead.
@pytest.mark.parametrize("name", ["contrastive", "multi-similarity", "mined", "cosface"])
@references
def test_gradcheck(name: str, references: bool) -> None:
    embeddings, more = batch(references, seed=3)
    loss = LOSSES[name]()
    assert torch.autograd.gradcheck(lambda e: loss(e, UNEQUAL, **more), embeddings)


@all_losses
@pytest.mark.parametrize("labels", [[5, 5, 5, 5], [1]])
def test_one_identity_or_one_image_gives_zero(build: Callable[[], nn.Module], labels: list[int]) -> None:
    embeddings = embeddings_of(len(labels))
    value = build()(embeddings, torch.tensor(labels))
    assert value.shape == ()
    assert value.item() == 0
    assert gradient(value, embeddings).abs().max() == 0


@pytest.mark.parametrize("build", [CirclePairLoss, PairwiseCosFaceLoss])
def test_singletons_alone_give_zero_where_a_positive_is_needed(build: Callable[[], nn.Module]) -> None:
    embeddings = embeddings_of(4)
    value = build()(embeddings, torch.tensor([0, 1, 2, 3]))
    assert value.item() == 0
    assert gradient(value, embeddings).abs().max() == 0


@all_losses
def test_collapsed_zero_and_half_precision_embeddings_are_finite(build: Callable[[], nn.Module]) -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    for embeddings in (torch.ones(6, 4), torch.zeros(6, 4), torch.ones(6, 4).bfloat16()):
        embeddings.requires_grad_()
        value = build()(embeddings, labels)
        assert value.dtype == torch.float32
        assert torch.isfinite(value)
        assert torch.isfinite(gradient(value, embeddings)).all()


@all_losses
def test_extreme_similarities_do_not_overflow(build: Callable[[], nn.Module]) -> None:
    worst = torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]], requires_grad=True)
    value = build()(worst, torch.tensor([0, 0, 1, 1]))
    assert torch.isfinite(value)
    assert torch.isfinite(gradient(value, worst)).all()


@all_losses
def test_the_length_of_an_embedding_does_not_matter_and_nan_is_told(build: Callable[[], nn.Module]) -> None:
    assert_length_is_ignored_and_nan_told(build, embeddings_of(10), UNEQUAL)


@all_losses
def test_there_is_nothing_to_save_and_no_triplet_statistics(build: Callable[[], nn.Module]) -> None:
    loss = build()
    loss(embeddings_of(10), UNEQUAL)
    assert not loss.state_dict()
    assert loss.statistics is None


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ContrastiveLoss(0.0), "margin=0.0"),
        (lambda: ContrastiveLoss(math.nan), "margin=nan"),
        (lambda: ContrastiveLoss(pos_margin=2), "pos_margin=2"),
        (lambda: MultiSimilarityLoss(alpha=-1), "alpha=-1"),
        (lambda: MultiSimilarityLoss(beta=0), "beta=0"),
        (lambda: MultiSimilarityLoss(base=2), "base=2"),
        (lambda: MultiSimilarityLoss(mining_epsilon=math.nan), "mining_epsilon=nan"),
        (lambda: CirclePairLoss(margin=1.5), "margin=1.5"),
        (lambda: CirclePairLoss(gamma=0), "gamma=0"),
        (lambda: PairwiseCosFaceLoss(margin=-0.1), "margin=-0.1"),
        (lambda: PairwiseCosFaceLoss(scale=math.inf), "scale=inf"),
    ],
)
def test_bad_settings_are_named(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()
