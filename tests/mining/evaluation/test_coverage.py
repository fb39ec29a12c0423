"""Coverage at a precision against a loop over every threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.errors import InputError
from subspace.mining.evaluation.coverage import coverage_at_precision


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def slow(gallery, gallery_id, probe, probe_id, precision) -> float:
    answers = []
    for row, own in zip(probe, probe_id, strict=True):
        similarity = gallery @ row
        best = int(similarity.argmax())
        answers.append((float(similarity[best]), gallery_id[best] == own))
    best_coverage = 0.0
    for threshold, _ in answers:
        named = [right for score, right in answers if score >= threshold]
        if sum(named) >= precision * len(named):
            best_coverage = max(best_coverage, len(named) / len(answers))
    return best_coverage


@given(
    seed=st.integers(0, 2**32 - 1), noise=st.floats(0.1, 3), precision=st.sampled_from((0.5, 0.9, 0.95, 1.0))
)
def test_is_that_of_a_loop_over_thresholds(seed: int, noise: float, precision: float) -> None:
    random = np.random.default_rng(seed)
    centre = random.normal(size=(30, 8))
    gallery = unit(centre + noise * random.normal(size=centre.shape))
    probe_id = random.integers(0, 30, 50)
    probe = unit(centre[probe_id] + noise * random.normal(size=(50, 8)))
    arguments = gallery, np.arange(30), probe, probe_id
    found = coverage_at_precision(*arguments, precision=precision, block=16)
    assert found == slow(*arguments, precision)


def test_a_collapsed_network_names_nobody() -> None:
    rows = np.tile(unit(np.ones((1, 4))), (6, 1))
    assert coverage_at_precision(rows, np.arange(6), rows, np.arange(6)) == 0


def test_a_perfect_network_names_everybody() -> None:
    rows = np.eye(5, dtype=np.float32)
    assert coverage_at_precision(rows, np.arange(5), rows, np.arange(5), precision=1) == 1


def test_refuses_a_precision_that_is_no_share() -> None:
    rows = np.eye(3, dtype=np.float32)
    with pytest.raises(InputError, match="precision is 95"):
        coverage_at_precision(rows, np.arange(3), rows, np.arange(3), precision=95)
