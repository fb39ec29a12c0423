"""The nearest other identity against all of them one by one."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_embeddings import tied_rows
from made_up_people import people

from subspace.mining.cleaning import better_identity as module
from subspace.mining.cleaning.better_identity import (
    find_better_identities,
    random_partners,
    stranger_similarity,
)
from subspace.mining.cleaning.identity_blocks import IdentityBlocks


@pytest.mark.parametrize("at_a_time", [7, 10_000])
def test_as_one_by_one_with_ties(at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUERIES", at_a_time)
    random = np.random.default_rng(0)
    images, means = tied_rows(random, 60), tied_rows(random, 20)
    identity = np.sort(np.concatenate([np.arange(20), random.integers(0, 20, 40)]))
    wanted = np.flatnonzero(random.random(60) < 0.6)
    other, cosine = find_better_identities(IdentityBlocks(images, identity, images=16), means, wanted)
    for place, row in enumerate(wanted):
        known = [(-float(images[row] @ means[one]), one) for one in range(20) if one != identity[row]]
        assert (-cosine[place], other[place]) == min(known)


def test_there_may_be_no_other() -> None:
    blocks = IdentityBlocks(np.eye(2, dtype=np.float32), np.zeros(2, int))
    other, cosine = find_better_identities(blocks, np.eye(1, 2, dtype=np.float32), np.arange(2))
    assert other.tolist() == [-1, -1]
    assert cosine.tolist() == [-1, -1]


def test_a_partner_is_another_one_and_each_is_once() -> None:
    for identities in (2, 3, 50):
        partner = random_partners(identities, seed=3)
        assert sorted(partner) == list(range(identities))
        assert (partner != np.arange(identities)).all()
    embeddings, identity = people(0, 50, 3)
    means = embeddings[::3]
    found = stranger_similarity(IdentityBlocks(embeddings, identity, images=20), means, partner)
    np.testing.assert_allclose(
        found, [x @ means[partner[i]] for x, i in zip(embeddings, identity, strict=True)], atol=1e-6
    )
