"""k-reciprocal re-ranking against slow sets, and what it does to retrieval. Covers mining/evaluation/reciprocal_neighbors.py, too."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_embeddings import noisy_identities

from subspace.mining.errors import InputError
from subspace.mining.evaluation.reranking import KReciprocal, k_reciprocal_distance
from subspace.mining.evaluation.retrieval import NAMES, retrieval_metrics


def slow_distance(rows: np.ndarray, queries: int, k1: int, k2: int, share: float) -> np.ndarray:
    """The paper's sets, as sets: distances of the first rows to all."""
    rows = rows.astype(float)
    n = len(rows)
    squared = [[float(((a - b) ** 2).sum()) for b in rows] for a in rows]
    squared = [[value / max(row) for value in row] for row in squared]
    nearest = [sorted(range(n), key=row.__getitem__) for row in squared]

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in nearest[i][: k + 1] if i in nearest[j][: k + 1]}

    weights = []
    for i in range(n):
        mutual = reciprocal(i, k1)
        members = set(mutual)
        for j in mutual:
            theirs = reciprocal(j, round(k1 / 2))
            if len(theirs & mutual) > 2 / 3 * len(theirs):
                members |= theirs
        total = sum(np.exp(-squared[i][j]) for j in members)
        weights.append([np.exp(-squared[i][j]) / total if j in members else 0.0 for j in range(n)])
    mean = [[sum(weights[m][j] for m in nearest[i][:k2]) / k2 for j in range(n)] for i in range(n)]
    found = np.empty((queries, n))
    for i in range(queries):
        for j in range(n):
            least = sum(min(a, b) for a, b in zip(mean[i], mean[j], strict=True))
            most = sum(max(a, b) for a, b in zip(mean[i], mean[j], strict=True))
            found[i, j] = (1 - share) * (1 - least / most) + share * squared[i][j]
    return found


def few_images(seed: int, n: int = 9) -> tuple[np.ndarray, np.ndarray]:
    gallery, gallery_id, probe, probe_id = noisy_identities(np.random.default_rng(seed), n, noise=0.2)
    return np.concatenate((probe, gallery)), np.concatenate((probe_id, gallery_id))


@pytest.mark.parametrize(("k1", "k2", "share"), [(20, 6, 0.3), (6, 1, 0.0), (3, 2, 0.7), (200, 3, 0.3)])
@pytest.mark.parametrize("block", [None, 7])
def test_distances_are_those_of_slow_sets(k1: int, k2: int, share: float, block: int | None) -> None:
    rows, _ = few_images(k1)
    settings = KReciprocal(k1=k1, k2=k2, original=share)
    expected = slow_distance(rows, 8, k1, k2, share)
    apart = k_reciprocal_distance(rows[:8], rows[8:], settings, block=block)
    assert apart.rows(np.arange(8)) == pytest.approx(expected[:, 8:], abs=2e-6)
    together = k_reciprocal_distance(rows, None, settings, block=block)
    assert together.rows(np.arange(8)) == pytest.approx(expected, abs=2e-6)


def test_retrieval_ranks_by_the_distance() -> None:
    rows, identity = few_images(0, 30)
    half, image = len(rows) // 2, np.arange(len(rows))
    identity[[3, half + 3, -2]] = -1
    query, gallery = (rows[:half], identity[:half]), (rows[half:], identity[half:])
    known = gallery[1] >= 0
    distance = k_reciprocal_distance(query[0], gallery[0][known]).rows(np.arange(half))
    ranked = gallery[1][known][np.argsort(distance, axis=1)] == query[1][:, None]
    ranked = ranked[ranked.any(axis=1) & (query[1] >= 0)]
    found = retrieval_metrics(["recall@1", "MRR"], *query, *gallery, rerank=KReciprocal(), bootstrap=2)
    assert found["recall@1"].value == pytest.approx(ranked[:, 0].mean())
    assert found["MRR"].value == pytest.approx((1 / (1 + ranked.argmax(axis=1))).mean())
    alone = retrieval_metrics(NAMES, rows, identity, rerank=KReciprocal(), bootstrap=2)
    some = identity >= 0
    both = retrieval_metrics(NAMES, rows[some], identity[some], rerank=KReciprocal(), bootstrap=2)
    assert alone.metrics == both.metrics
    assert (alone.junk, alone.unmatched) == (3, both.unmatched + 3)
    assert alone.metrics != retrieval_metrics(NAMES, rows, identity, bootstrap=2).metrics
    assert len(image) == alone.queries + alone.unmatched


def test_what_cannot_be_held_is_refused_in_one_line() -> None:
    rows, _ = few_images(0, 30)
    images = len(rows)
    for most in (100, images * 90 + 500, images * 90 + 9000):  # at neighbours, at weights, at their means
        with pytest.raises(
            InputError, match=rf"re-ranking of {images} images needs more than the 0.0 GiB.*most_bytes"
        ):
            k_reciprocal_distance(rows, None, KReciprocal(most_bytes=most))
    k_reciprocal_distance(rows, None, KReciprocal(most_bytes=10**6))


@pytest.mark.parametrize("wrong", [{"k1": 0}, {"k2": 0}, {"original": 1.5}])
def test_settings_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match="give k1 and k2 of 1 or more"):
        KReciprocal(**wrong)


def test_no_query_is_refused() -> None:
    with pytest.raises(InputError, match="there is none"):
        k_reciprocal_distance(np.empty((0, 4)), np.eye(4))
