"""Evaluation pairs and Rank-k, against slow loops that restate the definitions."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.errors import InputError
from subspace.mining.evaluation.identification import (
    EvaluationPairs,
    Identification,
    evaluation_pairs,
    identification,
)


def tied_rows(rng: np.random.Generator, n: int) -> np.ndarray:
    """Unit rows of four entries ±1/2: similarities are multiples of 1/4, exact in any order of summation."""
    rows = np.zeros((n, 6), np.float32)
    for row in rows:
        row[rng.choice(6, 4, replace=False)] = rng.choice([-0.5, 0.5], 4)
    return rows


def random_units(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    rows = rng.standard_normal((n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


images = st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 2)), min_size=1, max_size=24)


def differ(group: np.ndarray | None, a: int, b: int) -> bool:
    return a != b and (group is None or group[a] != group[b] or group[a] == -1)


@given(images, st.booleans(), st.sampled_from([None, 1, 2]), st.integers(0, 3))
def test_pairs_follow_their_definition(
    rows: list[tuple[int, int]], grouped: bool, limit: int | None, seed: int
) -> None:
    identity = np.array([identity for identity, _ in rows])
    group = np.array([group for _, group in rows]) if grouped else None
    mates = {
        a: [b for b in range(len(rows)) if identity[a] == identity[b] and differ(group, a, b)]
        for a in range(len(rows))
    }
    can = {identity[a] for a in mates if mates[a]}
    if not can:
        with pytest.raises(InputError, match="two images, of different groups"):
            evaluation_pairs(identity, group, probes_per_identity=limit, seed=seed)
        return

    pairs = evaluation_pairs(identity, group, probes_per_identity=limit, seed=seed)

    assert identity[pairs.gallery].tolist() == sorted(can)
    assert identity[pairs.distractor].tolist() == sorted(set(identity) - can)
    expected = []
    for image in pairs.gallery:
        mine = [probe for probe in pairs.probe if identity[probe] == identity[image]]
        assert set(mine) <= set(mates[image])
        assert len(mine) == min(len(mates[image]), limit or len(rows))
        expected += sorted(mine)
    assert pairs.probe.tolist() == expected


def assert_same(a: EvaluationPairs, b: EvaluationPairs) -> None:
    for name in vars(a):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_pairs_are_a_pure_function_of_images_sorted_by_identity() -> None:
    rng = np.random.default_rng(0)
    identity, group = rng.integers(0, 30, 200), rng.integers(-1, 3, 200)
    pairs = evaluation_pairs(identity, group, probes_per_identity=2, seed=1)
    assert_same(pairs, evaluation_pairs(identity, group, probes_per_identity=2, seed=1))

    order = np.argsort(identity, kind="stable")
    by_identity = evaluation_pairs(identity[order], group[order], probes_per_identity=2, seed=1)
    assert_same(pairs, EvaluationPairs(*(order[position] for position in vars(by_identity).values())))

    other_seed = evaluation_pairs(identity, group, probes_per_identity=2, seed=2)
    assert (pairs.gallery != other_seed.gallery).any()


def test_the_draw_of_gallery_and_probe_is_uniform() -> None:
    identity, group = np.zeros(4, int), np.array([0, 0, 1, -1])
    drawn = Counter()
    for seed in range(3000):
        pairs = evaluation_pairs(identity, group, probes_per_identity=1, seed=seed)
        drawn[int(pairs.gallery[0]), int(pairs.probe[0])] += 1
    for (gallery, _), count in drawn.items():
        choices = 2 if gallery in (0, 1) else 3
        assert count / 3000 == pytest.approx(1 / 4 / choices, abs=0.03)
    assert len(drawn) == 2 * 2 + 2 * 3


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

    result = identification(
        gallery, gallery_id, probe, probe_id, distractors=distractors, ks=(1, 2, 5), bootstrap=5, block=block
    )

    for k in (1, 2, 5):
        assert result[f"Rank-{k}"].value == pytest.approx(np.mean(ranks <= k), abs=1e-12)
    assert (result.identities, result.probes) == (len(set(probe_id)), n_probes)
    assert (result.gallery, result.distractors) == (n_gallery, n_distractors)


def identities_with_noise(seed: int, n: int = 60, d: int = 37) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    means = random_units(rng, n, d)
    probe_id = rng.integers(0, n, 4 * n)
    probe = means[probe_id] + 0.25 * rng.standard_normal((4 * n, d)).astype(np.float32)
    return means, np.arange(n), probe / np.linalg.norm(probe, axis=1, keepdims=True), probe_id


def test_blocks_and_row_order_change_nothing() -> None:
    gallery, gallery_id, probe, probe_id = identities_with_noise(0)
    whole = identification(gallery, gallery_id, probe, probe_id)
    assert 0.2 < whole["Rank-1"].value < 0.95
    for block in (1, 7, 64, 100):
        assert identification(gallery, gallery_id, probe, probe_id, block=block) == whole
    g, p = np.random.default_rng(1).permutation(60), np.random.default_rng(2).permutation(240)
    assert identification(gallery[g], gallery_id[g], probe[p], probe_id[p]) == whole


def test_a_collapsed_network_scores_zero() -> None:
    row = random_units(np.random.default_rng(0), 1, 512)
    result = identification(
        row.repeat(50, 0), np.arange(50), row.repeat(100, 0), np.arange(100) // 2, block=33
    )
    assert result["Rank-5"].value == 0


def lookups(hit: np.ndarray, owner: np.ndarray) -> Identification:
    """Identification in which probe p of identity `owner[p]` is found exactly where `hit[p]`."""
    n = owner.max() + 1
    gallery = np.eye(n, dtype=np.float32)
    return identification(
        gallery, np.arange(n), gallery[np.where(hit, owner, (owner + 1) % n)], owner, ks=(1,)
    )


def test_the_interval_covers_the_truth_when_probes_of_an_identity_agree() -> None:
    rng = np.random.default_rng(0)
    owner, truth, covered, runs = np.repeat(np.arange(80), 5), 0.7, 0, 150
    for _ in range(runs):
        interval = lookups((rng.random(80) < truth)[owner], owner)["Rank-1"]
        covered += interval.low <= truth <= interval.high
    assert 0.88 <= covered / runs <= 0.99  # resampling probes would cover about 0.6


def test_the_interval_is_seeded_and_its_width_that_of_identities() -> None:
    owner = np.repeat(np.arange(100), 4)
    interval = lookups((owner % 2).astype(bool), owner)["Rank-1"]
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 0.05, rel=0.25)
    data = identities_with_noise(3)
    assert identification(*data, seed=5) == identification(*data, seed=5)
    assert identification(*data, seed=5) != identification(*data, seed=6)


def test_json_has_the_names_that_users_know() -> None:
    told = json.loads(json.dumps(identification(*identities_with_noise(0)).to_json()))
    assert list(told["metrics"]) == ["Rank-1", "Rank-5"]
    assert set(told["metrics"]["Rank-1"]) == {"value", "low", "high"}


def test_wrong_input_is_told_in_one_line() -> None:
    gallery, gallery_id, probe, probe_id = identities_with_noise(0)
    broken = probe.copy()
    broken[[3, 8], 0] = np.nan
    cases = [
        ((gallery, gallery_id, broken, probe_id), "2 of 240 probe embeddings hold NaN or infinity.*row 3"),
        ((2 * gallery, gallery_id, probe, probe_id), "60 of 60 gallery embeddings are not of unit length"),
        ((gallery, gallery_id, probe[:0], probe_id[:0]), "two images, of different groups"),
        ((gallery, gallery_id[1:], probe, probe_id), "60 gallery embeddings but"),
        ((gallery, gallery_id, np.eye(30, dtype=np.float32), np.arange(30)), "30-d but gallery 37-d"),
        ((gallery, gallery_id // 2, probe, probe_id // 2), "60 gallery rows of 30 identities"),
        ((gallery, gallery_id, probe, probe_id + 1), "first: 60"),
        ((gallery[0], gallery_id, probe, probe_id), "one row per image"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message) as error:
            identification(*arguments)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="ks is"):
        identification(gallery, gallery_id, probe, probe_id, ks=(0,))
    with pytest.raises(InputError, match="bootstrap is 0"):
        identification(gallery, gallery_id, probe, probe_id, bootstrap=0)
    with pytest.raises(InputError, match="distractor is 5-d"):
        identification(gallery, gallery_id, probe, probe_id, distractors=np.eye(5))
    with pytest.raises(InputError, match="probes_per_identity is 0"):
        evaluation_pairs(gallery_id, None, probes_per_identity=0, seed=0)
    with pytest.raises(InputError, match="one entry per image"):
        evaluation_pairs(gallery_id, gallery_id[1:], probes_per_identity=None, seed=0)
