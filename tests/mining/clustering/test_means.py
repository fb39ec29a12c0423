"""Identity means and spreads, against float64 loops that restate the definition."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.clustering.means import IdentityMeans, identity_means
from subspace.mining.errors import InputError

Block = tuple[np.ndarray, np.ndarray]


def units(n: int, d: int = 5, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def joined(blocks: list[Block]) -> IdentityMeans:
    parts = list(identity_means(blocks))
    return IdentityMeans(
        *(np.concatenate(column) for column in zip(*(vars(p).values() for p in parts), strict=True))
    )


def slow_means(identity_id: np.ndarray, embeddings: np.ndarray) -> list[tuple[int, int, np.ndarray, float]]:
    result = []
    for identity in sorted(set(identity_id.tolist())):
        own = [
            row.astype(np.float64)
            for row, owner in zip(embeddings, identity_id, strict=True)
            if owner == identity
        ]
        total = np.zeros(embeddings.shape[1])
        for row in own:
            total += row
        mean = total / np.sqrt(total @ total)
        result.append((identity, len(own), mean, sum(1 - row @ mean for row in own) / len(own)))
    return result


@given(
    counts=st.lists(st.integers(1, 6), min_size=1, max_size=8),
    cuts=st.sets(st.integers(0, 48)),
    empty=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_cutting_into_blocks_gives_the_means_of_the_definition(
    counts: list[int], cuts: set[int], empty: bool, seed: int
) -> None:
    ids = np.cumsum(np.random.default_rng(seed).integers(1, 4, len(counts)))  # gaps: not every id has images
    identity_id = np.repeat(ids, counts).astype(np.int32)
    embeddings = units(len(identity_id), seed=seed)
    borders = [0, *sorted(cut for cut in cuts if cut < len(identity_id)), len(identity_id)]
    blocks = [(identity_id[a:b], embeddings[a:b]) for a, b in pairwise(borders) if empty or a < b]

    means = joined(blocks)

    assert [column.dtype for column in vars(means).values()] == [np.int32, np.int32, np.float32, np.float32]
    expected = slow_means(identity_id, embeddings)
    assert means.identity_id.tolist() == [identity for identity, _, _, _ in expected]
    assert means.images.tolist() == [count for _, count, _, _ in expected]
    np.testing.assert_allclose(means.mean, [mean for _, _, mean, _ in expected], atol=1e-6)
    np.testing.assert_allclose(means.spread, [spread for _, _, _, spread in expected], atol=1e-6)


def test_identities_are_yielded_as_soon_as_they_are_complete() -> None:
    def blocks() -> Iterator[Block]:
        for identity in range(4):
            sent.append(identity)
            yield np.full(3, identity), units(3)

    sent: list[int] = []
    seen = [(means.identity_id.tolist(), len(sent)) for means in identity_means(blocks())]
    assert seen == [([0], 2), ([1], 3), ([2], 4), ([3], 4)]


def test_one_image_is_its_own_mean_without_spread() -> None:
    embeddings = units(3)
    means = joined([(np.array([2, 4, 9]), embeddings)])
    np.testing.assert_allclose(means.mean, embeddings, atol=1e-6)
    np.testing.assert_allclose(means.spread, 0, atol=1e-6)
    assert means.images.tolist() == [1, 1, 1]


def test_equal_images_have_no_spread_and_opposite_ones_all() -> None:
    row = units(1)
    means = joined([(np.array([0] * 7 + [1, 1]), np.concatenate((np.repeat(row, 7, axis=0), row, -row)))])
    np.testing.assert_allclose(means.mean[0], row[0], atol=1e-6)
    assert means.spread[0] == pytest.approx(0, abs=1e-6)
    assert means.mean[1].tolist() == [0] * 5
    assert means.spread[1] == 1


def test_half_precision_embeddings_are_summed_in_double() -> None:
    embeddings = np.repeat(units(1).astype(np.float16), 5000, axis=0)
    means = joined([(np.zeros(5000, np.int32), embeddings)])
    length = np.linalg.norm(embeddings[0].astype(np.float64))
    np.testing.assert_allclose(means.mean[0], embeddings[0].astype(np.float64) / length, atol=1e-6)


def test_no_images_give_no_means() -> None:
    assert list(identity_means([])) == []
    assert list(identity_means([(np.empty(0, np.int32), np.empty((0, 5), np.float32))])) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_not_finite_are_told_with_the_identity(value: float) -> None:
    embeddings = units(6)
    embeddings[[3, 5], 1] = value
    with pytest.raises(
        InputError, match=r"2 of 6 embeddings hold NaN or infinity \(first at identity 7\)"
    ) as error:
        list(identity_means([(np.array([0, 0, 1, 7, 7, 9]), embeddings)]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cut", [0, 2, 3])
def test_identities_out_of_order_are_refused_within_and_across_blocks(cut: int) -> None:
    identity_id, embeddings = np.array([1, 4, 4, 3]), units(4)
    with pytest.raises(InputError, match="sorted by identity_id"):
        list(identity_means([(identity_id[:cut], embeddings[:cut]), (identity_id[cut:], embeddings[cut:])]))
