"""Decks: every image before any again, every set of images equally often."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise
from math import comb

import numpy as np
import pytest
from array_checks import assert_plausible
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.manifest import IdentityImages
from subspace.mining.planning.image_decks import CHUNK, ImageDecks


def images_of(counts: list[int]) -> IdentityImages:
    offset = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return IdentityImages(np.arange(len(counts), dtype=np.int32), offset, np.arange(offset[-1]) * 3 + 1)


@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=6),
    st.integers(1, 9),
    st.integers(1, 6),
    st.none() | st.integers(1, 5),
    st.data(),
)
def test_all_images_are_dealt_before_any_again(
    counts: list[int], K: int, blocks: int, max_images: int | None, data: st.DataObject
) -> None:
    images, random = images_of(counts), np.random.default_rng(0)
    before = images.image_id.copy()
    decks = ImageDecks(images, max_images, np.random.default_rng(1))
    dealt: dict[int, list[int]] = {identity: [] for identity in range(len(counts))}
    for _ in range(blocks):
        places = data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=12))
        rows = decks.deal(np.array(places, np.int64), K, random)
        assert rows.shape == (len(places), K)
        for identity, row in zip(places, rows.tolist(), strict=True):
            size = min(counts[identity], max_images or counts[identity])
            times = Counter(row)
            assert max(times.values()) - (min(times.values()) if len(times) == size else 0) <= 1
            dealt[identity] += row
    for identity, (first, last) in enumerate(pairwise(images.offset)):
        size = min(counts[identity], max_images or counts[identity])
        cycles = [dealt[identity][i : i + size] for i in range(0, len(dealt[identity]), size)]
        assert all(len(set(cycle)) == len(cycle) for cycle in cycles)  # cycle after cycle, in this very order
        assert set(dealt[identity]) <= set(images.image_id[first:last].tolist())
        assert len(set(dealt[identity])) <= size
    np.testing.assert_array_equal(images.image_id, before)


@pytest.mark.parametrize(("owned", "K"), [(5, 1), (5, 2), (7, 3), (4, 4), (5, 4), (2, 3), (3, 7)])
def test_images_and_sets_of_images_are_equally_frequent(owned: int, K: int) -> None:
    identities, times = 2000, 60
    decks = ImageDecks(images_of([owned] * identities), None, np.random.default_rng(0))
    everybody, random = np.arange(identities), np.random.default_rng(3)
    rows = np.stack([decks.deal(everybody, K, random) for _ in range(times)]) // 3 % owned
    # Rows of one identity depend on each other (that is the point), so each chi-square has one row of each.
    for number in (0, 1, 2, 7, times - 1):
        sets = Counter(tuple(sorted(row)) for row in rows[number].tolist())
        assert len(sets) == comb(owned, K % owned)
        if len(sets) > 1:
            assert_plausible(np.array([*sets.values()]))
    for drawn in rows.transpose(1, 0, 2).reshape(identities, -1):
        used = np.bincount(drawn, minlength=owned)
        assert used.max() - used.min() <= 1
    pairs = Counter(pair for row in rows.reshape(-1, K).tolist() for pair in combinations(sorted({*row}), 2))
    if K > 1:
        assert len(pairs) == comb(owned, 2)
        assert max(pairs.values()) < 1.05 * min(pairs.values())


def test_places_beyond_a_chunk_are_dealt_like_the_first() -> None:
    identities = 2 * CHUNK + 5
    decks = ImageDecks(images_of([3] * identities), None, np.random.default_rng(0))
    places = np.random.default_rng(1).permutation(np.repeat(np.arange(identities), 3))
    rows = decks.deal(places, 1, np.random.default_rng(2)).ravel()
    assert len(np.unique(rows)) == 3 * identities  # three turns of one image: each of the three once
    np.testing.assert_array_equal((rows - 1) // 9, places)


def test_a_deck_of_some_images_is_a_fair_choice() -> None:
    images = images_of([6] * 3000)
    chosen = []
    for seed in (1, 2):
        decks = ImageDecks(images, 2, np.random.default_rng(seed))
        rows = decks.deal(np.arange(3000), 2, np.random.default_rng(0)) // 3 % 6
        chosen.append({(identity, image) for identity, row in enumerate(rows.tolist()) for image in row})
        assert_plausible(np.array([*Counter(tuple(sorted(row)) for row in rows.tolist()).values()]))
    assert len(chosen[0]) == len(chosen[1]) == 6000
    assert 1700 < len(chosen[0] & chosen[1]) < 2300  # another choice: a third in common by chance


def test_large_image_ids_are_kept() -> None:
    images = IdentityImages(np.arange(1, dtype=np.int32), np.array([0, 2]), np.array([5, 2**40]))
    decks = ImageDecks(images, None, np.random.default_rng(0))
    assert set(decks.deal(np.zeros(1, np.int64), 2, np.random.default_rng(0)).ravel()) == {5, 2**40}
