"""Clustering of identity means: a partition by nearest unit centroid that finds planted look-alikes again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, homogeneity_score

from subspace.mining.errors import InputError
from subspace.mining.subspaces import Subspaces, cluster_identities


def units(n: int, d: int = 8, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def assert_partition(found: Subspaces, means: np.ndarray, at_most: int) -> None:
    """Every identity is at its nearest centroid (ties within rounding), and no centroid is without identities."""
    m = len(found.centroids)
    assert 1 <= m <= at_most
    assert found.subspace_id.shape == found.similarity.shape == (len(means),)
    assert (found.subspace_id.dtype, found.similarity.dtype, found.centroids.dtype) == (
        np.int32,
        np.float32,
        np.float32,
    )
    assert set(found.subspace_id.tolist()) == set(range(m))
    assert found.sizes.tolist() == [int((found.subspace_id == j).sum()) for j in range(m)]
    similarity = means.astype(np.float64) @ found.centroids.astype(np.float64).T
    own = similarity[np.arange(len(means)), found.subspace_id]
    np.testing.assert_allclose(own, similarity.max(axis=1), atol=1e-6)
    np.testing.assert_allclose(own, found.similarity, atol=1e-6)


def assert_same(a: Subspaces, b: Subspaces) -> None:
    for name in vars(a):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 60),
    distinct=st.integers(1, 60),
    ids_per_subspace=st.one_of(st.integers(1, 70), st.just("all")),
    seed=st.integers(0, 99),
)
def test_every_identity_is_at_its_nearest_unit_centroid(
    n: int, distinct: int, ids_per_subspace: Any, seed: int
) -> None:
    pool = units(distinct, seed=seed)
    means = pool[np.random.default_rng(seed).integers(0, distinct, n)]
    found = cluster_identities(means, ids_per_subspace=ids_per_subspace, niter=5, seed=seed)
    wanted = 1 if ids_per_subspace == "all" else max(1, round(n / ids_per_subspace))
    assert_partition(found, means, min(wanted, len(np.unique(means, axis=0))))
    np.testing.assert_allclose(np.linalg.norm(found.centroids, axis=1), 1, atol=1e-5)


def test_the_number_of_subspaces_follows_their_size() -> None:
    means = units(1000)
    for size, count in ((10, 100), (100, 10), (300, 3), (1000, 1), (5000, 1), ("all", 1)):
        assert len(cluster_identities(means, ids_per_subspace=size, niter=2).sizes) == count


def test_one_subspace_has_the_direction_of_the_sum_as_centroid() -> None:
    means = units(50)
    total = means.astype(np.float64).sum(axis=0)
    for size in (50, "all"):
        found = cluster_identities(means, ids_per_subspace=size)
        np.testing.assert_allclose(found.centroids, [total / np.linalg.norm(total)], atol=1e-6)


def test_subspaces_of_one_identity_are_the_identities() -> None:
    means = units(40)
    found = cluster_identities(means, ids_per_subspace=1)
    assert found.sizes.tolist() == [1] * 40
    np.testing.assert_allclose(found.centroids[found.subspace_id], means, atol=1e-6)


@pytest.mark.parametrize("ids_per_subspace", [1, 5, 10, "all"])
def test_equal_means_share_a_subspace(ids_per_subspace: Any) -> None:
    means = np.repeat(units(1), 20, axis=0)
    found = cluster_identities(means, ids_per_subspace=ids_per_subspace)
    assert found.sizes.tolist() == [20]
    np.testing.assert_allclose(found.similarity, 1, atol=1e-6)


@pytest.mark.parametrize("ids_per_subspace", [1, 5, "all"])
def test_zero_means_are_placed_somewhere(ids_per_subspace: Any) -> None:
    """The mean of images that cancel out is zero; no direction is nearest to it."""
    for zeros in (1, 3, 20):
        means = units(20)
        means[:zeros] = 0
        found = cluster_identities(means, ids_per_subspace=ids_per_subspace)
        assert_partition(found, means, 20)
        assert np.isfinite(found.centroids).all()
        assert np.linalg.norm(found.centroids, axis=1).max() < 1 + 1e-5


def test_opposite_means_have_one_finite_subspace() -> None:
    row = units(1)
    found = cluster_identities(np.concatenate((row, -row)), ids_per_subspace="all")
    assert found.sizes.tolist() == [2]
    assert np.isfinite(found.centroids).all()


def planted_look_alikes() -> tuple[np.ndarray, np.ndarray]:
    """The group of each of 600 identities, and their means: 12 groups whose members have cosine 0.95."""
    rng = np.random.default_rng(0)
    planted = rng.permutation(np.repeat(np.arange(12), 50))
    means = units(12, d=32, seed=1)[planted] + 0.04 * rng.standard_normal((600, 32)).astype(np.float32)
    return planted, means / np.linalg.norm(means, axis=1, keepdims=True)


def test_planted_look_alikes_are_found_as_well_as_scikit_learn_finds_them() -> None:
    planted, means = planted_look_alikes()
    ours, theirs = [], []
    for seed in range(8):  # k-means from random means merges some of twelve groups; chance would score 0
        found = cluster_identities(means, ids_per_subspace=50, seed=seed)
        ours.append(adjusted_rand_score(planted, found.subspace_id))
        theirs.append(
            adjusted_rand_score(
                planted, KMeans(12, init="random", n_init=1, random_state=seed).fit_predict(means)
            )
        )
    assert np.median(ours) > max(0.7, np.median(theirs) - 0.05)


def test_subspaces_smaller_than_planted_groups_lie_inside_them() -> None:
    planted, means = planted_look_alikes()
    found = cluster_identities(means, ids_per_subspace=10)
    assert homogeneity_score(planted, found.subspace_id) > 0.98


def test_two_planted_groups_are_found_exactly() -> None:
    planted, means = planted_look_alikes()
    two = planted < 2
    found = cluster_identities(means[two], ids_per_subspace=50)
    assert adjusted_rand_score(planted[two], found.subspace_id) == 1


def test_more_iterations_bring_identities_nearer_to_their_centroids() -> None:
    means = units(2000, d=16)
    near = [
        cluster_identities(means, ids_per_subspace=50, niter=niter).similarity.mean() for niter in (1, 3, 20)
    ]
    assert near[0] < near[1] < near[2]


def test_fitting_on_a_sample_still_assigns_everybody() -> None:
    means = units(2000)
    found = cluster_identities(means, ids_per_subspace=100, max_points_per_centroid=8)
    assert_partition(found, means, 20)
    assert found.sizes.sum() == 2000


def test_clustering_is_a_function_of_means_and_seed() -> None:
    means = units(300)
    first = cluster_identities(means, ids_per_subspace=30, seed=1)
    assert_same(first, cluster_identities(means.copy(), ids_per_subspace=30, seed=1))
    assert_same(first, cluster_identities(np.asfortranarray(means), ids_per_subspace=30, seed=1))
    other = cluster_identities(means, ids_per_subspace=30, seed=2)
    assert adjusted_rand_score(first.subspace_id, other.subspace_id) < 1


def test_the_means_are_not_written_to() -> None:
    means = units(100)
    before = means.copy()
    means.flags.writeable = False
    cluster_identities(means, ids_per_subspace=10)
    np.testing.assert_array_equal(means, before)


def test_wrong_input_is_told_in_one_line() -> None:
    broken = units(10)
    broken[[2, 5], 3] = np.nan, np.inf
    cases: list[tuple[np.ndarray, Any, str]] = [
        (broken, 5, "2 of 10 identity means hold NaN or infinity; run `subspace extract` again"),
        (broken, "all", "2 of 10 identity means hold NaN or infinity"),
        (units(10)[:0], 5, r"non-empty \[N, D\] array, got shape \(0, 8\)"),
        (units(1)[0], 5, "non-empty"),
        (units(10), 0, "ids_per_subspace=0 must be at least 1, or 'all'"),
        (units(10), -3, "ids_per_subspace=-3"),
    ]
    for means, size, message in cases:
        with pytest.raises(InputError, match=message) as error:
            cluster_identities(means, ids_per_subspace=size)
        assert "\n" not in str(error.value)
