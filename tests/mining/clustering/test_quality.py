"""Quality of a partition, against slow loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from subspace.mining.clustering.quality import adjusted_rand_index, subspace_similarity


def units(n: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, 6)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(max_examples=60)
@given(st.integers(2, 40), st.integers(1, 6), st.integers(1, 15), st.integers(0, 99))
def test_similarity_is_the_mean_over_all_pairs(n: int, subspaces: int, block: int, seed: int) -> None:
    means = units(n, seed)
    subspace_id = np.random.default_rng(seed).integers(0, subspaces, n)
    found = subspace_similarity((means[i : i + block] for i in range(0, n, block)), subspace_id)
    cosine = means.astype(np.float64) @ means.astype(np.float64).T
    pairs = [(i, j) for i in range(n) for j in range(i)]
    inside = [cosine[i, j] for i, j in pairs if subspace_id[i] == subspace_id[j]]
    between = [cosine[i, j] for i, j in pairs if subspace_id[i] != subspace_id[j]]
    for ours, slow in zip(found, (inside, between), strict=True):
        assert ours == pytest.approx(np.mean(slow) if slow else np.nan, abs=1e-6, nan_ok=True)


def test_nothing_has_no_similarity() -> None:
    assert np.isnan(subspace_similarity([], np.zeros(0, np.int64))).all()


@settings(max_examples=100)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 8), st.integers(0, 99))
def test_rand_index_is_that_of_scikit_learn(n: int, in_a: int, in_b: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.integers(0, in_a, n).astype(np.int32), random.integers(0, in_b, n).astype(np.int32)
    assert adjusted_rand_index(a, b) == pytest.approx(adjusted_rand_score(a, b), abs=1e-12)
    assert adjusted_rand_index(a, a) == 1
    assert adjusted_rand_index(a, in_a - 1 - a) == 1


def test_rand_index_of_many_subspaces_does_not_overflow() -> None:
    random = np.random.default_rng(0)
    a, b = (random.integers(0, 100_000, 200_000).astype(np.int32) for _ in range(2))
    assert adjusted_rand_index(a, b) == pytest.approx(adjusted_rand_score(a, b), abs=1e-12)
