"""The order of rows, their means, and the choice of a kind.

Covers mining/index/kinds.py, too.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from subspace.mining import InputError
from subspace.mining.index import identity_rows
from subspace.mining.index.identity_rows import means_of_rows, order_rows
from subspace.mining.index.kinds import FLAT_ROWS, HNSW_ROWS, choose_kind


def test_rows_go_where_sorting_by_name_puts_them() -> None:
    parts = [(np.array([1, 0, 1]), ["b", "a"]), (np.array([0, 1]), ["a", "é"])]
    given = ["a", "b", "a", "a", "é"]
    rows = order_rows(parts)
    expected = sorted(range(5), key=lambda row: (given[row], row))
    assert rows.place[expected].tolist() == [0, 1, 2, 3, 4]
    assert rows.names == ["a", "b", "é"]
    assert rows.offset.tolist() == [0, 3, 4, 5]


def test_means_do_not_depend_on_how_many_are_made_at_a_time(monkeypatch) -> None:
    random = np.random.default_rng(0)
    offset = np.append(0, np.cumsum(random.integers(1, 9, 50)))
    rows = random.standard_normal((offset[-1], 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    at_once = np.concatenate(list(means_of_rows(rows, offset)))
    monkeypatch.setattr(identity_rows, "ROWS_AT_A_TIME", 3)
    assert np.array_equal(np.concatenate(list(means_of_rows(rows, offset))), at_once)
    expected = np.stack([rows[a:b].mean(axis=0) for a, b in pairwise(offset)])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(at_once, expected, atol=1e-6)


def test_a_kind_is_chosen_by_rows_or_asked_for() -> None:
    assert [choose_kind(rows).kind for rows in (FLAT_ROWS, FLAT_ROWS + 1, HNSW_ROWS + 1)] == [
        "flat",
        "hnsw",
        "ivf",
    ]
    assert choose_kind(16, "ivf").lists == 1
    assert [choose_kind(rows, "ivf").kind for rows in (15, 16)] == ["flat", "ivf"]
    assert choose_kind(15, "ivf").reason == "15 rows, fewer than the 16 that the codes of ivf need"
    with pytest.raises(InputError, match="--kind lsh: give auto, flat, ivf, hnsw"):
        choose_kind(10, "lsh")
