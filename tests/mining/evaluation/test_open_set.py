"""DIR@FAR against a slow loop over thresholds, its ties, and when there are too few strangers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_embeddings import noisy_identities, tied_rows, unit

from subspace.mining.errors import InputError
from subspace.mining.evaluation.mated_probes import TIE, MatedProbes
from subspace.mining.evaluation.open_set import open_set_rates
from subspace.mining.evaluation.registry import compute_metrics


def slow_rate(
    gallery: np.ndarray, gallery_id: np.ndarray, probe: np.ndarray, probe_id: np.ndarray, strangers: np.ndarray,
    others: np.ndarray, far: float, rank: int,
) -> float | None:  # fmt: skip
    """The lowest threshold among all similarities that lets few enough strangers in, and whom it finds."""
    everybody = np.concatenate((gallery, others))
    top = [max(float(row @ other) for other in everybody) for row in strangers]
    if far * len(top) < 1:
        return None
    thresholds = sorted({score + TIE for score in top})
    threshold = next(t for t in thresholds if sum(score > t for score in top) <= far * len(top) + 1e-9)
    found = 0
    for row, identity in zip(probe, probe_id, strict=True):
        mate = float(row @ gallery[gallery_id == identity][0])
        rest = [float(row @ other) for other in [*gallery[gallery_id != identity], *others]]
        found += sum(score >= mate for score in rest) < rank and mate > threshold
    return found / len(probe)


@settings(max_examples=40)
@given(
    st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 12), st.integers(1, 12), st.integers(0, 4),
    st.sampled_from([0.1, 0.25, 0.5, 0.9]), st.integers(1, 3),
)  # fmt: skip
def test_rates_are_those_of_a_slow_loop(
    seed: int, images: int, probes: int, strangers: int, distractors: int, far: float, rank: int
) -> None:
    rng = np.random.default_rng(seed)
    gallery, probe, unknown, others = (tied_rows(rng, n) for n in (images, probes, strangers, distractors))
    gallery_id, probe_id = np.arange(images), rng.integers(0, images, probes)
    mated = MatedProbes.match(gallery, gallery_id, probe, probe_id, distractors=others)
    [metric] = open_set_rates(mated, unknown, (far,), rank=rank, bootstrap=2, block=3)
    expected = slow_rate(gallery, gallery_id, probe, probe_id, unknown, others, far, rank)
    assert metric.value == (expected if expected is None else pytest.approx(expected, abs=1e-12))


def test_distractors_are_the_strangers_of_an_examination() -> None:
    data = noisy_identities(np.random.default_rng(0), 40, noise=0.15)
    strangers = unit(np.random.default_rng(1).standard_normal((150, 24)))
    found = compute_metrics(["DIR@FAR=1e-1", "DIR@FAR=1e-3", "Rank-1"], *data, distractors=strangers)
    metric = found["DIR@FAR=1e-1"]
    expected = slow_rate(*data, strangers, strangers[:0], 0.1, 1)
    assert metric.value == pytest.approx(expected, abs=1e-12)
    assert 0 < metric.low < metric.value < metric.high < 1
    top = (strangers @ data[0].T).max(axis=1)
    assert (top > metric.to_json()["threshold"]).sum() == 15
    few = found["DIR@FAR=1e-3"]
    assert (few.value, few.low, few.to_json()["threshold"]) == (None, None, None)
    assert compute_metrics(["DIR@FAR=1e-1"], *data)["DIR@FAR=1e-1"].value is None


def test_scikit_learn_has_the_same_rates() -> None:
    """DIR is the true positive rate of its ROC curve, where a probe that is not found first scores below all."""
    from sklearn.metrics import roc_curve

    gallery, gallery_id, probe, probe_id = noisy_identities(np.random.default_rng(2), 40, noise=0.2)
    strangers = unit(np.random.default_rng(3).standard_normal((300, 24)))
    similarity = probe @ gallery.T
    mate = similarity[np.arange(len(probe)), probe_id]
    score = np.concatenate(
        (np.where(mate >= similarity.max(axis=1), mate, -2), (strangers @ gallery.T).max(axis=1))
    )
    known = np.repeat([1, 0], (len(probe), len(strangers)))
    far, tar, _ = roc_curve(known, score, drop_intermediate=False)
    fars = (1e-2, 5e-2, 0.2)
    found = open_set_rates(
        MatedProbes.match(gallery, gallery_id, probe, probe_id), strangers, fars, bootstrap=2
    )
    for metric, rate in zip(found, fars, strict=True):
        assert 0 < metric.value < 1
        assert metric.value == pytest.approx(tar[far <= rate].max(), abs=1e-6)


def test_a_collapsed_network_finds_nobody() -> None:
    rows = np.ones((20, 4), np.float32) / 2
    mated = MatedProbes.match(rows, np.arange(20), rows, np.arange(20))
    assert open_set_rates(mated, rows, (0.5,))[0].value == 0
    alone = MatedProbes.match(rows[:1], [0], rows, np.zeros(20, int))
    assert open_set_rates(alone, rows, (0.5,))[0].value == 0


def test_the_interval_draws_strangers_by_identity() -> None:
    data = noisy_identities(np.random.default_rng(0), 40, noise=0.15)
    mated, strangers = MatedProbes.match(*data), unit(np.random.default_rng(1).standard_normal((100, 24)))
    [single] = open_set_rates(mated, strangers, (0.1,))
    [again] = open_set_rates(mated, strangers.repeat(3, 0), (0.1,), non_mated_id=np.arange(100).repeat(3))
    assert (single.value, single.low, single.high) == (again.value, again.low, again.high)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"fars": ()}, "fars is"), ({"fars": (1.0,)}, "fars is"), ({"rank": 0}, "rank 0"),
        ({"non_mated_id": [1]}, "4 embeddings of probes without a mate but identities of shape"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(asked: dict, said: str) -> None:
    mated = MatedProbes.match(np.eye(4), range(4), np.eye(4), range(4))
    with pytest.raises(InputError, match=said):
        open_set_rates(mated, np.eye(4), **asked)
