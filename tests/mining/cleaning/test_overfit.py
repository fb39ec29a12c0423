"""What a classifier over the names cannot fit: wrong names, and hardly a right one."""

from __future__ import annotations

import numpy as np
from made_up_people import people, sorted_by_name

from subspace.mining.cleaning.identity_blocks import IdentityBlocks
from subspace.mining.cleaning.overfit import own_name_probability


def test_wrong_names_are_not_fitted() -> None:
    embeddings, identity = people(0, 40, 10, scatter=0.5)
    name, random = identity.copy(), np.random.default_rng(1)
    wrong = random.permutation(len(identity))[:40]
    name[wrong] = (name[wrong] + random.integers(1, 40, 40)) % 40
    embeddings, name, order = sorted_by_name(embeddings, name)
    unfit = own_name_probability(IdentityBlocks(embeddings, name), classes=64) < 0.5
    is_wrong = np.isin(order, wrong)
    assert unfit[is_wrong].mean() > 0.9
    assert unfit[~is_wrong].mean() < 0.02


def test_right_names_are_fitted_in_classifiers_of_any_size() -> None:
    embeddings, identity = people(2, 30, 5)
    for classes in (2, 7, 100):
        assert (
            own_name_probability(IdentityBlocks(embeddings, identity), classes=classes, epochs=3) > 0.5
        ).all()


def test_the_same_seed_gives_the_same_bytes() -> None:
    embeddings, identity = people(3, 20, 4, scatter=1.5)
    once, again = (own_name_probability(IdentityBlocks(embeddings, identity), epochs=3) for _ in range(2))
    assert np.array_equal(once, again)
