"""Rank-k and its interval, against slow loops that restate the definitions."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_embeddings import tied_rows, unit

from subspace.mining.errors import InputError
from subspace.mining.evaluation.identification import rank_k_rates
from subspace.mining.evaluation.intervals import Metric
from subspace.mining.evaluation.mated_probes import MatedProbes


def slow_ranks(
    gallery: np.ndarray,
    gallery_id: np.ndarray,
    probe: np.ndarray,
    probe_id: np.ndarray,
    distractors: np.ndarray,
) -> list[int]:
    ranks = []
    for row, identity in zip(probe, probe_id, strict=True):
        mate = float(row @ gallery[gallery_id == identity][0])
        others = [*gallery[gallery_id != identity], *distractors]
        ranks.append(1 + sum(float(row @ other) >= mate for other in others))
    return ranks


@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 20), st.integers(0, 5), st.integers(1, 9))
def test_rank_k_counts_ties_against_the_probe(
    seed: int, n_gallery: int, n_probes: int, n_distractors: int, block: int
) -> None:
    rng = np.random.default_rng(seed)
    gallery, probe, distractors = (tied_rows(rng, n) for n in (n_gallery, n_probes, n_distractors))
    gallery_id = rng.permutation(n_gallery) + 10
    probe_id = rng.choice(gallery_id, n_probes)
    ranks = np.array(slow_ranks(gallery, gallery_id, probe, probe_id, distractors))

    mated = MatedProbes.match(gallery, gallery_id, probe, probe_id, distractors=distractors)
    rates = rank_k_rates(mated, (1, 2, 5), bootstrap=5, block=block)

    for k, rate in zip((1, 2, 5), rates, strict=True):
        assert rate.name == f"Rank-{k}"
        assert rate.value == pytest.approx(np.mean(ranks <= k), abs=1e-12)


def identities_with_noise(seed: int, n: int = 60, d: int = 37) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    means = unit(rng.standard_normal((n, d)))
    probe_id = rng.integers(0, n, 4 * n)
    probe = means[probe_id] + 0.25 * rng.standard_normal((4 * n, d)).astype(np.float32)
    return means, np.arange(n), unit(probe), probe_id


def test_scikit_learn_and_faiss_say_the_same() -> None:
    from sklearn.metrics import top_k_accuracy_score

    gallery, gallery_id, probe, probe_id = identities_with_noise(4)
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery)
    mated = MatedProbes.match(gallery, gallery_id, probe, probe_id)
    for rate, k in zip(rank_k_rates(mated, (1, 5, 10), bootstrap=2), (1, 5, 10), strict=True):
        near_qk = gallery_id[index.search(probe, k)[1]]
        assert rate.value == pytest.approx((near_qk == probe_id[:, None]).any(axis=1).mean(), abs=1e-6)
        theirs = top_k_accuracy_score(probe_id, probe @ gallery.T, k=k, labels=gallery_id)
        assert rate.value == pytest.approx(theirs, abs=1e-6)


def test_blocks_and_row_order_change_nothing() -> None:
    gallery, gallery_id, probe, probe_id = identities_with_noise(0)
    mated = MatedProbes.match(gallery, gallery_id, probe, probe_id)
    whole = rank_k_rates(mated)
    assert 0.2 < whole[0].value < 0.95
    for block in (1, 7, 64, 100):
        assert rank_k_rates(mated, block=block) == whole
    g, p = np.random.default_rng(1).permutation(60), np.random.default_rng(2).permutation(240)
    assert rank_k_rates(MatedProbes.match(gallery[g], gallery_id[g], probe[p], probe_id[p])) == whole


def test_a_collapsed_network_scores_zero() -> None:
    row = unit(np.random.default_rng(0).standard_normal((1, 512)))
    mated = MatedProbes.match(row.repeat(50, 0), np.arange(50), row.repeat(100, 0), np.arange(100) // 2)
    assert rank_k_rates(mated, (5,), block=33)[0].value == 0


def lookups(hit: np.ndarray, owner: np.ndarray) -> Metric:
    """Rank-1 where probe p of identity `owner[p]` is found exactly where `hit[p]`."""
    n = owner.max() + 1
    gallery = np.eye(n, dtype=np.float32)
    probe = gallery[np.where(hit, owner, (owner + 1) % n)]
    return rank_k_rates(MatedProbes.match(gallery, np.arange(n), probe, owner), (1,))[0]


def test_the_interval_covers_the_truth_when_probes_of_an_identity_agree() -> None:
    rng = np.random.default_rng(0)
    owner, truth, covered, runs = np.repeat(np.arange(80), 5), 0.7, 0, 150
    for _ in range(runs):
        interval = lookups((rng.random(80) < truth)[owner], owner)
        covered += interval.low <= truth <= interval.high
    assert 0.88 <= covered / runs <= 0.99  # resampling probes would cover about 0.6


def test_the_interval_is_seeded_and_its_width_that_of_identities() -> None:
    owner = np.repeat(np.arange(100), 4)
    interval = lookups((owner % 2).astype(bool), owner)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 0.05, rel=0.25)
    mated = MatedProbes.match(*identities_with_noise(3))
    assert rank_k_rates(mated, seed=5) == rank_k_rates(mated, seed=5)
    assert rank_k_rates(mated, seed=5) != rank_k_rates(mated, seed=6)


@pytest.mark.parametrize("ks", [(), (0,), (1, -1)])
def test_ranks_below_1_are_refused(ks: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="ks is"):
        rank_k_rates(MatedProbes.match(*identities_with_noise(0)), ks)
