"""Batch-OHNM and offline mining, against nested loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from subspace.mining import negative_search
from subspace.mining.triplets import mine_batch_ohnm, mine_offline

labels_of_a_batch = st.lists(st.integers(0, 5), min_size=1, max_size=16)


def units(n: int, d: int = 6, seed: int = 0) -> Tensor:
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(rows, dim=1)


def slow_triplets(embeddings: Tensor, labels: list[int], k: int) -> list[tuple[int, int, int]]:
    found = []
    for anchor in range(len(labels)):
        others = [j for j in range(len(labels)) if labels[j] != labels[anchor]]
        others.sort(key=lambda j: -float(embeddings[anchor] @ embeddings[j]))
        for positive in range(len(labels)):
            if positive != anchor and labels[positive] == labels[anchor]:
                for negative in others[:k]:
                    found.append((anchor, positive, negative))
    return found


def mined(embeddings: Tensor, labels: list[int], k: int) -> list[tuple[int, int, int]]:
    found = mine_batch_ohnm(embeddings, torch.tensor(labels), k)
    assert [index.dtype for index in found] == [torch.int64] * 3
    return list(zip(*(index.tolist() for index in found), strict=True))


@given(labels_of_a_batch, st.integers(1, 20), st.integers(0, 99))
def test_every_pair_meets_the_nearest_negatives_of_its_anchor(labels: list[int], k: int, seed: int) -> None:
    embeddings = units(len(labels), seed=seed)
    assert sorted(mined(embeddings, labels, k)) == sorted(slow_triplets(embeddings, labels, k))


@given(labels_of_a_batch, st.integers(1, 20), st.integers(0, 99))
def test_of_equally_near_negatives_any_are_taken(labels: list[int], k: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.eye(3)[torch.randint(3, (len(labels),), generator=generator)]
    found, expected = mined(embeddings, labels, k), slow_triplets(embeddings, labels, k)

    def distances(triplets_: list[tuple[int, int, int]]) -> list[tuple[int, int, float]]:
        return sorted((a, p, float(embeddings[a] @ embeddings[n])) for a, p, n in triplets_)

    assert len(set(found)) == len(found)
    assert all(labels[a] == labels[p] != labels[n] and a != p for a, p, n in found)
    assert distances(found) == distances(expected)


@settings(max_examples=40)
@given(labels_of_a_batch, st.integers(1, 5), st.integers(1, 17), st.integers(0, 99))
def test_blocks_of_rows_change_nothing(labels: list[int], k: int, rows: int, seed: int) -> None:
    embeddings = units(len(labels), seed=seed)
    whole = mined(embeddings, labels, k)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(negative_search, "rows_at_a_time", lambda *of: rows)
        assert mined(embeddings, labels, k) == whole


def test_without_positives_or_without_negatives_there_are_no_triplets() -> None:
    assert mined(units(5), [0, 1, 2, 3, 4], 3) == []
    assert mined(units(5), [7, 7, 7, 7, 7], 3) == []
    assert mined(units(1), [0], 3) == []


def test_a_single_image_is_a_negative_and_never_an_anchor() -> None:
    found = mined(units(3), [0, 0, 1], 3)
    assert found == [(0, 1, 2), (1, 0, 2)]


def test_embeddings_need_no_gradient_and_get_none() -> None:
    embeddings = units(6).requires_grad_()
    found = mine_batch_ohnm(embeddings, torch.tensor([0, 0, 1, 1, 2, 2]), 2)
    assert not any(index.requires_grad for index in found)


def test_an_empty_batch_has_no_triplets() -> None:
    assert mined(units(0), [], 3) == []


def slow_offline(embeddings: Tensor, labels: list[int]) -> list[tuple[int, int, int]]:
    found = []
    for anchor, label in enumerate(labels):
        positives = [j for j, other in enumerate(labels) if other == label and j != anchor]
        negatives = [j for j, other in enumerate(labels) if other != label]
        if positives and negatives:
            similarity = [float(embeddings[anchor] @ row) for row in embeddings]
            farthest, nearest = (
                min(positives, key=lambda j: similarity[j]),
                max(negatives, key=lambda j: similarity[j]),
            )
            found.append((anchor, farthest, nearest))
    return found


def mined_offline(embeddings: Tensor, labels: list[int]) -> list[tuple[int, int, int]]:
    found = mine_offline(embeddings, torch.tensor(labels, dtype=torch.int64))
    assert [index.dtype for index in found] == [torch.int64] * 3
    return list(zip(*(index.tolist() for index in found), strict=True))


@given(st.lists(st.integers(-2, 5), max_size=16), st.integers(1, 17), st.integers(0, 99))
def test_offline_every_image_meets_its_farthest_positive_and_nearest_negative(
    labels: list[int], rows: int, seed: int
) -> None:
    embeddings = units(len(labels), seed=seed)
    expected = slow_offline(embeddings, labels)
    assert sorted(mined_offline(embeddings, labels)) == expected
    with pytest.MonkeyPatch.context() as monkeypatch:  # blocks of rows change nothing
        monkeypatch.setattr(negative_search, "rows_at_a_time", lambda *of: rows)
        assert sorted(mined_offline(embeddings, labels)) == expected


def test_offline_duplicates_give_one_triplet_an_anchor() -> None:
    embeddings = torch.eye(2)[torch.tensor([0, 0, 0, 1, 1, 0])]
    found = mined_offline(embeddings, [3, 3, 3, 3, 8, 8])
    assert [anchor for anchor, _, _ in found] == list(range(6))
    assert all(positive == 3 for anchor, positive, _ in found if anchor < 3)
    assert [negative for _, _, negative in found[:4]] == [5, 5, 5, 4]
