"""Turns of the seeds: everybody once, by subspace, in the order asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.planning.seed_turns import SeedTurns, batches_of, members_of


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 4)), min_size=1, max_size=30))
def test_members_are_grouped_in_ascending_order(homes: list[tuple[int, int]]) -> None:
    first, second = np.array(homes, np.int32).T
    alone, both = members_of(first), members_of(first, second)
    for subspace in range(len(alone.size)):
        assert alone.of(subspace).tolist() == [i for i, (a, _) in enumerate(homes) if a == subspace]
    for subspace in range(len(both.size)):
        assert both.of(subspace).tolist() == [i for i, pair in enumerate(homes) if subspace in pair]
    assert both.identity.dtype == np.int32


@given(
    sizes=st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any),
    seeds=st.integers(1, 7),
    order=st.sampled_from(["interleaved", "sequential"]),
    window=st.none() | st.integers(1, 9),
)
def test_every_member_has_one_turn_of_its_own(
    sizes: list[int], seeds: int, order: Any, window: int | None
) -> None:
    subspace_id = (
        np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)
    )
    members = members_of(subspace_id)
    turns = SeedTurns(members, seeds, order, window, np.random.default_rng(1))
    whole = turns[:]
    assert len(turns) == batches_of(members, seeds).sum() == sum(-(-size // seeds) for size in sizes)
    assert sorted(whole.seed[whole.own].tolist()) == list(range(len(subspace_id)))
    assert (subspace_id[whole.seed] == whole.subspace[:, None]).all()
    for row, own, home in zip(whole.seed, whole.own, whole.subspace, strict=True):
        assert own.any()
        assert sizes[home] < seeds or len(set(row.tolist())) == seeds
    part = turns[1:3]
    np.testing.assert_array_equal(part.seed, whole.seed[1:3])


def test_batches_are_in_proportion_to_identities_and_shuffled_or_in_sequence() -> None:
    sizes = [80, 240, 480]
    subspace_id = np.repeat(np.arange(3, dtype=np.int32), sizes)
    for order, changes in (("sequential", 2), ("interleaved", 40)):
        turns = SeedTurns(members_of(subspace_id), 8, order, None, np.random.default_rng(0))[:]  # pyright: ignore[reportArgumentType]
        assert np.bincount(turns.subspace).tolist() == [10, 30, 60]
        found = int((np.diff(turns.subspace) != 0).sum())
        assert found == changes if order == "sequential" else found > changes
        if order == "interleaved":  # each part of a pass has its share
            assert np.bincount(turns.subspace[:50], minlength=3) == pytest.approx([5, 15, 30], abs=6)


@pytest.mark.parametrize("window", [16, 64])
def test_a_window_keeps_the_order_of_the_manifest(window: int) -> None:
    turns = SeedTurns(
        members_of(np.zeros(1024, np.int32)), 8, "sequential", window, np.random.default_rng(5)
    )[:]
    place = turns.seed.ravel()
    moved = (place - np.arange(1024)) % 1024  # from some member on, with a shuffle within the window
    start = int(np.median(moved))
    assert np.abs((moved - start + 512) % 1024 - 512).max() < 2 * window
    other = SeedTurns(
        members_of(np.zeros(1024, np.int32)), 8, "sequential", window, np.random.default_rng(6)
    )[:]
    assert other.seed.tolist() != turns.seed.tolist()
