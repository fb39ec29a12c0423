"""The ROC curve against scikit-learn's and slow loops; all impostor pairs in one pass against all of them held.

Covers mining/evaluation/impostor_scores.py, mining/evaluation/verification_metrics.py, too.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_embeddings import noisy_identities, tied_rows
from sklearn.metrics import roc_curve
from torchmetrics_alone import torchmetrics_alone

from subspace.mining.errors import InputError
from subspace.mining.evaluation.impostor_scores import ImpostorScores, thinned
from subspace.mining.evaluation.mated_probes import MatedProbes
from subspace.mining.evaluation.roc import STEP, Roc, ScoreCounts
from subspace.mining.evaluation.verification import equal_error_rates, verify_all_pairs, verify_pairs


def scores(seed: int, genuine: int, impostor: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    if ties:
        return rng.integers(-2, 5, genuine) / 4, rng.integers(-4, 3, impostor) / 4
    return np.tanh(rng.normal(0.5, 0.4, genuine)), np.tanh(rng.normal(0, 0.3, impostor))


def sklearn_curve(genuine: np.ndarray, impostor: np.ndarray) -> tuple[np.ndarray, ...]:
    same = np.repeat((True, False), (len(genuine), len(impostor)))
    return roc_curve(same, np.concatenate((genuine, impostor)), drop_intermediate=False)


def slow_equal_error(genuine: np.ndarray, impostor: np.ndarray) -> float:
    """Every threshold from the highest down; the first whose two rates differ least."""
    best = (2.0, 0.0)
    for threshold in [np.inf, *sorted({*genuine, *impostor}, reverse=True)]:
        far, frr = np.mean(impostor >= threshold), np.mean(genuine < threshold)
        if abs(far - frr) < best[0] - 1e-12:
            best = (abs(far - frr), (far + frr) / 2)
    return best[1]


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 60), st.booleans())
def test_equals_scikit_learn_and_slow_loops(seed: int, n_genuine: int, n_impostor: int, ties: bool) -> None:
    genuine, impostor = scores(seed, n_genuine, n_impostor, ties)
    roc = Roc.of(genuine, impostor)
    fpr, tpr, _ = sklearn_curve(genuine, impostor)
    for far in (0.5, 0.2, 0.05, 0.01):
        if math.floor(Fraction(str(far)) * n_impostor) == 0:
            assert (roc.tar_at_far(far), roc.threshold_at_far(far)) == (None, None)
            assert roc.why_unknown(far)
        else:
            assert roc.tar_at_far(far) == pytest.approx(tpr[fpr <= far].max(), abs=1e-12)
            threshold = roc.threshold_at_far(far)
            assert np.mean(impostor > threshold) <= far
            assert roc.far_at_threshold(threshold) == pytest.approx(np.mean(impostor > threshold))
            assert roc.tar_at_threshold(threshold) == pytest.approx(np.mean(genuine > threshold))
    assert roc.equal_error_rate == pytest.approx(slow_equal_error(genuine, impostor), abs=1e-12)
    at = roc.equal_error_threshold
    rates = np.mean(impostor > at), 1 - np.mean(genuine > at)
    assert roc.equal_error_rate == pytest.approx(np.mean(rates), abs=1e-12)
    curve = roc.curve()
    whole = {(round(far, 9), round(tar, 9)) for far, tar in zip(fpr, tpr, strict=True)}
    assert {(round(far, 9), round(tar, 9)) for far, tar in zip(curve.far, curve.tar, strict=True)} == whole


def test_a_long_curve_is_thinned_to_exact_points_with_its_ends() -> None:
    genuine, impostor = scores(1, 2000, 30_000, ties=False)
    curve = Roc.of(genuine, impostor).curve(points=200)
    assert 60 < len(curve.far) <= 205
    assert (curve.far[0], curve.tar[0], curve.far[-1], curve.tar[-1]) == (0, 0, 1, 1)
    assert (np.diff(curve.far) >= 0).all()
    assert (np.diff(curve.threshold) < 0).all()
    for threshold, far, tar in zip(*curve, strict=True):
        assert far == pytest.approx(np.mean(impostor > threshold), abs=1e-12)
        assert tar == pytest.approx(np.mean(genuine > threshold), abs=1e-12)
    assert np.count_nonzero((curve.far > 0) & (curve.far < 1e-2)) > 20


def test_a_threshold_that_is_asked_for_has_its_rates() -> None:
    genuine, impostor = scores(2, 500, 5000, ties=False)
    roc = Roc.of(genuine, impostor)
    for threshold in (-2, -0.3, 0.123456, 0.4, 2):
        assert roc.far_at_threshold(threshold) == pytest.approx(np.mean(impostor > threshold))
        assert roc.tar_at_threshold(threshold) == pytest.approx(np.mean(genuine > threshold))


def test_rounding_does_not_tell_equal_scores_apart() -> None:
    equal = np.float32(0.7) + np.arange(-4, 5, dtype=np.float32) * np.float32(2**-24)
    roc = Roc.of(np.repeat(equal, 3), equal)
    assert roc.tar_at_far(0.2) == 0
    assert roc.equal_error_rate == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    ("genuine", "impostor", "line"),
    [
        ([], [0.1], "no genuine pairs"),
        ([0.1], [], "no impostor pairs"),
        ([0.1, np.nan], [0.1], "1 of 2 genuine similarities are NaN or infinite, the first in row 1"),
        ([0.1], [[0.1]], r"shape \(1, 1\)"),
    ],
)
def test_what_has_no_curve_is_one_line(genuine: list, impostor: list, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        Roc.of(genuine, impostor)
    assert "\n" not in str(error.value)


# --- all pairs ---


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.booleans(), st.integers(1, 40))
def test_all_impostors_are_counted_and_the_best_are_kept(seed: int, ties: bool, block: int) -> None:
    rng = np.random.default_rng(seed)
    gallery, gallery_id, probe, probe_id = noisy_identities(rng, 12)
    if ties:
        gallery, probe = tied_rows(rng, len(gallery)), tied_rows(rng, len(probe))
    mated = MatedProbes.match(gallery, gallery_id, probe, probe_id)
    impostor = (probe @ gallery.T)[probe_id[:, None] != gallery_id[None]]
    found = ImpostorScores.collect(mated, seed, block, kept=50)
    assert found.counts.total == len(impostor)
    for threshold in np.linspace(-1, 1, 9) + 0.01:
        assert found.counts.above(int(np.ceil(threshold / STEP))) == np.sum(impostor > threshold)
    assert (found.probe_row != found.gallery_row).all()
    assert (np.diff(found.level) >= 0).all()
    everything = ImpostorScores.collect(mated, seed, block)
    assert (len(everything.level), set(everything.weight)) == (len(impostor), {1})
    assert everything.counts.total == len(impostor)


def test_the_sample_knows_the_rates_of_all_pairs() -> None:
    mated = MatedProbes.match(*noisy_identities(np.random.default_rng(0), 700))
    found = ImpostorScores.collect(mated, 3, 256, kept=2**14)
    assert mated.impostor_pairs > 40 * 2**14
    assert len(found.level) < mated.impostor_pairs / 10
    sample = ScoreCounts.weighted(found.level, found.weight)
    for far in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 0.5):
        edge = found.counts.highest_below(int(far * mated.impostor_pairs))
        assert sample.above(edge) == pytest.approx(found.counts.above(edge), rel=0.03), far
    tail = found.level[found.weight == 1]
    assert len(tail) == pytest.approx(2**14, rel=0.2)
    assert found.counts.above(int(tail[0]) - 1) == len(tail), "the tail is whole"


def test_intervals_of_a_sample_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    mated = MatedProbes.match(*noisy_identities(np.random.default_rng(5), 150))
    whole = verify_all_pairs(mated, (1e-2, 1e-3))
    collect = ImpostorScores.collect
    monkeypatch.setattr(ImpostorScores, "collect", lambda m, s, b: collect(m, s, b, 2**12))
    sampled = verify_all_pairs(mated, (1e-2, 1e-3))
    assert mated.impostor_pairs > 15 * 2**12
    for full, part in zip(whole.metrics, sampled.metrics, strict=True):
        assert full.value == part.value
        np.testing.assert_allclose((part.low, part.high), (full.low, full.high), atol=0.01)


def test_the_equal_error_rate_of_all_pairs_is_the_slow_loop_s() -> None:
    gallery, gallery_id, probe, probe_id = noisy_identities(np.random.default_rng(2), 40)
    similarity, same = probe @ gallery.T, probe_id[:, None] == gallery_id[None]
    [found] = equal_error_rates(MatedProbes.match(gallery, gallery_id, probe, probe_id))
    assert found.value == pytest.approx(slow_equal_error(similarity[same], similarity[~same]), abs=1e-6)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("seed", range(3))
def test_the_equal_error_rate_is_that_of_torchmetrics(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores are whole levels between 0 and 1, since it takes others for logits; some are ties."""
    classification = torchmetrics_alone(monkeypatch, "classification")
    rng = np.random.default_rng(seed)
    genuine, impostor = rng.beta(4, 2, 37 + seed), rng.beta(2, 4, 90)
    genuine, impostor = (np.round(scores * 32) / 32 for scores in (genuine, impostor))
    scores = torch.from_numpy(np.concatenate((genuine, impostor)))
    same = torch.from_numpy(np.repeat([1, 0], (len(genuine), len(impostor))))
    theirs = classification.binary_eer(scores, same).item()
    assert Roc.of(genuine, impostor).equal_error_rate == pytest.approx(theirs, abs=1e-6)


def test_one_identity_has_no_impostors() -> None:
    found = verify_all_pairs(MatedProbes.match(np.eye(3)[:1], [4], np.eye(3)[[0, 0]], [4, 4]))
    assert found.roc is None
    assert (found.eer.value, found.eer.low, found.eer.threshold) == (None, None, None)
    assert found.eer.to_json()["reason"] == "there are no impostor pairs; bring two identities or more"


# --- listed pairs ---


def test_listed_pairs_measure_what_all_pairs_do() -> None:
    gallery, gallery_id, probe, probe_id = noisy_identities(np.random.default_rng(3), 40)
    mated = MatedProbes.match(gallery, gallery_id, probe, probe_id)
    whole = verify_all_pairs(mated, (1e-1, 1e-2))
    similarity, same = (probe @ gallery.T).ravel(), (probe_id[:, None] == gallery_id[None]).ravel()
    who = np.repeat(probe_id, len(gallery)), np.tile(gallery_id, len(probe))
    listed = verify_pairs(similarity, same, (1e-1, 1e-2), identities=who)
    for all_pairs, of_list in zip(whole.metrics, listed.metrics, strict=True):
        assert of_list.value == pytest.approx(all_pairs.value, abs=1e-6)
        np.testing.assert_allclose((of_list.low, of_list.high), (all_pairs.low, all_pairs.high), atol=0.03)
    by_pairs = verify_pairs(similarity, same, (1e-1,))
    assert by_pairs.tars[0].value == listed.tars[0].value
    assert by_pairs.eer.high - by_pairs.eer.low < listed.eer.high - listed.eer.low


@given(st.integers(0, 5000), st.integers(1, 500))
def test_thinning_keeps_the_top_and_the_total(seed: int, n: int) -> None:
    place, weight = thinned(n, np.random.default_rng(seed), kept=64)
    assert (np.diff(place) > 0).all()
    assert set(range(max(n - 64, 0), n)) <= set(place)
    assert set(weight) <= {1, 2, 4, 8}
    assert abs(weight.sum() - n) <= 8 * 3 * n**0.5


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"similarity": [0.1], "same": [True]}, "no impostor pairs"),
        ({"similarity": [0.1], "same": [False]}, "no genuine pairs"),
        ({"similarity": [0.1, 0.2], "same": [True]}, "one of each per pair"),
        ({"similarity": [0.1, 0.2], "same": [1, 0]}, "true or false"),
        ({"similarity": [0.1, 0.2], "same": [True, False], "identities": ([1, 1], [1, 1])}, "pair 1 is called impostor"),
        ({"similarity": [0.1, 0.2], "same": [True, False], "identities": ([1], [1])}, "for 2 pairs"),
        ({"similarity": [0.1, 0.2], "same": [True, False], "bootstrap": 0}, "bootstrap is 0"),
    ],
)  # fmt: skip
def test_pairs_that_say_nothing_are_one_line(given: dict, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        verify_pairs(**given)
    assert "\n" not in str(error.value)
