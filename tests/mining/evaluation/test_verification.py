"""TAR@FAR, against scikit-learn's ROC curve and slow loops over every pair."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from made_up_embeddings import noisy_identities, tied_rows
from sklearn.metrics import roc_curve

from subspace.mining.errors import InputError
from subspace.mining.evaluation.mated_probes import MatedProbes
from subspace.mining.evaluation.roc import accepted_impostors
from subspace.mining.evaluation.verification import TarAtFar, tar_at_far


def tars_of(*embeddings: np.ndarray, fars: tuple[float, ...], **settings: int) -> tuple[TarAtFar, ...]:
    return tar_at_far(MatedProbes.match(*embeddings), fars, **settings)


@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(1, 25), st.booleans(), st.integers(1, 9))
def test_equals_the_best_tpr_of_scikit_learn_at_fpr_within_far(
    seed: int, n_gallery: int, n_probes: int, ties: bool, block: int
) -> None:
    rng = np.random.default_rng(seed)
    if ties:
        gallery, probe = tied_rows(rng, n_gallery), tied_rows(rng, n_probes)
    else:
        gallery, _, probe, _ = noisy_identities(rng, max(n_gallery, n_probes))
        gallery, probe = gallery[:n_gallery], probe[:n_probes]
    gallery_id = rng.permutation(n_gallery) + 5
    probe_id = rng.choice(gallery_id, len(probe))
    fars = (0.3, 0.1, 0.05, 0.01)

    mated = MatedProbes.match(gallery, gallery_id, probe, probe_id)
    tars = tar_at_far(mated, fars, bootstrap=3, block=block)

    genuine = probe_id[:, None] == gallery_id[None]
    fpr, tpr, _ = roc_curve(genuine.ravel(), (probe @ gallery.T).ravel(), drop_intermediate=False)
    n_impostor = int((~genuine).sum())
    assert mated.impostor_pairs == n_impostor
    for metric in tars:
        if math.floor(Fraction(str(metric.far)) * n_impostor) == 0:
            assert (metric.value, metric.low, metric.high, metric.threshold) == (None,) * 4
        else:
            assert metric.value == pytest.approx(tpr[fpr <= metric.far].max(), abs=1e-12)


def test_the_share_of_accepted_impostors_stays_within_far() -> None:
    gallery, gallery_id, probe, probe_id = noisy_identities(np.random.default_rng(0), 80)
    impostors = (probe @ gallery.T)[probe_id[:, None] != gallery_id[None]]
    for metric in tars_of(gallery, gallery_id, probe, probe_id, fars=(1e-1, 1e-2, 1e-3)):
        far = np.mean(impostors > metric.threshold)
        assert metric.far - 1 / len(impostors) - 1e-12 <= far <= metric.far


def test_far_times_n_is_taken_as_written() -> None:
    assert math.floor(0.29 * 100) == 28
    assert accepted_impostors(0.29, 100) == 29
    assert accepted_impostors(np.float64(1e-5), 300_000) == 3
    assert accepted_impostors(1e-6, 999_999) == 0


@given(st.integers(0, 10_000), st.booleans())
def test_replicates_recompute_the_threshold_from_weighted_pairs(seed: int, ties: bool) -> None:
    """Every replicate, pair by pair: an identity drawn w times has its probes and gallery image w times."""
    rng = np.random.default_rng(seed)
    gallery, gallery_id, probe, probe_id = noisy_identities(rng, 12)
    if ties:
        gallery, probe = tied_rows(rng, len(gallery)), tied_rows(rng, len(probe))
    with_probes = probe_id < 9  # three gallery identities are background of weight 1
    probe, probe_id = probe[with_probes], probe_id[with_probes]
    far, bootstrap = 0.4, 7  # at FAR 0.4 the tail holds every pair
    pairs = MatedProbes.match(gallery, gallery_id, probe, probe_id)
    similarity, mates = probe @ gallery.T, pairs.mate_similarity(1000)

    tars = []
    for drawn in pairs.identity_weights(bootstrap, 3):
        weight = np.append(drawn, np.ones(3, int))
        impostors = []
        for p in range(len(probe)):
            for g in range(len(gallery)):
                if probe_id[p] != g:
                    impostors += [similarity[p, g]] * (weight[probe_id[p]] * weight[g])
        assume(impostors)
        threshold = sorted(impostors, reverse=True)[math.floor(Fraction("0.4") * len(impostors))]
        tars.append(sum(weight[probe_id] * (mates > threshold)) / sum(weight[probe_id]))

    [metric] = tar_at_far(pairs, (far,), bootstrap=bootstrap, seed=3)
    np.testing.assert_allclose((metric.low, metric.high), np.percentile(tars, (2.5, 97.5)), atol=1e-12)


def test_blocks_and_row_order_change_nothing() -> None:
    gallery, gallery_id, probe, probe_id = noisy_identities(np.random.default_rng(0), 60)
    whole = tars_of(gallery, gallery_id, probe, probe_id, fars=(1e-1, 1e-2))
    g, p = np.random.default_rng(1).permutation(60), np.random.default_rng(2).permutation(len(probe))
    others = [tars_of(gallery[g], gallery_id[g], probe[p], probe_id[p], fars=(1e-1, 1e-2))]
    others += [tars_of(gallery, gallery_id, probe, probe_id, fars=(1e-1, 1e-2), block=b) for b in (1, 7, 64)]
    for other in others:
        for a, b in zip(whole, other, strict=True):
            np.testing.assert_allclose(list(a.to_json().values()), list(b.to_json().values()), atol=1e-6)


def test_a_collapsed_network_scores_zero() -> None:
    row = np.random.default_rng(0).standard_normal((1, 512))
    row /= np.linalg.norm(row)
    for block in (33, 1024):
        result = tars_of(
            row.repeat(50, 0),
            np.arange(50),
            row.repeat(100, 0),
            np.arange(100) // 2,
            fars=(1e-2,),
            block=block,
        )
        assert (result[0].value, result[0].high) == (0, 0)


@pytest.mark.slow
def test_the_interval_covers_the_truth() -> None:
    def draw(seed: int, n: int) -> tuple[np.ndarray, ...]:
        return noisy_identities(np.random.default_rng(seed), n)

    truth = tars_of(*draw(10_000, 3000), fars=(1e-2,), bootstrap=1)[0].value
    runs = [tars_of(*draw(seed, 80), fars=(1e-2,), bootstrap=100)[0] for seed in range(80)]
    assert np.mean([run.low <= truth <= run.high for run in runs]) >= 0.85
    assert np.mean([run.value for run in runs]) == pytest.approx(truth, abs=0.03)
    assert np.mean([run.high - run.low for run in runs]) < 0.3


def test_the_interval_is_seeded() -> None:
    data = noisy_identities(np.random.default_rng(0), 50)
    assert tars_of(*data, fars=(0.01,), seed=5) == tars_of(*data, fars=(0.01,), seed=5)
    assert tars_of(*data, fars=(0.01,), seed=5) != tars_of(*data, fars=(0.01,), seed=6)


def test_too_few_pairs_are_told_as_null() -> None:
    mated = MatedProbes.match(*noisy_identities(np.random.default_rng(0), 40))
    assert mated.impostor_pairs < 10_000
    tars = {metric.name: json.loads(json.dumps(metric.to_json())) for metric in tar_at_far(mated)}
    assert list(tars) == ["TAR@FAR=1e-3", "TAR@FAR=1e-4", "TAR@FAR=1e-5"]
    assert tars["TAR@FAR=1e-3"]["value"] is not None
    nothing = dict.fromkeys(("value", "low", "high", "threshold"))
    reason = f"FAR=1e-05 needs 100,000 impostor pairs or more; there are {mated.impostor_pairs:,}"
    assert tars["TAR@FAR=1e-5"] == nothing | {"far": 1e-5, "reason": reason}
    [alone] = tars_of(np.eye(3)[:1], np.array([4]), np.eye(3)[[0, 0]], np.array([4, 4]), fars=(0.0015,))
    assert (alone.name, alone.value) == ("TAR@FAR=1.5e-3", None)


@pytest.mark.parametrize("fars", [(), (0.0,), (1.0,), (0.1, -1.0), (float("nan"),)])
def test_rates_outside_0_and_1_are_refused(fars: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="fars is"):
        tars_of(*noisy_identities(np.random.default_rng(0), 5), fars=fars)
