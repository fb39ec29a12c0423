"""Coverage at a precision, and its interval, against a loop over every threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_embeddings import noisy_identities, tied_rows, unit

from subspace.mining.errors import InputError
from subspace.mining.evaluation.coverage import coverage_at_precision
from subspace.mining.evaluation.mated_probes import MatedProbes


def slow(gallery, gallery_id, probe, probe_id, precision, times=None) -> float:
    """The coverage where probe p is there `times[p]` times; a tie between two names is a wrong one."""
    answers = []
    for place, (row, own) in enumerate(zip(probe, probe_id, strict=True)):
        similarity = gallery @ row
        mate, other = similarity[gallery_id == own][0], similarity[gallery_id != own].max()
        answers += [(float(max(mate, other)), bool(mate > other))] * (1 if times is None else times[place])
    best_coverage = 0.0
    for threshold, _ in answers:
        named = [right for score, right in answers if score >= threshold]
        if sum(named) >= precision * len(named):
            best_coverage = max(best_coverage, len(named) / len(answers))
    return best_coverage


def example(seed: int, noise: float) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    centre = random.normal(size=(30, 8))
    gallery = unit(centre + noise * random.normal(size=centre.shape))
    probe_id = random.integers(0, 30, 50)
    probe = unit(centre[probe_id] + noise * random.normal(size=(50, 8)))
    return gallery, np.arange(30), probe, probe_id


@given(seed=st.integers(0, 2**32 - 1), noise=st.floats(0.1, 3))
def test_is_that_of_a_loop_over_thresholds(seed: int, noise: float) -> None:
    data, precisions = example(seed, noise), (0.5, 0.9, 0.95, 1.0)
    found = coverage_at_precision(MatedProbes.match(*data), precisions, bootstrap=1, block=16)
    assert [metric.value for metric in found] == [slow(*data, precision) for precision in precisions]
    assert [metric.name for metric in found] == [
        "coverage@P=0.5", "coverage@P=0.9", "coverage@P=0.95", "coverage@P=1",
    ]  # fmt: skip


@given(seed=st.integers(0, 10_000), precision=st.sampled_from((0.5, 0.9, 1.0)), ties=st.booleans())
def test_replicates_count_a_probe_as_often_as_its_identity_is_drawn(
    seed: int, precision: float, ties: bool
) -> None:
    gallery, gallery_id, probe, probe_id = example(seed, 0.5)
    if ties:
        rng = np.random.default_rng(seed)
        gallery, probe = tied_rows(rng, len(gallery)), tied_rows(rng, len(probe))
    mated = MatedProbes.match(gallery, gallery_id, probe, probe_id)
    drawn = mated.identity_weights(7, 3)
    shares = [slow(gallery, gallery_id, probe, probe_id, precision, weight[mated.owner]) for weight in drawn]
    [metric] = coverage_at_precision(mated, (precision,), bootstrap=7, seed=3, block=16)
    np.testing.assert_allclose((metric.low, metric.high), np.percentile(shares, (2.5, 97.5)), atol=1e-12)


def test_the_interval_covers_the_truth() -> None:
    def draw(seed: int) -> MatedProbes:
        return MatedProbes.match(*noisy_identities(np.random.default_rng(seed), 80, noise=0.25))

    truth = np.mean(
        [coverage_at_precision(draw(seed), (0.8,), bootstrap=1)[0].value for seed in range(1000, 1100)]
    )
    runs = [coverage_at_precision(draw(seed), (0.8,), bootstrap=100)[0] for seed in range(80)]
    assert 0.5 < truth < 0.9
    assert np.mean([run.low <= truth <= run.high for run in runs]) >= 0.85
    assert np.mean([run.high - run.low for run in runs]) < 0.4


def test_a_collapsed_network_names_nobody() -> None:
    rows = np.tile(unit(np.ones((1, 4))), (6, 1))
    [metric] = coverage_at_precision(MatedProbes.match(rows, np.arange(6), rows, np.arange(6)))
    assert (metric.value, metric.low, metric.high) == (0, 0, 0)


def test_a_perfect_network_names_everybody() -> None:
    rows = np.eye(5, dtype=np.float32)
    [metric] = coverage_at_precision(MatedProbes.match(rows, np.arange(5), rows, np.arange(5)), (1,))
    assert (metric.value, metric.low, metric.high) == (1, 1, 1)


@pytest.mark.parametrize("precisions", [(), (95,), (0.0,), (0.5, float("nan"))])
def test_refuses_a_precision_that_is_no_share(precisions: tuple[float, ...]) -> None:
    rows = np.eye(3, dtype=np.float32)
    with pytest.raises(InputError, match="precisions is"):
        coverage_at_precision(MatedProbes.match(rows, np.arange(3), rows, np.arange(3)), precisions)


@pytest.mark.parametrize("precision", [0.54, 0.55, 0.56, 0.67, 0.81, 0.95])
def test_a_precision_that_is_just_reached_is_reached(precision: float) -> None:
    """0.55 * 100 is 55.00000000000001 as a float."""
    rows, named = np.eye(100, dtype=np.float32), round(100 * precision)
    probe = np.concatenate((rows[:named], np.roll(rows, 1, axis=0)[named:]))
    mated = MatedProbes.match(rows, np.arange(100), probe, np.arange(100))
    [metric] = coverage_at_precision(mated, (precision,), bootstrap=1)
    assert metric.value == 1
