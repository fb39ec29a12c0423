"""Similarities of a batch and its hardest triplets, against slow loops over all pairs and triplets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from subspace.mining.randomness import generator
from subspace.mining.triplets import Triplets
from subspace.train.monitoring.pictures import (
    GAP,
    LINE,
    TILE,
    HardestTriplets,
    hardest_triplets,
    pair_similarities,
    triplet_picture,
)


def batch(labels: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    random = generator(seed, "test")
    return torch.from_numpy(random.normal(size=(len(labels), 5)).astype(np.float32)), torch.tensor(labels)


def cosine(a: Tensor, b: Tensor) -> float:
    x, y = a.double().tolist(), b.double().tolist()
    dot = sum(p * q for p, q in zip(x, y, strict=True))
    return dot / math.sqrt(sum(p * p for p in x)) / math.sqrt(sum(q * q for q in y))


LABELS = [
    [3, 1, 3, 2, 1, 3],
    [0, 0, 0],  # no negatives
    [5, 4, 3],  # no positives
    [7, 7],
    [1, 2, 1, 2, 9, 9, 9, 4, 1, 2],
]


@pytest.mark.parametrize("labels", LABELS)
def test_all_pairs_of_a_small_batch_each_once(labels: list[int]) -> None:
    embeddings_BD, labels_B = batch(labels)
    found = pair_similarities(embeddings_BD, labels_B, generator(0, "pairs"))
    for same, similarities in ((True, found.positive), (False, found.negative)):
        expected = [
            cosine(embeddings_BD[i], embeddings_BD[j])
            for i, j in itertools.combinations(range(len(labels)), 2)
            if (labels[i] == labels[j]) == same
        ]
        np.testing.assert_allclose(np.sort(similarities), sorted(expected), atol=1e-6)


@pytest.mark.parametrize("pairs", [1, 2, 3, 10, 27, 28, 45, 100])
def test_of_a_large_batch_no_more_pairs_than_allowed_and_true_ones(pairs: int) -> None:
    labels = [i // 3 for i in range(12)]
    embeddings_BD, labels_B = batch(labels)
    found = pair_similarities(embeddings_BD, labels_B, generator(0, "pairs"), pairs)
    count = len(found.positive) + len(found.negative)
    # the largest m with m (m - 1) / 2 pairs
    assert count == max(m * (m - 1) // 2 for m in range(13) if m * (m - 1) // 2 <= pairs)
    for same, similarities in ((True, found.positive), (False, found.negative)):
        allowed = [
            cosine(embeddings_BD[i], embeddings_BD[j])
            for i, j in itertools.combinations(range(12), 2)
            if (labels[i] == labels[j]) == same
        ]
        for value in similarities:
            assert min(abs(value - other) for other in allowed) < 1e-6


def test_identities_are_drawn_whole_and_each_as_often() -> None:
    labels = [i % 8 for i in range(32)]  # 8 identities of 4 images, interleaved
    embeddings_BD, labels_B = batch(labels)
    drawn: dict[float, int] = {}
    for seed in range(200):  # 8 images: two whole identities, so 12 positive pairs
        found = pair_similarities(embeddings_BD, labels_B, generator(seed, "pairs"), 28)
        assert (len(found.positive), len(found.negative)) == (12, 16)
        for value in found.positive:
            drawn[round(float(value), 4)] = drawn.get(round(float(value), 4), 0) + 1
    assert len(drawn) == 8 * 6  # every positive pair came
    assert min(drawn.values()) > 25  # 50 on average
    assert max(drawn.values()) < 80


def slow_hardest(
    embeddings_BD: Tensor, labels: list[int], count: int
) -> list[tuple[float, tuple[int, int, int]]]:
    """The worst triplet of each identity, by trying all; then the worst of those."""
    worst: dict[int, tuple[float, tuple[int, int, int]]] = {}
    places = range(len(labels))
    for a, p, n in itertools.product(places, places, places):
        if a == p or labels[a] != labels[p] or labels[a] == labels[n]:
            continue
        violation = 2 * cosine(embeddings_BD[a], embeddings_BD[n]) - 2 * cosine(
            embeddings_BD[a], embeddings_BD[p]
        )
        if labels[a] not in worst or violation > worst[labels[a]][0]:
            worst[labels[a]] = (violation, (a, p, n))
    return sorted(worst.values(), reverse=True)[:count]


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hardest_triplets(labels: list[int], count: int, seed: int) -> None:
    embeddings_BD, labels_B = batch(labels, seed)
    found = hardest_triplets(embeddings_BD, labels_B, count)
    expected = slow_hardest(embeddings_BD, labels, count)
    assert list(zip(*(column.tolist() for column in found.rows), strict=True)) == [t for _, t in expected]
    np.testing.assert_allclose(found.d_ap - found.d_an, [v for v, _ in expected], atol=1e-5)
    for (a, p, _), d_ap in zip((t for _, t in expected), found.d_ap, strict=True):
        assert d_ap == pytest.approx(2 - 2 * cosine(embeddings_BD[a], embeddings_BD[p]), abs=1e-5)


@pytest.mark.parametrize(("tall", "wide"), [(7, 7), (32, 32), (112, 112), (256, 128), (40, 96)])
def test_the_picture_shows_the_images_where_they_belong(tall: int, wide: int) -> None:
    images_n = generator(0, "images").integers(0, 256, (6, 3, tall, wide), dtype=np.uint8)
    rows = [(0, 1, 2), (5, 4, 3)]
    triplets = HardestTriplets(
        Triplets(*(torch.tensor(column) for column in zip(*rows, strict=True))),
        np.array([0.5, 0.25], np.float32),
        np.array([0.125, 1.5], np.float32),
    )
    picture = triplet_picture(images_n, np.arange(6) + 1000, triplets)
    scale = max(1, round(TILE / wide))
    high, broad = tall * scale, wide * scale
    assert picture.shape == (2 * (high + 2 * LINE + GAP) + GAP, 3 * (broad + GAP) + GAP, 3)
    assert picture.dtype == np.uint8
    for line, triplet in enumerate(rows):
        for column, row in enumerate(triplet):
            top, left = GAP + line * (high + 2 * LINE + GAP), GAP + column * (broad + GAP)
            for y, x in itertools.product(range(0, high, 5), range(0, broad, 5)):
                shown = picture[top + y, left + x].tolist()
                assert shown == images_n[row, :, y // scale, x // scale].tolist()
            below = picture[top + high : top + high + 2 * LINE, left : left + broad]
            assert below.min() < 128 < below.max()  # dark letters on white


def test_captions_differ_with_what_they_say() -> None:
    images_n = np.zeros((3, 3, 96, 96), np.uint8)
    rows = Triplets(torch.tensor([0]), torch.tensor([1]), torch.tensor([2]))

    def picture(image_id: int, d_ap: float, d_an: float) -> np.ndarray:
        return triplet_picture(
            images_n,
            np.array([image_id, 1, 2]),
            HardestTriplets(rows, np.array([d_ap], np.float32), np.array([d_an], np.float32)),
        )

    plain = picture(0, 1.0, 1.0)
    width = 96 + GAP
    for column, other in enumerate((picture(7, 1.0, 1.0), picture(0, 2.0, 1.0), picture(0, 1.0, 2.0))):
        changed = np.flatnonzero((plain != other).any(axis=(0, 2)))
        assert column * width <= changed.min()
        assert changed.max() < (column + 1) * width + GAP
