"""Who may not meet: the look-ups by slow loops."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from subspace.mining.planning.pairs_apart import PairsApart

NUMBERS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20)
SEEDS = st.integers(0, 99)


def pairs_of(drawn: list[tuple[int, int]]) -> np.ndarray:
    return np.array([pair for pair in drawn if pair[0] != pair[1]], np.int64).reshape(-1, 2)


def meets(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(a, b) for pair in pairs.tolist() for a, b in (pair, pair[::-1])}


@given(NUMBERS, st.lists(st.integers(0, 9), max_size=6))
def test_partners_are_those_of_the_pairs(drawn: list[tuple[int, int]], identities: list[int]) -> None:
    pairs = pairs_of(drawn)
    found = PairsApart(pairs, 10).partners(np.array(identities, np.int64))
    assert found.tolist() == [b for a in identities for b in range(10) if (a, b) in meets(pairs)]


@settings(max_examples=200)
@given(NUMBERS, st.integers(1, 3), st.integers(1, 6), SEEDS)
def test_of_two_who_may_not_meet_the_later_one_clashes(
    drawn: list[tuple[int, int]], batches: int, size: int, seed: int
) -> None:
    random, pairs = np.random.default_rng(seed), pairs_of(drawn)
    identity, own = random.integers(-1, 10, (batches, size)), random.random((batches, size)) < 0.3
    expected = [
        [
            any(
                (row[j], row[i]) in meets(pairs) and (not turns[j], j) < (not turns[i], i)
                for j in range(size)
            )
            for i in range(size)
        ]
        for row, turns in zip(identity.tolist(), own.tolist(), strict=True)
    ]
    assert PairsApart(pairs, 10).clashes(identity, own).tolist() == expected


@settings(max_examples=200)
@given(NUMBERS, st.integers(0, 4), st.integers(0, 4), SEEDS)
def test_the_nearest_that_may_meet_are_taken(
    drawn: list[tuple[int, int]], size: int, spare: int, seed: int
) -> None:
    random, pairs = np.random.default_rng(seed), pairs_of(drawn)
    others = np.stack([random.permutation(np.delete(np.arange(10), i)) for i in range(10)])
    neighbors = others[:, : size + spare].astype(np.int32)
    neighbors[:, size + random.integers(spare + 1) :] = -1
    found = PairsApart(pairs, 10).nearest_apart(neighbors, size)
    for identity, (near, taken) in enumerate(zip(neighbors.tolist(), found.tolist(), strict=True)):
        group = [identity]
        for candidate in near:
            if candidate >= 0 and not any((one, candidate) in meets(pairs) for one in group):
                group.append(candidate)
        assert taken == (group[1:] + [-1] * size)[:size]
