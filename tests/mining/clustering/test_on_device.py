"""What a GPU does, here on every device there is: the same as slow loops say, the same bytes twice, no waiting.

Where there is no GPU, its way is taken on the CPU: "as a GPU" has `on_host` answer no.
Covers mining/clustering/candidates.py, mining/clustering/plain_kmeans.py and mining/clustering/search.py as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_embeddings import units
from sklearn.metrics import adjusted_rand_score
from torch.utils._python_dispatch import TorchDispatchMode

from subspace.mining.clustering import on_device, plain_kmeans, prices, search, subspaces
from subspace.mining.clustering.candidates import Candidates
from subspace.mining.clustering.centroids import Flat, TwoLevel, fit_flat, fit_two_level
from subspace.mining.clustering.duplicates import suspected_duplicates
from subspace.mining.clustering.neighbors import nearest_in_subspace, neighbor_recall, sampled_neighbors
from subspace.mining.clustering.on_device import counts_by_group, sums_by_group
from subspace.mining.clustering.plain_kmeans import plain_centroids
from subspace.mining.clustering.prices import Bound, choose, find_prices
from subspace.mining.clustering.quality import subspace_similarity
from subspace.mining.clustering.search import nearest_rows
from subspace.mining.clustering.subspaces import cluster_identities

WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim"}
"""Operators for which the host waits until a GPU has come so far."""


def take_the_way_of_a_gpu(patch: pytest.MonkeyPatch, at_a_time: int = 5000) -> None:
    for module in (on_device, plain_kmeans, prices, search, subspaces):
        patch.setattr(module, "on_host", lambda tensor: False)
    for module in (plain_kmeans, search):
        patch.setattr(module, "similarities_at_a_time", lambda *of: at_a_time)


@pytest.fixture(
    params=[
        "cpu",
        "as a GPU",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
        ),
    ]
)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "as a GPU":
        take_the_way_of_a_gpu(monkeypatch)
        return "cpu"
    return request.param


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Torch refuses what is not the same twice."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def crowded(n: int, d: int = 16) -> np.ndarray:
    """Look-alikes in 60 groups of Zipf-like populations."""
    random = np.random.default_rng(0)
    population = np.arange(1, 61) ** -0.7
    group = random.choice(60, n, p=population / population.sum())
    means = units(60, d)[group] + 0.15 * random.standard_normal((n, d)).astype(np.float32)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


class Operators(TorchDispatchMode):
    """Counts what torch is asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def test_groups_are_counted_and_added_up_as_a_loop_does(device: str, deterministic: None) -> None:
    random = np.random.default_rng(0)
    group, rows = random.integers(0, 9, 500), random.standard_normal((500, 5)).astype(np.float32)
    group[group == 3] = 4  # an empty one
    on = torch.from_numpy(group).to(device), torch.from_numpy(rows).to(device)
    assert counts_by_group(on[0], 10).tolist() == [int((group == g).sum()) for g in range(10)]
    sums = sums_by_group(on[1], on[0], 10)
    slow = np.stack([rows[group == g].astype(np.float64).sum(axis=0) for g in range(10)])
    np.testing.assert_allclose(sums.cpu().numpy(), slow, atol=1e-5)
    assert torch.equal(sums, sums_by_group(on[1], on[0], 10))


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    q=st.integers(1, 12),
    k=st.integers(1, 40),
    at_a_time=st.integers(1, 300),
    gpu=st.booleans(),
    ties=st.booleans(),
    seed=st.integers(0, 99),
)
def test_nearest_rows_are_those_of_a_sort(
    n: int, q: int, k: int, at_a_time: int, gpu: bool, ties: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows, queries = units(n, seed=seed), units(q, seed=seed + 100)
    if ties:  # products of whole numbers have no rounding, and many are equal
        rows = random.integers(-1, 2, (n, 3)).astype(np.float32)
        queries = random.integers(-1, 2, (q, 3)).astype(np.float32)
    k = min(k, n)
    with pytest.MonkeyPatch.context() as patch:
        if gpu:
            take_the_way_of_a_gpu(patch, at_a_time)
        similarity, row = (
            found.numpy() for found in nearest_rows(torch.from_numpy(queries), torch.from_numpy(rows), k)
        )
    exact = queries.astype(np.float64) @ rows.astype(np.float64).T
    np.testing.assert_allclose(similarity, -np.sort(-exact, axis=1)[:, :k], atol=1e-6)
    np.testing.assert_allclose(similarity, np.take_along_axis(exact, row, 1), atol=1e-6)
    assert all(len(set(found)) == k for found in row.tolist())
    if ties:
        order = np.lexsort((row, -similarity), axis=1)
        np.testing.assert_array_equal(order, np.broadcast_to(np.arange(k), order.shape))
    else:
        np.testing.assert_array_equal(row, np.argsort(-exact, axis=1, kind="stable")[:, :k])


def slow_kmeans(rows: np.ndarray, m: int, niter: int) -> np.ndarray:
    centroids = rows[:m].copy()
    for _ in range(niter):
        nearest = [int(np.argmax(centroids @ row)) for row in rows]
        for j in range(m):
            own = rows[[i for i, to in enumerate(nearest) if to == j]]
            if len(own):
                total = own.astype(np.float64).sum(axis=0)
                centroids[j] = total / np.linalg.norm(total)
    return centroids


def test_kmeans_of_a_gpu_is_that_of_a_slow_loop(monkeypatch: pytest.MonkeyPatch, deterministic: None) -> None:
    rows = units(300)
    take_the_way_of_a_gpu(monkeypatch, at_a_time=97)
    found = plain_centroids(torch.from_numpy(rows), 7, niter=5, points=1000, seed=0)
    np.testing.assert_allclose(found.numpy(), slow_kmeans(rows, 7, 5), atol=1e-5)


def test_an_empty_group_gets_half_of_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    take_the_way_of_a_gpu(monkeypatch)
    rows = np.concatenate((np.repeat(units(1), 6, axis=0), units(94, seed=1)))  # six begin at one place
    centroids = plain_centroids(torch.from_numpy(rows), 6, niter=20, points=1000, seed=0).numpy()
    sizes = np.bincount((rows @ centroids.T).argmax(axis=1), minlength=6)
    assert sizes.min() > 1
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("margin", [0.0, 0.05, np.inf])
def test_those_near_a_border_have_a_choice(margin: float) -> None:
    rows, price = units(9000), torch.linspace(0, 0.2, 12)
    flat = Flat(torch.from_numpy(units(12, seed=1)), price)
    found = flat.candidates(torch.from_numpy(rows), 4, margin)
    similarity = rows.astype(np.float64) @ units(12, seed=1).astype(np.float64).T
    bids = similarity - price.double().numpy()
    order = np.argsort(-bids, axis=1, kind="stable")
    np.testing.assert_array_equal(found.id, order[:, 0])
    np.testing.assert_allclose(
        found.similarity, np.take_along_axis(similarity, order[:, :1], 1)[:, 0], atol=1e-6
    )
    lead = np.take_along_axis(bids, order[:, :1], 1) - np.take_along_axis(bids, order[:, 1:2], 1)
    with_a_choice = np.flatnonzero(lead[:, 0] <= margin)
    assert abs(len(with_a_choice) - len(found.asked)) <= 2  # as float32 rounds
    same = np.intersect1d(with_a_choice, found.asked.numpy())
    here = np.isin(found.asked.numpy(), same)
    np.testing.assert_array_equal(found.id_nc[here], order[same][:, :4])
    expected = found.similarity.numpy().copy()
    expected[same] = np.take_along_axis(similarity, order[:, :4], 1).max(axis=1)[same]
    np.testing.assert_allclose(found.nearest()[same], expected[same], atol=1e-6)


def test_two_levels_ask_the_nearest_cells(device: str) -> None:
    rows = torch.from_numpy(crowded(4000)).to(device)
    fitted = fit_two_level(rows, 100, fit=fit_flat, niter=4, points=64, seed=0)
    assert isinstance(fitted, TwoLevel)
    found = fitted.candidates(rows, 6)
    exact = rows.double() @ fitted.centroids.double().T
    np.testing.assert_allclose(
        found.similarity_nc.cpu(), exact.gather(1, found.id_nc.long()).cpu(), atol=1e-5
    )
    best = (exact - fitted.price.double()).argmax(1)  # of ten cells, eight are asked
    assert (found.id == best).float().mean() > 0.9


def lists(n: int = 3000, m: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    found = Flat(torch.from_numpy(units(m, 16, 1)), torch.zeros(m)).candidates(
        torch.from_numpy(crowded(n)), 6
    )
    return found.id_nc, found.similarity_nc


def test_prices_are_found_without_waiting(monkeypatch: pytest.MonkeyPatch, deterministic: None) -> None:
    found, bound, begin = lists(), Bound.around(3000, 20, 0.02), torch.zeros(20)
    on_the_host = find_prices(*found, bound, begin, steps=60)
    take_the_way_of_a_gpu(monkeypatch)
    counts = []
    for steps in (10, 60):
        with Operators() as operators:
            price = find_prices(*found, bound, begin, steps=steps)
        assert not WAITS & set(operators.count), operators.count
        counts.append(sum(operators.count.values()))
    assert counts[1] - counts[0] <= 50 * 45  # operators of a step, views among them
    assert torch.equal(price, on_the_host)


def test_priced_kmeans_is_fitted_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = torch.from_numpy(crowded(3000))
    take_the_way_of_a_gpu(monkeypatch)
    with Operators() as operators:
        fit_flat(sample, 10, niter=4, points=32, seed=0)
    assert not WAITS & set(operators.count), operators.count
    assert not {"index_add", "index_add_", "scatter_add", "scatter_add_", "bincount"} & set(operators.count)


def same_twice(work: Callable[[], Any]) -> Any:
    first, second = work(), work()
    for name, value in vars(first).items():
        np.testing.assert_array_equal(value, getattr(second, name))
    return first


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"flat_up_to": 4},
        *(pytest.param(how, marks=pytest.mark.slow) for how in ({"overlap": 0.2}, {"balance": "none"})),
    ],
)
def test_subspaces_of_every_device_are_equal_good_and_the_same_twice(
    device: str, deterministic: None, how: Any
) -> None:
    means = crowded(20_000)
    found = same_twice(
        lambda: cluster_identities(means, ids_per_subspace=1000, niter=6, device=device, **how)
    )
    if how.get("balance") != "none":
        assert len(found.sizes) == 20
        assert 980 <= found.sizes.min() <= found.sizes.max() <= 1020
    own = (means @ found.centroids.T)[np.arange(len(means)), found.subspace_id]
    np.testing.assert_allclose(found.similarity, own, atol=1e-5)
    with pytest.MonkeyPatch.context() as patch:
        patch.undo()
        reference = cluster_identities(means, ids_per_subspace=1000, niter=6, device="cpu", **how)
    recall = [neighbor_recall(means, ids, queries=500) for ids in (found.subspace_id, reference.subspace_id)]
    assert recall[0] > recall[1] - 0.04


def test_blocks_of_the_way_of_a_gpu_make_no_difference_to_the_partition() -> None:
    means, found = crowded(20_000), []
    for at_a_time in (2**19, 50_000):
        with pytest.MonkeyPatch.context() as patch:
            take_the_way_of_a_gpu(patch, at_a_time)
            found.append(cluster_identities(means, ids_per_subspace=1000, niter=6, device="cpu").subspace_id)
    assert adjusted_rand_score(*found) > 0.99


def test_neighbours_duplicates_and_similarity_are_those_of_the_host(
    device: str, deterministic: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    means, subspace_id = crowded(3000), (np.arange(3000) % 7).astype(np.int32)
    spread, images = np.full(3000, 0.1), np.full(3000, 5)

    def everything(device: str) -> list[Any]:
        return [
            nearest_in_subspace(means, subspace_id, 5, device=device),
            sampled_neighbors(means, k=5, queries=200, device=device).found,
            *vars(suspected_duplicates(means, spread, images, subspace_id, device=device)).values(),
            *subspace_similarity([means[:1000], means[1000:]], subspace_id, device=device),
        ]

    here, again = everything(device), everything(device)
    for one, two in zip(here, again, strict=True):
        np.testing.assert_array_equal(one, two)
    monkeypatch.undo()
    for one, host in zip(here, everything("cpu"), strict=True):
        np.testing.assert_allclose(one, host, atol=1e-6)
    assert len(here[2]) > 0


def test_blocks_of_candidates_are_joined_in_order() -> None:
    flat, rows = Flat(torch.from_numpy(units(5)), torch.zeros(5)), torch.from_numpy(units(50, seed=2))
    whole = flat.candidates(rows, 3, 0.1)
    parts = [(start, flat.candidates(rows[start : start + 20], 3, 0.1)) for start in (0, 20, 40)]
    joined = Candidates.joined(parts)
    np.testing.assert_array_equal(joined.asked, whole.asked)
    np.testing.assert_array_equal(joined.id_nc, whole.id_nc)
    assert torch.equal(joined.id_nc, choose_first(joined))


def choose_first(found: Candidates) -> torch.Tensor:
    """At no price the first candidate is the choice."""
    assert not choose(found.id_nc, found.similarity_nc, torch.zeros(5)).any()
    return found.id_nc
