"""Accuracy over folds and VAL@FAR, against slow loops over thresholds with scikit-learn's folds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_up_embeddings import unit
from sklearn.model_selection import KFold

from subspace.mining.errors import InputError
from subspace.mining.evaluation.ten_fold import ten_fold_accuracy, validation_rate


def listed_pairs(seed: int, n: int, noise: float = 1.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings of both sides, and whether each pair is genuine, in runs as LFW has them."""
    rng = np.random.default_rng(seed)
    same = np.arange(n) // 5 % 2 == 0
    first = rng.standard_normal((n, 16))
    second = np.where(same[:, None], first, rng.standard_normal((n, 16)))
    sides = (unit(side + noise * rng.standard_normal((n, 16))).astype(np.float64) for side in (first, second))
    a, b = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    return a, b, same


def slow_accuracy(a: np.ndarray, b: np.ndarray, same: np.ndarray, folds: int) -> list[float]:
    squared = ((a - b) ** 2).sum(axis=1)
    found = []
    for others, own in KFold(n_splits=folds, shuffle=False).split(same):
        best, best_right = 0.0, -1
        for threshold in np.arange(0, 4, 0.01):
            right = sum((squared[i] < threshold) == same[i] for i in others)
            if right > best_right:
                best, best_right = threshold, right
        found.append(np.mean([(squared[i] < best) == same[i] for i in own]))
    return found


def slow_validation_rate(
    a: np.ndarray, b: np.ndarray, same: np.ndarray, folds: int, far: float
) -> list[float]:
    from scipy.interpolate import interp1d

    squared, thresholds = ((a - b) ** 2).sum(axis=1), np.arange(0, 4, 0.001)
    found = []
    for others, own in KFold(n_splits=folds, shuffle=False).split(same):
        impostors = squared[others][~same[others]]
        fars = [np.mean(impostors < threshold) for threshold in thresholds]
        at = interp1d(fars, thresholds, kind="linear")(far) if max(fars) >= far else 0.0
        found.append(np.mean(squared[own][same[own]] < at))
    return found


@pytest.mark.parametrize(("n", "folds"), [(200, 10), (63, 4)])
def test_accuracy_is_that_of_a_slow_loop(n: int, folds: int) -> None:
    a, b, same = listed_pairs(n, n)
    wanted = slow_accuracy(a, b, same, folds)
    found = ten_fold_accuracy((a * b).sum(axis=1), same, folds)
    np.testing.assert_allclose(found.of_folds, wanted, atol=1e-12)
    assert found.value == pytest.approx(np.mean(wanted), abs=1e-12)
    assert found.std == pytest.approx(np.std(wanted), abs=1e-12)
    assert 0.6 < found.value < 1
    assert found.low < found.value < found.high


def test_validation_rate_is_that_of_a_slow_loop() -> None:
    for seed, far in ((0, 0.1), (1, 0.05), (2, 0.3)):
        a, b, same = listed_pairs(seed, 200)
        wanted = slow_validation_rate(a, b, same, 10, far)
        found = validation_rate((a * b).sum(axis=1), same, far)
        np.testing.assert_allclose(found.of_folds, wanted, atol=1e-12)
        assert (found.value, found.std) == (pytest.approx(np.mean(wanted)), pytest.approx(np.std(wanted)))


def test_folds_may_be_the_lists_own() -> None:
    a, b, same = listed_pairs(3, 80)
    similarity = (a * b).sum(axis=1)
    in_order = ten_fold_accuracy(similarity, same, 8)
    shuffled = np.random.default_rng(0).permutation(80)
    own = ten_fold_accuracy(similarity[shuffled], same[shuffled], (np.arange(80) // 10 + 3)[shuffled])
    assert (own.of_folds, own.std, own.threshold) == (in_order.of_folds, in_order.std, in_order.threshold)


def test_the_threshold_separates_the_pairs_that_it_is_said_to() -> None:
    similarity, same = np.tile([0.8, 0.75, 0.3, 0.1], 30), np.tile([True, True, False, False], 30)
    found = ten_fold_accuracy(similarity, same)
    assert (found.value, found.std) == (1, 0)
    assert ((similarity > found.threshold) == same).all()
    assert json.loads(json.dumps(found.to_json()))["of_folds"] == [1.0] * 10


def test_equal_distances_and_a_collapsed_network() -> None:
    same = np.tile([True, False], 50)
    found = ten_fold_accuracy(np.full(100, 1 + 2e-7), same)
    assert found.value == 0.5


def test_too_few_impostors_give_no_rate() -> None:
    a, b, same = listed_pairs(0, 100)
    found = validation_rate((a * b).sum(axis=1), same, far=1e-2)
    assert (found.value, found.low, found.std, found.threshold) == (None,) * 4
    assert found.reason == "FAR=0.01 needs 100 impostor pairs or more beside each fold; there are 45"
    assert found.name == "VAL@FAR=1e-2"


@pytest.mark.parametrize(
    ("similarity", "same", "folds", "line"),
    [
        ([0.1] * 4, [True] * 4, 2, "no impostor pairs among 4"),
        ([0.1] * 4, [False] * 4, 2, "no genuine pairs among 4"),
        ([], [], 10, "no genuine pairs among 0"),
        ([0.1] * 4, [True, False] * 2, 10, "folds is 10 for 4 pairs"),
        ([0.1] * 4, [True, False] * 2, 1, "give 2 folds or more"),
        ([0.1] * 4, [True, False] * 2, [0, 0, 0, 0], "1 folds"),
        ([0.1] * 4, [True, False] * 2, [0, 1], "2 folds of 2 pairs for 4"),
        ([0.1, 0.2, np.nan, 0], [True, False] * 2, 2, "the first in row 2: nan"),
        ([0.1, 0.2, 30, 0], [True, False] * 2, 2, "no cosines"),
        ([0.1] * 4, [True, False], 2, "same \\(2,\\)"),
        ([0.1] * 4, [1, 0, 1, 0], 2, "of int64"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_one_line(similarity: list, same: list, folds: object, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        ten_fold_accuracy(similarity, np.array(same, bool if not same else None), folds)
    assert "\n" not in str(error.value)


def test_a_fold_without_genuine_pairs_has_no_validation_rate() -> None:
    similarity, same = np.linspace(0, 1, 40), np.arange(40) >= 20
    with pytest.raises(InputError, match="fold 0 has no genuine pairs"):
        validation_rate(similarity, same, far=0.1)
