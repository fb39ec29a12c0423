"""Suspected duplicates: the rule by a slow loop, and identities that were cut in two found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subspace.mining.clustering import duplicate_trust
from subspace.mining.clustering.duplicates import NEIGHBORS, suspected_duplicates
from subspace.mining.errors import InputError


def units(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def means_of(images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, spread and number of images of each identity."""
    vectors = [rows.mean(axis=0) for rows in images]
    lengths = np.array([np.linalg.norm(vector) for vector in vectors])
    means = np.stack([vector / length for vector, length in zip(vectors, lengths, strict=True)])
    return (
        means.astype(np.float32),
        (1 - lengths).astype(np.float32),
        np.array([len(rows) for rows in images]),
    )


def people(count: int, scatter: float, seed: int, D: int = 32) -> list[np.ndarray]:
    """Unit embeddings of `count` identities of 6 to 20 images, in families of look-alikes."""
    random = np.random.default_rng(seed)
    families = random.standard_normal((count // 4 + 1, D))
    centre = units(families[np.arange(count) // 4] + 1.0 * random.standard_normal((count, D)))
    return [
        units(c + scatter * random.standard_normal((random.integers(6, 21), D)) / np.sqrt(D)) for c in centre
    ]


@settings(max_examples=40)
@given(st.integers(2, 14), st.integers(1, 3), st.floats(0.2, 40), st.integers(0, 99))
def test_pairs_follow_the_definition(n: int, subspaces: int, within: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = random.integers(1, 6, n)
    means, spread, images = means_of([units(random.standard_normal((c, 6)) + 1) for c in counts])
    subspace_id = random.integers(0, subspaces, n).astype(np.int32)
    found = suspected_duplicates(means, spread, images, subspace_id, within=within)

    r_squared = [
        (c * (1 - s) ** 2 - 1) / (c - 1) if c > 1 else 0.0
        for c, s in zip(images, spread.astype(float), strict=True)
    ]
    known = [min(1.0, r) for r in r_squared if r > 0]
    closeness = [1.0] * n
    if known:
        usual, least = float(np.median(known)), float(np.quantile(known, 0.1))
        closeness = [
            np.sqrt(max(min(1.0, r), least)) / (1 - s) if r > 0 else np.sqrt(usual)
            for r, s in zip(r_squared, spread.astype(float), strict=True)
        ]
    slow = {}
    for a in range(n):
        others = [b for b in range(n) if b != a and subspace_id[a] == subspace_id[b]]
        nearest = sorted(others, key=lambda b: -float(means[a] @ means[b]))[:NEIGHBORS]
        for b in nearest:
            cosine, expected = float(means[a] @ means[b]), min(1, closeness[a]) * min(1, closeness[b])
            if 1 - cosine <= within * (1 - expected) - 1e-4:
                slow[min(a, b), max(a, b)] = "surely"
            elif 1 - cosine <= within * (1 - expected) + 1e-4:
                slow[min(a, b), max(a, b)] = "perhaps"
    pairs = list(zip(found.a.tolist(), found.b.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert {pair for pair, sure in slow.items() if sure == "surely"} <= set(pairs) <= set(slow)
    assert np.all(np.diff(found.similarity) <= 0)
    for a, b, similarity, expected in zip(found.a, found.b, found.similarity, found.expected, strict=True):
        assert similarity == pytest.approx(means[a] @ means[b], abs=1e-5)
        assert expected == pytest.approx(min(1, closeness[a]) * min(1, closeness[b]), abs=1e-3)


@pytest.mark.parametrize("scatter", [0.4, 0.8])
def test_identities_cut_in_two_are_found_and_look_alikes_are_not(scatter: float) -> None:
    whole = people(400, scatter, seed=1)
    cut = [half for rows in whole[:100] for half in (rows[::2], rows[1::2])]
    means, spread, images = means_of(cut + whole[100:])
    found = suspected_duplicates(means, spread, images, np.zeros(len(means), np.int32))
    pairs = set(zip(found.a.tolist(), found.b.tolist(), strict=True))
    true = {(2 * i, 2 * i + 1) for i in range(100)}
    assert len(pairs & true) >= 85
    assert len(pairs - true) <= 2

    exact = suspected_duplicates(means, spread, images, np.zeros(len(means), np.int32), within=1.0)
    assert 30 <= len(exact) <= 75  # about half of them are as close as expected


def test_pairs_of_different_subspaces_are_not_compared() -> None:
    means = units(np.ones((4, 8), np.float32))
    spread, images = np.full(4, 0.2, np.float32), np.full(4, 5)
    found = suspected_duplicates(means, spread, images, np.array([0, 0, 1, 1], np.int32))
    assert list(zip(found.a, found.b, strict=True)) == [(0, 1), (2, 3)]


def test_nobody_is_a_duplicate_of_nobody() -> None:
    means, nothing = np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    assert len(suspected_duplicates(means, nothing, np.ones(3, int), np.arange(3, dtype=np.int32))) == 0
    alone = suspected_duplicates(means[:1], nothing[:1], np.ones(1, int), np.zeros(1, np.int32))
    assert alone.a.dtype == alone.b.dtype == np.int32


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(InputError, match="within=0"):
        suspected_duplicates(
            np.eye(2, dtype=np.float32), np.zeros(2), np.ones(2, int), np.zeros(2, int), within=0
        )


def test_exact_copies_are_found_whatever_their_scatter() -> None:
    for seed in range(50):
        means = units(np.random.default_rng(seed).standard_normal((6, 512))).astype(np.float32)
        means[5] = means[2]
        found = suspected_duplicates(means, np.zeros(6), np.ones(6, int), np.zeros(6, np.int32))
        assert list(zip(found.a, found.b, strict=True)) == [(2, 5)]


def test_an_identity_that_scatters_over_everything_is_nobodys_duplicate() -> None:
    random = np.random.default_rng(0)
    tight = [units(c + 0.03 * random.standard_normal((8, 128))) for c in random.standard_normal((60, 128))]
    wild = [np.eye(128)[[2 * i, 2 * i + 1]] for i in range(3)]
    opposite = [np.concatenate((np.eye(128)[:1], -np.eye(128)[:1]))]
    means, spread, images = means_of([*tight, *wild])
    assert len(suspected_duplicates(means, spread, images, np.zeros(63, np.int32))) == 0
    means = np.concatenate((means, np.zeros((1, 128), np.float32)))
    spread, images = np.append(spread, 1), np.append(images, len(opposite[0]))
    assert len(suspected_duplicates(means, spread, images, np.zeros(64, np.int32))) == 0


def test_of_too_many_pairs_the_most_similar_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """8.6 million pairs among a million words took twice the memory that was announced."""
    rng = np.random.default_rng(0)
    means = units(rng.standard_normal((90, 4))).astype(np.float32)
    facts = np.full(90, 0.2), np.full(90, 2), np.arange(90) % 3
    every = suspected_duplicates(means, *facts, within=3)
    monkeypatch.setattr(duplicate_trust, "FEW_PAIRS", 0)
    kept = suspected_duplicates(means, *facts, within=3)
    assert len(every) > 3 * 90
    assert len(kept) == 90
    for name in ("a", "b", "similarity", "expected"):
        assert getattr(kept, name).tolist() == getattr(every, name)[:90].tolist()
