"""Near repeats against all pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_up_embeddings import unit
from made_up_people import people

from subspace.mining.cleaning import near_repeats
from subspace.mining.cleaning.identity_blocks import IdentityBlocks
from subspace.mining.cleaning.near_repeats import pair_cosines, repeats_across, repeats_within

NEAR = 0.999


def with_copies(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """People of whose images a tenth are copies of another one, not quite: cosine 0.9992 to 1."""
    embeddings, identity = people(seed, 300, 8)
    random = np.random.default_rng(seed)
    copies, of = random.permutation(len(embeddings))[:480].reshape(2, -1)
    change = random.standard_normal((240, embeddings.shape[1])) * 0.04 / np.sqrt(embeddings.shape[1])
    embeddings[copies] = unit(embeddings[of] + random.random((240, 1)) * change)
    inside = np.arange(0, 80, 8)
    embeddings[inside + 5] = embeddings[inside + 2]
    return embeddings, identity


def test_as_all_pairs_have_it() -> None:
    embeddings, identity = with_copies(0)
    cosine = embeddings @ embeddings.T
    same = identity[:, None] == identity
    blocks = IdentityBlocks(embeddings, identity, images=100)
    first = [
        next((b for b in range(a) if same[a, b] and cosine[a, b] >= NEAR), -1) for a in range(len(identity))
    ]
    assert repeats_within(blocks, NEAR).tolist() == first
    assert max(first) >= 0
    pairs, found = repeats_across(blocks, NEAR)
    true = np.argwhere(np.triu((cosine >= NEAR) & ~same, 1))
    hits = {tuple(pair) for pair in pairs} & {tuple(pair) for pair in true}
    assert len(hits) == len(pairs)  # nothing but near pairs
    assert len(hits) >= 0.98 * len(true) > 200
    np.testing.assert_allclose(found, [cosine[a, b] for a, b in pairs], atol=1e-5)
    np.testing.assert_allclose(
        pair_cosines(blocks, np.array([[5, 1000], [7, 7]])), [cosine[5, 1000], 1], atol=1e-5
    )


def test_identities_of_any_sizes_are_compared_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding is nobody's image: the rows behind an identity are copies of its own here."""
    monkeypatch.setattr(near_repeats, "PADDED", 60)
    monkeypatch.setattr(near_repeats, "PRODUCTS", 900)
    monkeypatch.setattr(near_repeats, "ROWS", 16)
    random = np.random.default_rng(0)
    count = np.concatenate((random.integers(1, 9, 60), [1, 40, 130, 2, 41], random.integers(10, 16, 20)))
    identity = np.repeat(np.arange(len(count)), count)
    embeddings = unit(random.standard_normal((12, 16)))[random.integers(0, 12, len(identity))]
    blocks = IdentityBlocks(embeddings, identity, images=150)
    found, beginning = [], 0
    for number in count:
        own = [tuple(image) for image in embeddings[beginning : beginning + number]]
        found += [
            beginning + own.index(image) if own.index(image) < place else -1
            for place, image in enumerate(own)
        ]
        beginning += number
    assert repeats_within(blocks, NEAR).tolist() == found
    assert max(found) > -1


def test_nothing_waits_for_the_device_but_once_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = list[str]()
    for name in ("cpu", "item", "tolist", "numpy", "nonzero"):
        plain = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor,
            name,
            lambda self, *given, name=name, plain=plain: reads.append(name) or plain(self, *given),
        )
    embeddings, identity = people(1, 300, 8)
    repeats_within(IdentityBlocks(embeddings, identity, images=400), NEAR)
    assert reads == ["cpu", "numpy"] * 6


def test_exact_copies_are_all_found_and_clean_images_are_not() -> None:
    embeddings, identity = people(1, 300, 8)
    assert not len(repeats_across(IdentityBlocks(embeddings, identity), NEAR)[0])
    assert (repeats_within(IdentityBlocks(embeddings, identity), NEAR) == -1).all()
    embeddings[2000] = embeddings[17]
    assert repeats_across(IdentityBlocks(embeddings, identity), NEAR)[0].tolist() == [[17, 2000]]


def test_candidates_that_cannot_be_near_are_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number grows with the square of the images, and each of them reads two rows of the file."""
    embeddings, identity = with_copies(2)
    asked = list[int]()
    monkeypatch.setattr(near_repeats, "SIGNS", 12)  # so few that many differing images agree in them
    monkeypatch.setattr(
        near_repeats,
        "pair_cosines",
        lambda blocks, pairs: asked.append(len(pairs)) or pair_cosines(blocks, pairs),
    )
    pairs, _ = repeats_across(IdentityBlocks(embeddings, identity), NEAR)
    assert len(pairs) > 150
    assert asked[0] < 1.2 * len(pairs)


def test_the_images_of_one_large_identity_are_compared_in_small_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(near_repeats, "PRODUCTS", 1000)
    largest = list[int]()
    where = torch.where
    monkeypatch.setattr(torch, "where", lambda *given: largest.append(given[0].numel()) or where(*given))
    embeddings, _ = people(3, 10, 30)
    assert (repeats_within(IdentityBlocks(embeddings, np.zeros(len(embeddings), int)), NEAR) == -1).all()
    assert max(largest) <= 1000
