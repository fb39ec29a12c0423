"""Robust means against a loop over images, and beside plain means where names are wrong."""

from __future__ import annotations

import numpy as np
from made_up_people import people, sorted_by_name

from subspace.mining.cleaning.identity_blocks import IdentityBlocks
from subspace.mining.cleaning.robust_means import ROUNDS, find_robust_means


def slowly(embeddings: np.ndarray, identity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The definition, in loops and in double precision: own similarities and means."""
    x = embeddings.astype(float)
    pairs = [x[i] @ x[j] for i in range(len(x)) for j in range(len(x)) if identity[i] != identity[j]]
    stranger = np.mean(pairs)
    own, means = np.full(len(x), np.nan), []
    for name in np.unique(identity):
        rows = np.flatnonzero(identity == name)
        weight = np.ones(len(rows))
        for turn in range(ROUNDS + 1):
            cosine = np.full(len(rows), np.nan)
            for place, row in enumerate(rows):
                others = sum(
                    (weight[k] * x[other] for k, other in enumerate(rows) if other != row),
                    np.zeros(x.shape[1]),
                )
                if len(rows) > 1 and np.linalg.norm(others) > 1e-5:
                    cosine[place] = others @ x[row] / np.linalg.norm(others)
            mean = np.sum(weight[:, None] * x[rows], axis=0)
            if turn < ROUNDS:
                weight = np.maximum(0, (np.nan_to_num(cosine, nan=1.0) - stranger) / (1 - stranger)) ** 2
                weight = np.ones(len(rows)) if weight.sum() <= 1e-6 else weight
        own[rows] = cosine
        means.append(mean / np.linalg.norm(mean))
    return own, np.array(means)


def test_as_the_slow_loop_in_blocks_of_any_size() -> None:
    embeddings, identity = people(0, 9, np.array([1, 2, 3, 4, 5, 6, 7, 8, 2]), scatter=0.8, d=6)
    own, means = slowly(embeddings, identity)
    for images in (5, 1000):
        found = find_robust_means(IdentityBlocks(embeddings, identity, images=images))
        np.testing.assert_allclose(found.own, own, atol=2e-4)
        np.testing.assert_allclose(found.means, means, atol=2e-4)


def test_two_fifths_of_wrong_names_hardly_move_them() -> None:
    embeddings, identity = people(1, 200, 10)
    right = np.stack([rows.mean(0) for rows in embeddings.reshape(200, 10, -1)])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    random = np.random.default_rng(2)
    wrong = random.permutation(len(identity))[: len(identity) * 2 // 5]
    name = identity.copy()
    name[wrong] = random.integers(0, 200, len(wrong))
    embeddings, name, _ = sorted_by_name(embeddings, name)
    blocks = IdentityBlocks(embeddings, name)
    plain = np.stack([embeddings[name == one].mean(0) for one in range(200)])
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    robust = find_robust_means(blocks).means
    assert (robust * right).sum(1).mean() > 0.97
    assert (plain * right).sum(1).mean() < 0.95


def test_means_go_where_the_caller_says() -> None:
    embeddings, identity = people(3, 4, 3)
    room = np.zeros((4, embeddings.shape[1]), np.float32)
    assert find_robust_means(IdentityBlocks(embeddings, identity), room).means is room
    np.testing.assert_allclose(np.linalg.norm(room, axis=1), 1, atol=1e-6)
