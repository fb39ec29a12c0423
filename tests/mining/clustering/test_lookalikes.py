"""Look-alikes of some identities against slow loops."""

from __future__ import annotations

import numpy as np

from subspace.mining.clustering.lookalikes import hardest_pairs, nearest_of_some


def unit(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, 5)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_nearest(means: np.ndarray, subspace: np.ndarray, row: int) -> list[tuple[float, int]]:
    """The others of a row's subspace by loops, nearest first."""
    found = [
        (-float(means[row] @ means[other]), other)
        for other in range(len(means))
        if other != row and subspace[other] == subspace[row]
    ]
    return sorted(found)


def test_neighbours_are_those_of_a_loop(monkeypatch) -> None:
    monkeypatch.setattr("subspace.mining.clustering.lookalikes.BLOCK", 4)
    means, subspace = unit(60, 0), np.arange(60) % 4
    subspace[59] = 9  # alone in its subspace
    rows = np.array([59, 3, 17, 0, 41, 8, 12])
    found = nearest_of_some(means, subspace, rows, k=20)
    for place, row in enumerate(rows.tolist()):
        wanted = slow_nearest(means, subspace, row)[:20]
        padded = [other for _, other in wanted] + [-1] * (20 - len(wanted))
        assert found.row[place].tolist() == padded
        cosines = found.similarity[place][: len(wanted)]
        np.testing.assert_allclose(cosines, [-cosine for cosine, _ in wanted], atol=1e-6)
        assert np.isneginf(found.similarity[place][len(wanted) :]).all()


def test_the_hardest_pairs_are_those_of_a_loop() -> None:
    means, subspace = unit(40, 1), np.arange(40) % 3
    rows = np.arange(0, 40, 2)
    wanted: list[tuple[int, int]] = []
    nearest = sorted((*slow_nearest(means, subspace, row)[0], row) for row in rows.tolist())
    for _, other, row in nearest:
        if all(row not in pair and other not in pair for pair in wanted):
            wanted.append((min(row, other), max(row, other)))
    found = hardest_pairs(rows, nearest_of_some(means, subspace, rows, 1), 100)
    assert list(zip(found.a.tolist(), found.b.tolist(), strict=True)) == wanted
    assert (np.diff(found.similarity) <= 0).all()
    assert len(hardest_pairs(rows, nearest_of_some(means, subspace, rows, 1), 3).a) == 3


def test_identities_alone_make_no_pairs() -> None:
    means = unit(3, 2)
    assert not len(hardest_pairs(np.arange(3), nearest_of_some(means, np.arange(3), np.arange(3), 1), 5).a)
