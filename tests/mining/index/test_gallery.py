"""Two stages, one stage and thresholds, against slow loops.

Covers mining/index/exact_search.py, mining/index/near_rows.py, mining/index/unknown_threshold.py, too.
"""

from __future__ import annotations

import re
from itertools import pairwise

import faiss.contrib.torch_utils  # noqa: F401  # as pytorch-metric-learning does: it takes `params` from every search
import numpy as np
import pytest
from made_up_embeddings import unit

from subspace.mining import InputError
from subspace.mining.index.exact_search import exact_nearest
from subspace.mining.index.gallery import Gallery, Matches
from subspace.mining.index.kinds import choose_kind
from subspace.mining.index.near_rows import (
    TRAINING_TURNS,
    NearRows,
    build_index,
    open_index,
    rows_fitted,
    settle_effort,
    write_index,
)
from subspace.mining.index.unknown_threshold import images_needed, threshold_for

IDENTITIES, D = 300, 17


@pytest.fixture(scope="module")
def offset() -> np.ndarray:
    return np.append(0, np.cumsum(np.random.default_rng(1).integers(1, 5, IDENTITIES)))


@pytest.fixture(scope="module")
def images(offset: np.ndarray) -> np.ndarray:
    random = np.random.default_rng(2)
    identity = np.repeat(np.arange(IDENTITIES), np.diff(offset))
    return unit(
        random.standard_normal((IDENTITIES, D))[identity] + 0.7 * random.standard_normal((offset[-1], D))
    )


@pytest.fixture(scope="module")
def means(images: np.ndarray, offset: np.ndarray) -> np.ndarray:
    return unit(np.stack([images[a:b].sum(axis=0) for a, b in pairwise(offset)]))


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return unit(np.random.default_rng(3).standard_normal((20, D)))


def test_the_building_of_lists_is_followed_turn_by_turn() -> None:
    rows, kind, seen = unit(np.random.default_rng(4).standard_normal((900, D))), choose_kind(900, "ivf"), []
    index = build_index(rows, kind, 0, seen.append)
    assert sum(seen) == rows_fitted(900, kind) + 900
    assert len(seen) == TRAINING_TURNS + 1
    seen.clear()
    assert build_index(rows, kind, 0, seen.append, index).ntotal == 900
    assert seen == [900]


def slow(
    query: np.ndarray, images: np.ndarray, means: np.ndarray, offset: np.ndarray, T: int
) -> list[tuple[float, int, int]]:
    """Similarity, identity, image, best first: the definition, a loop at a time."""
    by_mean = sorted(range(len(means)), key=lambda i: -float(means[i] @ query))[:T]
    found = []
    for identity in by_mean:
        rows = range(offset[identity], offset[identity + 1])
        best = max(rows, key=lambda row: float(images[row] @ query))
        found.append((float(images[best] @ query), identity, best))
    return sorted(found, key=lambda match: -match[0])


@pytest.mark.parametrize("T", [5, 40, IDENTITIES])
def test_two_stages_are_as_defined(images, means, offset, queries, T) -> None:
    found = Gallery(NearRows(means), NearRows(images), offset).search(queries, 5, T=T)
    for place, query in enumerate(queries):
        expected = slow(query, images, means, offset, T)[:5]
        assert found.identity[place].tolist() == [match[1] for match in expected]
        assert found.image[place].tolist() == [match[2] for match in expected]
        np.testing.assert_allclose(found.similarity[place], [match[0] for match in expected], atol=1e-6)


@pytest.mark.parametrize("list_images", [False, True])
def test_all_identities_in_two_stages_are_one_stage_over_images(
    images, means, offset, queries, list_images
) -> None:
    gallery = Gallery(NearRows(means), NearRows(images), offset)
    two = gallery.search(queries, 7, T=IDENTITIES, list_images=list_images)
    one = gallery.search(queries, 7, stages="images", list_images=list_images)
    assert_equal(two, one)
    if list_images:
        expected = np.argsort(-(queries @ images.T), axis=1, kind="stable")[:, :7]
        assert (one.image == expected).all()


def assert_equal(one: Matches, other: Matches) -> None:
    assert (one.identity == other.identity).all()
    assert (one.image == other.image).all()
    assert (one.similarity == other.similarity).all()


def test_one_stage_looks_on_where_an_identity_has_all_that_is_near(queries) -> None:
    images = unit(np.concatenate([np.repeat(queries[:1], 200, axis=0) + 1e-3, queries]))
    offset = np.array([0, *range(200, 221)])
    gallery = Gallery(NearRows(images[offset[:-1]]), NearRows(images), offset)
    found = gallery.search(queries[:1], 3, stages="images")
    assert len(set(found.identity[0].tolist())) == 3


def test_means_alone(images, means, offset, queries) -> None:
    found = Gallery(NearRows(means), NearRows(images), offset).search(queries, 4, stages="means")
    assert (found.identity == np.argsort(-(queries @ means.T), axis=1)[:, :4]).all()
    np.testing.assert_allclose(found.similarity, -np.sort(-(queries @ means.T), axis=1)[:, :4], atol=1e-6)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_every_kind_finds_what_brute_force_finds(images, means, offset, queries, kind, tmp_path) -> None:
    index = build_index(means, choose_kind(IDENTITIES, kind), seed=0)
    assert index is not None
    identity = np.repeat(np.arange(IDENTITIES), np.diff(offset))
    effort = settle_effort(means, index, images[:200], identity[:200])
    assert effort.recall >= 0.99
    write_index(index, tmp_path / "means.faiss")
    near = NearRows(means, open_index(tmp_path / "means.faiss", kind, IDENTITIES, D), effort)
    similarity, row = near.nearest(queries, 10)
    exact, expected = exact_nearest(queries, means, 10)
    assert (row[:, 0] == expected[:, 0]).mean() >= 0.95
    assert (similarity[row == expected] == exact[row == expected]).all()  # exact, whatever found them
    assert (near.nearest(queries, 10, exact=True)[1] == expected).all()
    with pytest.raises(ValueError, match="300 rows"):
        open_index(tmp_path / "means.faiss", kind, IDENTITIES + 1, D)


def test_half_precision_and_blocks(images, queries, monkeypatch) -> None:
    monkeypatch.setattr("subspace.mining.index.exact_search.BLOCK_BYTES", 4 * D * 50)
    half = images.astype(np.float16)
    found = exact_nearest(queries, half, 5)[1]
    assert (found == np.argsort(-(queries @ half.astype(np.float32).T), axis=1)[:, :5]).all()


def test_fewer_rows_than_wanted() -> None:
    similarity, row = exact_nearest(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), 3)
    assert row.tolist() == [[0, 1, -1], [1, 0, -1]]
    assert similarity[0, 2] == -np.inf


def test_a_threshold_lets_the_wanted_share_of_strangers_pass(images, means, offset) -> None:
    gallery = Gallery(NearRows(means), NearRows(images), offset)
    identity = np.repeat(np.arange(IDENTITIES), np.diff(offset))
    impostor = np.where(identity[:, None] == identity[None, :], -1, images @ images.T).max(axis=1)
    for far in (0.01, 0.1):
        found = threshold_for(gallery, far, T=IDENTITIES)
        assert found.images == len(images)
        passing = (impostor >= found.threshold - 1e-6).mean()
        assert far - 2 / len(images) <= passing <= far + 2 / len(images)
    with pytest.raises(InputError, match="needs an index of 1,000,000 images"):
        images_needed(1e-6, len(images))


def test_the_share_that_is_advised_is_taken() -> None:
    """1 / 300 was advised as 0.0033, which is less."""
    for images in range(2, 1_000):
        with pytest.raises(InputError) as refused:
            images_needed(1e-6, images)
        advised = re.search("give (.*) or more, or a --threshold", str(refused.value))
        assert advised is not None
        assert images_needed(float(advised[1]), images) == images
    with pytest.raises(InputError, match="it has 1; give a --threshold"):
        images_needed(1e-6, 1)


def test_a_share_is_the_decimal_that_was_written() -> None:
    """0.29 of 100 is 28 in float arithmetic."""
    angle = 0.0006 * np.cumsum(np.arange(100))  # the one before is the nearest, each time a little less near
    images = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    gallery = Gallery(NearRows(images), NearRows(images), np.arange(101))
    assert threshold_for(gallery, 0.29, T=100).accepted == 29


def test_too_few_identities_are_refused(images, means, offset, queries) -> None:
    with pytest.raises(InputError, match="-T 5"):
        Gallery(NearRows(means), NearRows(images), offset).search(queries, 10, T=5)


def test_fewer_identities_than_wanted_are_no_reason_to_look_at_all_images(
    images, queries, monkeypatch
) -> None:
    rows = NearRows(images)
    asked = list[int]()
    nearest = NearRows.nearest
    monkeypatch.setattr(
        NearRows, "nearest", lambda self, q, k, **how: asked.append(k) or nearest(self, q, k, **how)
    )
    gallery = Gallery(NearRows(images[:3]), rows, np.array([0, 5, 9, len(images)]))
    found = gallery.search(queries[:1], 10, stages="images", without_q=np.array([1]))
    assert set(found.identity[0].tolist()) == {0, 2, -1}
    assert max(asked) < len(images)


@pytest.mark.parametrize(
    ("kind", "equal", "found", "broad"),
    [("ivf", 60, 0.99, 32), ("hnsw", 60, 0.99, 128), ("ivf", 300, 0.99, 32), ("hnsw", 300, 0.9, 1024)],
)
def test_rows_that_are_the_same_do_not_widen_the_search(
    kind: str, equal: int, found: float, broad: int
) -> None:
    """An index finds any of a hundred equal rows, which of them is no matter."""
    drawn = np.random.default_rng(0).standard_normal((2_000, 16))
    drawn[:equal] = drawn[0]
    rows = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    chosen = choose_kind(len(rows), kind)
    own = np.arange(0, 2_000, 10)
    effort = settle_effort(rows, build_index(rows, chosen, 0), rows[own], own)
    assert effort.recall >= found
    assert effort.breadth <= broad
