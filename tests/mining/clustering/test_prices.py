"""Prices and repair: near the exact optimum, never worse than chance, always within the bound.

Covers mining/clustering/assignment.py as well.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_embeddings import units
from scipy.optimize import linear_sum_assignment

from subspace.mining.clustering.assignment import Assignment, first_of_each
from subspace.mining.clustering.candidates import Candidates
from subspace.mining.clustering.prices import Bound, choose, find_prices


def candidates(n: int, m: int, c: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Candidates, all similarities and the centroids, for means that crowd around the first centroids."""
    centroids = units(m, 6, seed)
    crowd = np.random.default_rng(seed).integers(0, max(1, m // 2), n)
    means = centroids[crowd] + 0.7 * units(n, 6, seed + 1)
    similarity = (means / np.linalg.norm(means, axis=1, keepdims=True)) @ centroids.T
    ids = np.argsort(-similarity, axis=1, kind="stable")[:, :c].astype(np.int32)
    return ids, np.take_along_axis(similarity, ids, 1), similarity, centroids


def balanced(
    ids: np.ndarray, similarity: np.ndarray, bound: Bound, centroids: np.ndarray, steps: int = 60
) -> Assignment:
    found = Candidates.of_all(torch.from_numpy(ids), torch.from_numpy(similarity))
    lists = found.id_nc, found.similarity_nc
    price = find_prices(*lists, bound, torch.zeros(len(centroids)), steps=steps)
    assigned = Assignment(found, choose(*lists, price), torch.from_numpy(centroids))
    assigned.repair(bound)
    return assigned


@pytest.mark.parametrize("seed", range(5))
def test_mean_similarity_is_near_the_exact_optimum(seed: int) -> None:
    """The optimum by the Hungarian method, with every centroid standing there once for each of its places."""
    n, m = 240, 6
    ids, similarity, every, centroids = candidates(n, m, m, seed)
    assigned = balanced(ids, similarity, Bound.around(n, m, 0), centroids)
    assert assigned.sizes.tolist() == [n // m] * m
    rows, places = linear_sum_assignment(-np.repeat(every, n // m, axis=1))
    optimum = every[rows, places // (n // m)].mean()
    assert optimum - 0.01 < assigned.similarity.mean() <= optimum + 1e-6


@pytest.mark.parametrize("within", [0.0, 0.05, np.inf])
def test_no_price_goes_farther_than_it_may(within: float) -> None:
    """The last two subspaces are on nobody's list, and would get cheaper without end."""
    ids, similarity, _, _ = candidates(500, 10, 4, 0)
    kept = ids < 8
    lists = torch.from_numpy(np.where(kept, ids, 0)), torch.from_numpy(np.where(kept, similarity, -np.inf))
    begun = torch.linspace(-0.1, 0.1, 10)
    change = find_prices(*lists, Bound.around(500, 10, 0.02), begun, steps=60, within=within) - begun
    assert change.abs().max() <= within + 1e-6
    assert within == np.inf or change[8:].tolist() == pytest.approx([-within, -within], abs=1e-6)
    assert within < np.inf or change[8:].max() < -0.3


@pytest.mark.parametrize("seed", range(5))
def test_prices_beat_repair_alone_and_repair_alone_beats_chance(seed: int) -> None:
    n, m = 2000, 20
    ids, similarity, every, centroids = candidates(n, m, 8, seed)
    bound = Bound.around(n, m, 0.02)
    priced, repaired = (balanced(ids, similarity, bound, centroids, steps) for steps in (60, 0))
    chance = every[np.arange(n), np.random.default_rng(seed).permutation(n) % m].mean()
    whole = [every[np.arange(n), found.subspace_id.numpy()].mean() for found in (priced, repaired)]
    assert whole[0] >= whole[1] > chance


@settings(max_examples=100)
@given(
    n=st.integers(1, 80),
    m=st.integers(1, 40),
    c=st.integers(1, 6),
    tolerance=st.sampled_from([0, 0.02, 0.5, 2]),
    choice=st.sampled_from([0, 0.3, 1]),
    seed=st.integers(0, 999),
)
def test_repair_meets_the_bound_from_any_start(
    n: int, m: int, c: int, tolerance: float, choice: float, seed: int
) -> None:
    m = min(n, m)
    ids, similarity, every, centroids = candidates(n, m, min(c, m), seed)
    random = np.random.default_rng(seed)
    gone = random.random(ids.shape) < 0.3  # empty places, as cells with few centroids leave
    gone[:, 0] = False
    similarity = np.where(gone, -np.inf, similarity).astype(np.float32)
    bound = Bound.around(n, m, tolerance)
    found = Candidates.of_all(torch.from_numpy(ids), torch.from_numpy(similarity))
    with_a_choice = torch.from_numpy(np.flatnonzero(random.random(n) < choice))
    found = Candidates(
        found.id,
        found.similarity,
        with_a_choice,
        found.id_nc[with_a_choice],
        found.similarity_nc[with_a_choice],
    )
    assigned = Assignment(
        found, torch.zeros(len(with_a_choice), dtype=torch.int64), torch.from_numpy(centroids)
    )
    assigned.repair(bound)
    subspace_id, sizes = assigned.subspace_id.numpy(), assigned.sizes.numpy()
    np.testing.assert_array_equal(sizes, np.bincount(subspace_id, minlength=m))
    assert not bound.excess(sizes).any()
    known = ~assigned.strangers.numpy()
    np.testing.assert_allclose(
        assigned.similarity.numpy()[known], every[np.arange(n), subspace_id][known], atol=1e-6
    )


@given(n=st.integers(1, 10_000), m=st.integers(1, 500), tolerance=st.floats(0, 5))
def test_a_bound_can_always_be_met(n: int, m: int, tolerance: float) -> None:
    m = min(n, m)
    bound = Bound.around(n, m, tolerance)
    assert 1 <= bound.low <= n / m <= bound.high
    assert m * bound.low <= n <= m * bound.high
    if tolerance == 0:
        assert bound.high - bound.low <= 1


@given(groups=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30), seed=st.integers(0, 99))
def test_first_of_each_takes_the_cheapest_of_every_group(groups: list[tuple[int, int]], seed: int) -> None:
    group, cost = (np.array([pair[k] for pair in groups], int) for k in (0, 1))
    limit = np.random.default_rng(seed).integers(-2, 5, 4)
    expected = []
    for g in range(4):
        rows = sorted((cost[i], i) for i in range(len(group)) if group[i] == g)
        expected += [i for _, i in rows[: max(0, limit[g])]]
    tensors = (torch.from_numpy(column) for column in (group, cost, limit))
    assert first_of_each(*tensors).tolist() == sorted(expected)
