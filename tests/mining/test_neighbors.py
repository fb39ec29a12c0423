"""Nearest identities and recall, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subspace.mining.neighbors import batch_hardness, nearest_in_subspace, neighbor_recall


def units(n: int, d: int = 8, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def brute_force(means: np.ndarray, i: int, candidates: list[int]) -> list[tuple[float, int]]:
    """Cosine and row of every other candidate, nearest first."""
    pairs = [
        (float(means[i].astype(np.float64) @ means[j].astype(np.float64)), j) for j in candidates if j != i
    ]
    return sorted(pairs, reverse=True)


@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, 40), subspaces=st.integers(1, 8), k=st.integers(1, 12), seed=st.integers(0, 999))
def test_neighbors_are_the_nearest_of_the_own_subspace(n: int, subspaces: int, k: int, seed: int) -> None:
    means = units(n, seed=seed)
    subspace_id = np.random.default_rng(seed).integers(0, subspaces, n).astype(np.int32)
    found = nearest_in_subspace(means, subspace_id, k)
    assert found.shape == (n, k)
    assert found.dtype == np.int32
    for i in range(n):
        nearest = brute_force(means, i, np.flatnonzero(subspace_id == subspace_id[i]).tolist())
        expected = [j for _, j in nearest[:k]]
        assert found[i].tolist() == expected + [-1] * (k - len(expected))


@settings(deadline=None, max_examples=50)
@given(n=st.integers(2, 30), distinct=st.integers(1, 5), k=st.integers(1, 8), seed=st.integers(0, 999))
def test_duplicates_are_neighbors_and_nobody_is_its_own(n: int, distinct: int, k: int, seed: int) -> None:
    means = np.eye(5, dtype=np.float32)[np.random.default_rng(seed).integers(0, distinct, n)]
    found = nearest_in_subspace(means, np.zeros(n, np.int32), k)
    for i in range(n):
        others = found[i][found[i] >= 0].tolist()
        assert i not in others
        assert len(set(others)) == len(others) == min(k, n - 1)
        similarities = [float(means[i] @ means[j]) for j in others]
        assert similarities == [similarity for similarity, _ in brute_force(means, i, list(range(n)))[:k]]


def test_an_identity_alone_in_its_subspace_has_no_neighbors() -> None:
    assert nearest_in_subspace(units(3), np.array([5, 1, 9], np.int32), 2).tolist() == [[-1, -1]] * 3


def slow_recall(means: np.ndarray, subspace_id: np.ndarray, k: int) -> float:
    hits = [
        subspace_id[i] == subspace_id[j]
        for i in range(len(means))
        for _, j in brute_force(means, i, list(range(len(means))))[:k]
    ]
    return sum(hits) / len(hits)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(2, 30), subspaces=st.integers(1, 5), k=st.integers(1, 40), seed=st.integers(0, 999))
def test_recall_is_the_share_of_true_neighbors_in_the_own_subspace(
    n: int, subspaces: int, k: int, seed: int
) -> None:
    means = units(n, seed=seed)
    subspace_id = np.random.default_rng(seed).integers(0, subspaces, n)
    assert neighbor_recall(means, subspace_id, k=k) == pytest.approx(
        slow_recall(means, subspace_id, min(k, n - 1))
    )


def test_recall_is_one_for_a_perfect_partition_and_one_in_m_for_a_random_one() -> None:
    owner = np.repeat(np.arange(20), 50)
    means = units(20, d=64)[owner] + 0.01 * units(1000, d=64, seed=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert neighbor_recall(means, owner, k=10) == 1.0
    assert neighbor_recall(means, np.zeros(1000, int), k=10) == 1.0
    assert neighbor_recall(means, np.arange(1000), k=10) == 0.0
    shuffled = np.random.default_rng(0).permutation(owner)
    assert neighbor_recall(means, shuffled, k=10) == pytest.approx(1 / 20, abs=0.01)


def test_recall_of_a_sample_estimates_that_of_all_and_is_seeded() -> None:
    means, subspace_id = units(2000), np.random.default_rng(0).integers(0, 3, 2000)
    subspace_id[means[:, 0] > 0] = 0
    whole = neighbor_recall(means, subspace_id, queries=2000)
    drawn = [neighbor_recall(means, subspace_id, queries=200, seed=seed) for seed in range(5)]
    assert drawn == pytest.approx([whole] * 5, abs=0.08)
    assert len(set(drawn)) > 1
    assert drawn[3] == neighbor_recall(means, subspace_id, queries=200, seed=3)


def test_recall_of_a_single_identity_is_perfect() -> None:
    assert neighbor_recall(units(1), np.zeros(1, int)) == 1.0


@settings(deadline=None)
@given(batches=st.integers(1, 4), p=st.integers(2, 6), seed=st.integers(0, 99))
def test_hardness_is_the_mean_cosine_to_the_nearest_of_the_batch(batches: int, p: int, seed: int) -> None:
    means = units(12, seed=seed)
    rng = np.random.default_rng(seed)
    plan = np.stack([rng.permutation(12)[:p] for _ in range(batches)])
    expected = [brute_force(means, i, batch.tolist())[0][0] for batch in plan for i in batch]
    assert batch_hardness(means, plan) == pytest.approx(np.mean(expected), abs=1e-6)
