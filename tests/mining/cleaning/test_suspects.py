"""All suspects together: each kind of noise is called what it is, clean data is not, and no rotation changes that.

Covers mining/cleaning/settings.py, too.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_embeddings import unit
from made_up_people import people, sorted_by_name
from pydantic import ValidationError

from subspace.mining.cleaning import suspects
from subspace.mining.cleaning.identity_blocks import IdentityBlocks
from subspace.mining.cleaning.settings import REASONS, CleanConfig
from subspace.mining.cleaning.suspects import Findings, _move_to_front, find_suspects  # pyright: ignore[reportPrivateUsage]


def images_of(found: Findings) -> dict[str, list[int]]:
    return {name: some.image.tolist() for name, some in found.suspects.items() if len(some.image)}


def test_clean_data_has_no_suspects() -> None:
    embeddings, identity = people(0, 500, np.random.default_rng(0).integers(1, 20, 500))
    blocks = IdentityBlocks(embeddings, identity)
    found = find_suspects(blocks)
    assert sum(map(len, images_of(found).values())) <= 3
    assert found.kept(blocks, CleanConfig()).mean() > 0.999
    assert max(found.shares.values()) < 0.01


def test_each_kind_is_called_what_it_is() -> None:
    embeddings, person = people(1, 600, 10)
    name = person.copy()
    wrong = np.arange(1000, 2000, 10)
    name[wrong] = name[wrong] + 300
    strangers = np.arange(2005, 3000, 10)
    embeddings[strangers] = people(2, len(strangers), 1)[0]
    name[(person >= 310) & (person < 320)] = (
        person[(person >= 310) & (person < 320)] + 10
    )  # mixed with the next ten
    halves = np.flatnonzero((person >= 340) & (person < 350) & (np.arange(len(person)) % 10 < 4))
    name[halves] += 1000  # the same people, called otherwise
    embeddings[5000 + 3] = embeddings[5000 + 1]
    embeddings[5500] = embeddings[5603]
    embeddings, name, order = sorted_by_name(embeddings, name)
    blocks = IdentityBlocks(embeddings, name)
    found = find_suspects(blocks)
    suspects = found.suspects
    called = {
        reason: set(order[some.image].tolist()) for reason, some in suspects.items() if reason != "duplicate"
    }
    assert len(called["wrong_name"] & set(wrong)) >= 85
    assert len(called["wrong_name"] - set(wrong)) <= 8
    assert len((called["wrong_name"] | called["outlier"]) & set(wrong)) >= 98
    theirs = blocks.identity_id[suspects["wrong_name"].other_identity]
    right = np.isin(order[suspects["wrong_name"].image], wrong)
    assert (theirs[right] == person[order[suspects["wrong_name"].image]][right]).mean() > 0.95
    assert len(called["outlier"] & set(strangers)) >= 92
    assert len(called["outlier"] - set(strangers) - set(wrong) - called["mixed"]) <= 4
    mixed = person[sorted(called["mixed"])]
    assert len(mixed) == 100
    assert len(set(mixed)) == 10
    assert called["repeat"] == {5003}
    assert called["shared"] == {5500, 5603}
    pairs = {
        tuple(sorted(blocks.identity_id[[a, b]].tolist()))
        for a, b in zip(suspects["duplicate"].identity, suspects["duplicate"].other_identity, strict=True)
    }
    true = {(one, one + 1000) for one in range(340, 350)}
    assert len(pairs & true) >= 8
    assert len(pairs - true) <= 2
    assert list(suspects) == [reason for reason in REASONS if reason != "unfit"]


@settings(max_examples=3)
@given(st.integers(0, 2**31))
def test_neither_a_rotation_nor_the_order_of_images_matters(seed: int) -> None:
    random = np.random.default_rng(seed)
    embeddings, identity = people(4, 150, 8)
    embeddings[::40] = people(5, 30, 1)[0]
    rotation = np.linalg.qr(random.standard_normal((48, 48)))[0]
    order = np.lexsort((random.random(len(identity)), identity))
    config = CleanConfig(drop=("wrong_name", "outlier", "mixed"), min_images=1)
    kept = []
    for rows in (embeddings, (embeddings[order] @ rotation).astype(np.float32)):
        blocks = IdentityBlocks(rows, identity)
        kept.append(find_suspects(blocks, config).kept(blocks, config))
    assert (kept[0][order] != kept[1]).sum() <= 1  # a probability that rounding moves over 0.5
    assert 20 <= (~kept[0]).sum() <= 32


def test_blocks_and_a_memory_map_change_nothing() -> None:
    embeddings, identity = people(6, 100, 6)
    embeddings[::50] = people(7, 12, 1)[0]
    results = [
        images_of(find_suspects(IdentityBlocks(embeddings, identity, images=size), means_ID=room))
        for size, room in ((10**6, None), (10**6, np.empty((100, 48), np.float32)))
    ]
    assert results[0] == results[1]


def test_an_identity_with_too_few_left_goes_altogether() -> None:
    embeddings, identity = people(8, 400, 3)
    embeddings[[0, 1, *range(30, 150, 3)]] = people(9, 42, 1)[0]
    blocks = IdentityBlocks(embeddings, identity)
    found = find_suspects(blocks)
    kept = found.kept(blocks, CleanConfig(min_images=2))
    assert not kept[:3].any()
    assert kept[30:33].tolist() == [False, True, True]
    assert found.kept(blocks, CleanConfig(drop=())).all()


def test_the_method_of_the_paper_and_a_single_identity() -> None:
    embeddings, identity = people(10, 30, 6)
    embeddings[7] = unit(embeddings[[150]] + embeddings[[151]])[0]
    found = find_suspects(IdentityBlocks(embeddings, identity), CleanConfig(method="overfit"))
    assert images_of(found)["unfit"] == [7]
    assert "outlier" not in found.suspects
    alone = find_suspects(IdentityBlocks(embeddings[:6], identity[:6]))
    assert not images_of(alone)


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError, match="drop"):
        CleanConfig(drop=("ugly",))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("rows", [[0, 1, 2], [2], [0, 3, 5, 9], []])
def test_means_are_moved_to_the_front_in_their_place(rows: list[int]) -> None:
    rows = [10 * block + row for block in range(20_000) for row in rows]  # over several blocks
    means = np.arange(400_000.0).reshape(200_000, 2)
    wanted = means[rows].copy()
    _move_to_front(means, np.array(rows, np.int64))
    np.testing.assert_array_equal(means[: len(rows)], wanted)


def test_an_identity_of_which_nothing_is_left_is_nobodys_duplicate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its means are passed over where they lie: as a copy they were 20 GB of 10,000,000 identities."""
    embeddings, identity = people(4, 40, 6)
    embeddings[identity == 7] = people(9, 6, 1)[0]  # six strangers
    embeddings[identity == 30] = embeddings[identity == 12] + 1e-3 * people(9, 6, 1)[0]
    embeddings = unit(embeddings)
    room = np.empty((40, embeddings.shape[1]), np.float32)
    blocks = IdentityBlocks(embeddings, identity)
    wrong = identity == 7
    compared, searched = suspects.suspected_duplicates, list[np.ndarray]()
    monkeypatch.setattr(
        suspects,
        "suspected_duplicates",
        lambda means, *rest, **how: searched.append(means) or compared(means, *rest, **how),
    )
    search = suspects._Search(blocks, CleanConfig(), 0, lambda images: None)  # pyright: ignore[reportPrivateUsage]
    found = search.duplicates(room, wrong, None)
    assert set(found.identity.tolist()) | set(found.other_identity.tolist()) == {12, 30}
    assert np.shares_memory(searched[0], room)
