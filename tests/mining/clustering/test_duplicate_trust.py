"""When a list of suspected duplicates is worth something: measured cases, and mutual pairs by a slow loop."""

from __future__ import annotations

import numpy as np
import pytest

from subspace.mining.clustering.duplicate_trust import DuplicateTrust, judge_duplicates, mutual_pairs
from subspace.mining.clustering.duplicates import suspected_duplicates


@pytest.mark.parametrize(
    ("pairs", "involved", "identities", "reliable"),
    [
        (21_633, 2_726, 2_726, False),  # emoji, a network of Rank-1 10 %
        (6_900_000, 930_000, 930_000, False),  # a million, hardly trained
        (986, 1_972, 5_046, False),  # a script that the network does not know: 40 of them are true
        (33, 50, 1_200, True),  # the demo's start
        (479, 807, 113_881, True),  # glyphs, mostly the same pixels under two names
        (1, 2, 6, True),  # one pair among a handful
        (0, 0, 5, True),
    ],
)
def test_lists_that_were_seen(pairs: int, involved: int, identities: int, reliable: bool) -> None:
    assert DuplicateTrust(pairs, involved, identities).reliable is reliable


def test_a_network_that_has_learned_nothing_is_not_believed_and_a_good_one_is() -> None:
    random = np.random.default_rng(0)

    def judged(scatter: float) -> DuplicateTrust:
        images = random.standard_normal((200, 1, 16)) + 2 + scatter * random.standard_normal((200, 8, 16))
        images /= np.linalg.norm(images, axis=2, keepdims=True)
        means = images.mean(axis=1)
        length = np.linalg.norm(means, axis=1)
        means = (means / length[:, None]).astype(np.float32)
        found = suspected_duplicates(means, 1 - length, np.full(200, 8), np.zeros(200, int))
        return judge_duplicates(found.a, found.b, 200)

    assert not judged(scatter=4).reliable
    assert judged(scatter=0.3).reliable


def test_mutual_pairs_are_those_of_a_slow_loop() -> None:
    random = np.random.default_rng(1)
    pairs = np.unique(np.sort(random.integers(0, 30, (80, 2)), axis=1), axis=0)
    a, b = pairs[pairs[:, 0] < pairs[:, 1]].T
    similarity = random.permutation(len(a)).astype(np.float32)
    slow = [
        place
        for place in range(len(a))
        if all(
            similarity[other] <= similarity[place]
            for other in range(len(a))
            if {a[other], b[other]} & {a[place], b[place]}
        )
    ]
    assert mutual_pairs(a, b, similarity).tolist() == sorted(slow, key=lambda place: -similarity[place])
    assert len(mutual_pairs(a[:0], b[:0], similarity[:0])) == 0
