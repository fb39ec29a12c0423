"""Clustering of identity means: equal subspaces, always, that find planted look-alikes again.

Covers mining/clustering/centroids.py, mining/clustering/mean_blocks.py and mining/clustering/settings.py as well.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from array_checks import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_embeddings import units
from pydantic import ValidationError
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, homogeneity_score

from subspace.mining.clustering.mean_table import MeanTable
from subspace.mining.clustering.neighbors import neighbor_recall
from subspace.mining.clustering.settings import SubspaceConfig, rows_of_fit
from subspace.mining.clustering.subspaces import Subspaces, cluster_identities
from subspace.mining.errors import InputError


def assert_partition(found: Subspaces, means: np.ndarray, at_most: int) -> None:
    """Centroids, similarities and sizes belong to the assignment, and no subspace is empty."""
    m = len(found.centroids)
    assert 1 <= m <= at_most
    assert found.subspace_id.shape == found.similarity.shape == found.second_id.shape == (len(means),)
    assert (found.subspace_id.dtype, found.second_id.dtype) == (np.int32, np.int32)
    assert (found.similarity.dtype, found.centroids.dtype) == (np.float32, np.float32)
    assert set(found.subspace_id.tolist()) == set(range(m))
    assert found.sizes.tolist() == [int((found.subspace_id == j).sum()) for j in range(m)]
    own = (means.astype(np.float64) @ found.centroids.astype(np.float64).T)[
        np.arange(len(means)), found.subspace_id
    ]
    np.testing.assert_allclose(own, found.similarity, atol=1e-5)


def assert_nearest(found: Subspaces, means: np.ndarray) -> None:
    """Every identity is at its nearest centroid (ties within rounding)."""
    nearest = (means.astype(np.float64) @ found.centroids.astype(np.float64).T).max(axis=1)
    np.testing.assert_allclose(found.similarity, nearest, atol=1e-5)
    assert found.plain_similarity == pytest.approx(nearest.mean(), abs=1e-5)


def assert_bound(found: Subspaces, n: int, ids: Any, tolerance: float, overlap: float = 0.0) -> None:
    """The promise, written out once more."""
    m = 1 if ids == "all" else max(1, round(n / ids))
    sizes = found.sizes
    assert len(sizes) == m
    assert sizes.min() >= max(1, min(n // m, math.ceil(n / m * (1 - tolerance))))
    assert sizes.max() <= max(math.ceil(n / m), math.floor(n / m * (1 + tolerance)))
    second = found.second_id[found.second_id >= 0]
    assert len(second) <= overlap * n
    assert (found.second_id != found.subspace_id).all()
    members = sizes + np.bincount(second, minlength=m)
    assert members.max() <= max(sizes.max(), math.ceil((1 + overlap) * (1 + tolerance) * n / m))


@settings(max_examples=120)
@given(
    n=st.integers(1, 150),
    distinct=st.integers(1, 150),
    zeros=st.sampled_from([0, 0, 0.3, 1]),
    ids=st.one_of(st.integers(1, 160), st.just("all")),
    tolerance=st.sampled_from([0, 0.02, 0.3, 3]),
    overlap=st.sampled_from([0, 0.1, 0.7]),
    flat_up_to=st.sampled_from([2048, 2]),
    seed=st.integers(0, 999),
)
def test_sizes_are_within_the_bound_whatever_the_means_are(
    n: int,
    distinct: int,
    zeros: float,
    ids: Any,
    tolerance: float,
    overlap: float,
    flat_up_to: int,
    seed: int,
) -> None:
    means = units(distinct, seed=seed)[np.random.default_rng(seed).integers(0, distinct, n)]
    means[: int(zeros * n)] = 0
    found = cluster_identities(
        means,
        ids_per_subspace=ids,
        tolerance=tolerance,
        overlap=overlap,
        flat_up_to=flat_up_to,
        niter=2,
        seed=seed,
    )
    assert_partition(found, means, n)
    assert_bound(found, n, ids, tolerance, overlap)


@settings(max_examples=40)
@given(
    n=st.integers(1, 60),
    distinct=st.integers(1, 60),
    ids_per_subspace=st.one_of(st.integers(1, 70), st.just("all")),
    seed=st.integers(0, 99),
)
def test_without_balance_every_identity_is_at_its_nearest_unit_centroid(
    n: int, distinct: int, ids_per_subspace: Any, seed: int
) -> None:
    pool = units(distinct, seed=seed)
    means = pool[np.random.default_rng(seed).integers(0, distinct, n)]
    found = cluster_identities(means, ids_per_subspace=ids_per_subspace, balance="none", niter=5, seed=seed)
    wanted = 1 if ids_per_subspace == "all" else max(1, round(n / ids_per_subspace))
    assert_partition(found, means, min(wanted, len(np.unique(means, axis=0))))
    assert_nearest(found, means)
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
def test_equal_means_are_split_evenly_or_share_a_subspace(ids_per_subspace: Any) -> None:
    means = np.repeat(units(1), 20, axis=0)
    even = cluster_identities(means, ids_per_subspace=ids_per_subspace)
    assert set(even.sizes.tolist()) == {20 if ids_per_subspace == "all" else ids_per_subspace}
    together = cluster_identities(means, ids_per_subspace=ids_per_subspace, balance="none")
    assert together.sizes.tolist() == [20]
    for found in (even, together):
        np.testing.assert_allclose(found.similarity, 1, atol=1e-6)


def test_equal_means_of_a_crowd_are_split_evenly_among_more_subspaces_than_there_are_candidates() -> None:
    means = np.repeat(units(1), 5000, axis=0)
    found = cluster_identities(means, ids_per_subspace=50, tolerance=0, niter=2)
    assert found.sizes.tolist() == [50] * 100


@pytest.mark.parametrize("balance", ["prices", "none"])
@pytest.mark.parametrize("ids_per_subspace", [1, 5, "all"])
def test_zero_means_are_placed_somewhere(ids_per_subspace: Any, balance: Any) -> None:
    """The mean of images that cancel out is zero; no direction is nearest to it."""
    for zeros in (1, 3, 20):
        means = units(20)
        means[:zeros] = 0
        found = cluster_identities(means, ids_per_subspace=ids_per_subspace, balance=balance)
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
    """But for those that equal sizes force across: five of exactly ten rarely start in every group of fifty."""
    planted, means = planted_look_alikes()
    plain = cluster_identities(means, ids_per_subspace=10, balance="none")
    assert homogeneity_score(planted, plain.subspace_id) > 0.98
    even = cluster_identities(means, ids_per_subspace=10)
    assert homogeneity_score(planted, even.subspace_id) > 0.85


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
    assert_bound(found, 2000, 100, 0.02)


def crowded(n: int, d: int = 32) -> np.ndarray:
    """Look-alikes in 200 groups of Zipf-like populations: plain k-means is uneven on them."""
    rng = np.random.default_rng(0)
    population = np.arange(1, 201) ** -0.7
    group = rng.choice(200, n, p=population / population.sum())
    means = units(200, d)[group] + 0.12 * rng.standard_normal((n, d)).astype(np.float32)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def test_balance_costs_little_recall_and_little_similarity() -> None:
    means = crowded(20_000)
    plain = cluster_identities(means, ids_per_subspace=1000, balance="none")
    even = cluster_identities(means, ids_per_subspace=1000)
    assert plain.sizes.max() > 1.5 * plain.sizes.mean()
    assert even.sizes.max() <= 1020
    assert neighbor_recall(means, even.subspace_id) > neighbor_recall(means, plain.subspace_id) - 0.05
    assert even.similarity.mean() > plain.similarity.mean() - 0.02
    assert even.similarity.mean() <= even.plain_similarity + 1e-6


def test_two_levels_keep_the_bound_and_most_of_the_recall() -> None:
    means = crowded(20_000)
    flat = cluster_identities(means, ids_per_subspace=200)
    cells = cluster_identities(means, ids_per_subspace=200, flat_up_to=50)
    assert_bound(cells, 20_000, 200, 0.02)
    assert_partition(cells, means, 100)
    assert neighbor_recall(means, cells.subspace_id) > neighbor_recall(means, flat.subspace_id) - 0.05


@pytest.mark.parametrize("seed", [4, 5, 9])
def test_an_island_smaller_than_a_subspace_does_not_draw_everybody(seed: int) -> None:
    """Of 81 groups one stands alone, with 90 identities where 98 must be: nobody else has it on a list."""
    branches = units(8, 64, seed).repeat(10, axis=0)
    groups = (branches + 0.8 * units(80, 64, seed + 10)).repeat(100, axis=0)
    means = np.concatenate((groups, units(1, 64, seed + 20).repeat(90, axis=0))) + 0.3 * units(
        8090, 64, seed + 30
    )
    means = np.random.default_rng(seed).permutation(means / np.linalg.norm(means, axis=1, keepdims=True))
    plain = cluster_identities(means, ids_per_subspace=100, balance="none", seed=seed)
    even = cluster_identities(means, ids_per_subspace=100, seed=seed)
    assert_bound(even, 8090, 100, 0.02)
    assert even.similarity.mean() > plain.similarity.mean()


def test_overlap_gives_second_subspaces_at_the_borders() -> None:
    means = crowded(5000)
    found = cluster_identities(means, ids_per_subspace=500, overlap=0.1)
    assert_bound(found, 5000, 500, 0.02, overlap=0.1)
    second = found.second_id >= 0
    assert second.sum() == 500
    similarity = means @ found.centroids.T
    gap = found.similarity[second] - similarity[second, found.second_id[second]]
    np.put_along_axis(similarity, found.subspace_id[:, None], -1, 1)
    others = (found.similarity - similarity.max(axis=1))[~second]
    assert gap.mean() < 0.5 * others.mean()


class Blocks:
    """Blocks that can be gone through again."""

    def __init__(self, means: np.ndarray, size: int) -> None:
        self.means, self.size = means, size

    def __iter__(self) -> Any:
        return (self.means[start : start + self.size] for start in range(0, len(self.means), self.size))


@pytest.mark.parametrize("n", [300, 40_000])
def test_it_makes_no_difference_how_means_arrive(n: int, tmp_path: Path) -> None:
    means = units(n)
    np.save(tmp_path / "means.npy", means)
    table = pa.table({"mean": pa.FixedSizeListArray.from_arrays(pa.array(means.ravel()), 8)})
    pq.write_table(table, tmp_path / "means.parquet", row_group_size=9_999)
    arrivals = [
        np.asfortranarray(means),
        np.load(tmp_path / "means.npy", mmap_mode="r"),
        [means[:7], means[7:7], means[7:]],
        Blocks(means, 7919),
        iter(Blocks(means, 20_011)),
        MeanTable(tmp_path / "means.parquet"),
    ]
    settings: Any = {"ids_per_subspace": n // 10, "max_points_per_centroid": 50, "niter": 3, "overlap": 0.1}
    first = cluster_identities(means, **settings)
    for arrival in arrivals:
        assert_same(first, cluster_identities(arrival, **settings))


@pytest.mark.parametrize("balance", ["prices", "none"])
def test_the_fit_is_followed_as_the_pass_is(balance: Any) -> None:
    """In equal steps, so that a bar over both tells when they end."""
    seen: list[int] = []
    how: dict[str, Any] = {"niter": 8, "max_points_per_centroid": 30, "balance": balance}
    cluster_identities(units(1200), ids_per_subspace=40, **how, progress=seen.append)
    assert sum(seen) == 8 * 30 * 30 + 1200
    assert len(seen) > (8 if balance == "prices" else 1)
    seen.clear()
    cluster_identities(units(1200), ids_per_subspace=40, **how, flat_up_to=5, progress=seen.append)
    assert 0.8 < sum(seen) / (8 * 30 * 30 + 1200) <= 1.01


@pytest.mark.parametrize("balance", ["prices", "none"])
@pytest.mark.parametrize(
    ("n", "size"), [(1500, 100), (1500, 150), (1200, 60), (3000, 30), (4000, 400), (40, 1), (40, "all")]
)
def test_as_many_rows_are_told_as_are_announced(n: int, size: Any, balance: Any) -> None:
    """The bar ran past its end where a subspace has fewer identities than an iteration sees of it."""
    config = SubspaceConfig(ids_per_subspace=size, balance=balance, niter=3, max_points_per_centroid=255)
    how = {"balance": balance, "niter": 3, "max_points_per_centroid": 255}
    seen: list[int] = []
    cluster_identities(units(n), ids_per_subspace=size, **how, progress=seen.append)
    assert sum(seen) == rows_of_fit(config, n, 8) + n


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
    cases: list[tuple[Any, Any, str]] = [
        (broken, 5, "2 of 10 identity means hold NaN or infinity; run `subspace extract` again"),
        (broken, "all", "2 of 10 identity means hold NaN or infinity"),
        (units(10)[:0], 5, r"non-empty \[N, D\] array, got shape \(0, 8\)"),
        (units(1)[0], 5, "non-empty"),
        (units(10), 0, "ids_per_subspace=0 must be at least 1, or 'all'"),
        (units(10), -3, "ids_per_subspace=-3"),
        ([units(3), units(3, d=9)], 5, "means of 8 numbers are followed by means of 9"),
        (iter([units(3), broken]), 5, "2 of 13 identity means hold NaN or infinity"),
    ]
    for means, size, message in cases:
        with pytest.raises(InputError, match=message) as error:
            cluster_identities(means, ids_per_subspace=size)
        assert "\n" not in str(error.value)


def test_nan_outside_the_sample_is_found_in_the_pass() -> None:
    means = units(40_000)
    means[::100, 0] = np.nan
    with pytest.raises(InputError, match="400 of 40000 identity means hold NaN"):
        cluster_identities(means, ids_per_subspace=20_000, max_points_per_centroid=1)
    for flat_up_to in (2048, 1):
        means = units(40_000)
        means[::1000, 7] = np.inf
        with pytest.raises(InputError, match="40 of 40000 identity means"):
            cluster_identities(
                means, ids_per_subspace=10_000, max_points_per_centroid=1, flat_up_to=flat_up_to
            )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"tolerance": -0.1}, "tolerance=-0.1 must be at least 0"),
        ({"tolerance": float("nan")}, "tolerance=nan"),
        ({"overlap": 1.0}, "overlap=1.0 must be at least 0 and less than 1"),
        ({"overlap": -0.1}, "overlap=-0.1"),
        ({"balance": "some"}, "balance=some must be 'prices' or 'none'"),
    ],
)
def test_settings_out_of_range_are_refused(setting: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cluster_identities(units(10), ids_per_subspace=5, **setting)


@pytest.mark.parametrize("size", [0, -5])
def test_a_subspace_without_identities_is_refused_where_it_is_set(size: int) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        SubspaceConfig(ids_per_subspace=size)
