"""Nearest identities and recall, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_embeddings import units

from subspace.mining.clustering import mean_blocks
from subspace.mining.clustering.neighbors import (
    nearest_in_subspace,
    neighbor_recall,
    neighbors_by_subspace,
    sampled_neighbors,
)


def brute_force(means: np.ndarray, i: int, candidates: list[int]) -> list[tuple[float, int]]:
    """Cosine and row of every other candidate, nearest first."""
    pairs = [
        (float(means[i].astype(np.float64) @ means[j].astype(np.float64)), j) for j in candidates if j != i
    ]
    return sorted(pairs, reverse=True)


@settings(max_examples=50)
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


@settings(max_examples=50)
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


@settings(max_examples=30)
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


@settings(max_examples=40)
@given(n=st.integers(1, 60), k=st.integers(1, 8), block=st.integers(1, 20), seed=st.integers(0, 99))
def test_sampled_neighbors_do_not_depend_on_blocks(n: int, k: int, block: int, seed: int) -> None:
    means = units(n, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mean_blocks, "ROWS_PER_BLOCK", block)
        found = sampled_neighbors(means, k=k, queries=25, seed=seed)
    assert len(found.sample) == min(25, n)
    assert found.found.shape == (len(found.sample), min(k, n - 1))
    for i, neighbors in zip(found.sample.tolist(), found.found.tolist(), strict=True):
        assert neighbors == [j for _, j in brute_force(means, i, list(range(n)))[:k]]


@settings(max_examples=40)
@given(n=st.integers(2, 40), subspaces=st.integers(1, 5), seed=st.integers(0, 99))
def test_recall_with_overlap_and_gain_follow_the_definition(n: int, subspaces: int, seed: int) -> None:
    means, random = units(n, seed=seed), np.random.default_rng(seed)
    subspace_id = random.integers(0, subspaces, n).astype(np.int32)
    second_id = random.integers(-1, subspaces, n).astype(np.int32)
    neighbors = sampled_neighbors(means, k=3, queries=n, seed=seed)
    hits, gains = [], []
    for i in range(n):
        nearest = [j for _, j in brute_force(means, i, list(range(n)))[:3]]
        homes = [{subspace_id[j], second_id[j]} - {-1} for j in range(n)]
        hits += [bool(homes[i] & homes[j]) for j in nearest]
        inside = np.mean([subspace_id[i] == subspace_id[j] for j in nearest])
        gains.append(inside / (np.sum(subspace_id == subspace_id[i]) / n))
    assert neighbors.recall(subspace_id, second_id) == pytest.approx(np.mean(hits))
    assert neighbors.gain(subspace_id) == pytest.approx(np.mean(gains))


def test_the_gain_of_equal_subspaces_is_recall_times_their_number() -> None:
    means, subspace_id = units(60), np.repeat(np.arange(6), 10).astype(np.int32)
    neighbors = sampled_neighbors(means, k=5, queries=60)
    assert neighbors.gain(subspace_id) == pytest.approx(6 * neighbors.recall(subspace_id))
    assert neighbors.gain(np.zeros(60, np.int32)) == 1


def test_neighbors_come_with_their_cosines() -> None:
    means = units(30)
    for members, neighbor, similarity in neighbors_by_subspace(means, np.arange(30) % 3, 4):
        assert neighbor.shape == similarity.shape == (10, 4)
        np.testing.assert_allclose(
            np.einsum("nd,nkd->nk", means[members], means[neighbor]), similarity, atol=1e-6
        )
