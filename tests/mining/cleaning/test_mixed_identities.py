"""Mixed identities: cuts against a loop, and two people under one name beside one person of many looks."""

from __future__ import annotations

import itertools

import numpy as np
from made_up_people import people

from subspace.mining.cleaning.identity_blocks import IdentityBlocks
from subspace.mining.cleaning.mixed_identities import _cut, find_mixed_identities
from subspace.mining.cleaning.robust_means import find_robust_means


def test_the_separation_is_that_of_a_loop_over_pairs() -> None:
    embeddings, person = people(0, 8, np.array([3, 4, 2, 6, 5, 3, 2, 2]), scatter=0.3)
    name = person // 2
    [block] = IdentityBlocks(embeddings, name)
    separation, second = _cut(block)
    for one in range(4):
        rows = np.flatnonzero(name == one)
        halves = [[row for row in rows if person[row] == 2 * one + side] for side in (0, 1)]
        assert np.flatnonzero(second.numpy() & (name == one)).tolist() in halves
        inside = [
            np.mean([embeddings[a] @ embeddings[b] for a, b in itertools.combinations(half, 2)])
            for half in halves
        ]
        across = np.mean([embeddings[a] @ embeddings[b] for a in halves[0] for b in halves[1]])
        np.testing.assert_allclose(separation[one], min(inside) - across, atol=1e-5)


def test_two_people_are_told_from_one_and_from_wrong_names() -> None:
    embeddings, person = people(1, 600, 10)
    name = person.copy()
    name[(person >= 20) & (person < 40)] -= 20  # 20 names of two people each
    order = np.argsort(name, kind="stable")
    embeddings, name, person = embeddings[order], name[order], person[order]
    stray = np.flatnonzero((name >= 40) & (np.arange(len(name)) % 10 < 3))  # three images of anybody
    embeddings[stray] = embeddings[np.random.default_rng(2).permutation(stray)]
    blocks = IdentityBlocks(embeddings, name, images=2000)
    found = find_mixed_identities(blocks, find_robust_means(blocks).means)
    mixed = np.flatnonzero(found.probability >= 0.5)
    assert mixed[:20].tolist() == list(range(20))
    # Two strays that happen to be alike are a half, too; what goes with it is wrong all the same.
    assert len(mixed) < 40
    assert np.isin(np.flatnonzero(np.isin(name, mixed[20:]) & found.lesser_n), stray).mean() > 0.9
    for one in range(20):
        rows = name == one
        assert len(set(person[rows & found.lesser_n])) == len(set(person[rows & ~found.lesser_n])) == 1


def test_of_too_few_images_nothing_is_said() -> None:
    embeddings, identity = people(3, 30, np.arange(30) % 3 + 1)
    means = embeddings[np.unique(identity, return_index=True)[1]]
    assert not find_mixed_identities(IdentityBlocks(embeddings, identity), means).probability.any()
