"""The map keeps neighbours about as well as scikit-learn's t-SNE, and is the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from subspace.mining.clustering.tsne import _wanted, tsne_map


def clusters() -> np.ndarray:
    random = np.random.default_rng(0)
    rows = random.standard_normal((8, 16)).repeat(15, axis=0) + 0.6 * random.standard_normal((120, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_neighbours_are_kept_as_by_scikit_learn() -> None:
    manifold = pytest.importorskip("sklearn.manifold")
    rows = clusters()
    place = tsne_map(rows)
    theirs = manifold.TSNE(perplexity=20, init="pca", metric="cosine", random_state=0).fit_transform(rows)
    kept, best = (manifold.trustworthiness(rows, found, n_neighbors=10) for found in (place, theirs))
    assert kept > best - 0.03
    assert np.abs(place).max() == pytest.approx(1)
    np.testing.assert_allclose(place.mean(axis=0), 0, atol=1e-5)
    assert (tsne_map(rows) == place).all()


def test_each_point_has_so_many_neighbours() -> None:
    """The affinities are those of the definition: rows of the given perplexity, made symmetric."""
    rows = clusters()[:40]
    wanted = _wanted(rows, 7.0)
    distance = 2 - 2 * (rows @ rows.T).astype(float)
    slow = np.zeros_like(distance)
    for i in range(len(rows)):
        low, high = 0.0, 1e4
        for _ in range(60):
            beta = (low + high) / 2
            share = np.exp(-beta * np.maximum(distance[i] - np.delete(distance[i], i).min(), 0))
            share[i] = 0
            share /= share.sum()
            known = share[share > 0]
            low, high = (beta, high) if -(known * np.log(known)).sum() > np.log(7.0) else (low, beta)
        slow[i] = share
    slow = (slow + slow.T) / slow.sum() / 2
    np.testing.assert_allclose(wanted, slow, atol=2e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_few_points_have_places(count: int) -> None:
    place = tsne_map(clusters()[:count])
    assert place.shape == (count, 2)
    assert np.isfinite(place).all()


def test_equal_points_have_places() -> None:
    assert np.isfinite(tsne_map(np.tile(clusters()[:1], (9, 1)))).all()
