"""Noise that is put into names: which images and identities it has spoilt is known, so that finding it can be judged.

Shapes: n images, sorted by identity, of I identities.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

KINDS = ("wrong names", "outliers", "merged", "split")
SHARES = (0.0, 0.05, 0.1, 0.2, 0.4)


class Noisy(NamedTuple):
    """Images in a new order, sorted by their new names."""

    row: np.ndarray
    """int64[n], the image's row in the embeddings that were given, the strangers' behind them."""
    identity: np.ndarray
    """int64[n], ascending."""
    wrong: np.ndarray
    """bool[n], images that are not where they belong; of split identities none."""
    right: np.ndarray
    """int64[n], the identity that each image shows; -1 for a stranger."""
    pairs: np.ndarray
    """int64[p, 2], identities that are one; only of split ones."""


def spoil(identity: np.ndarray, kind: str, share: float, strangers: int, seed: int) -> Noisy:
    """Spoil a share of the images (wrong names, outliers) or of the identities (merged, split).

    Args:
        identity: int64[n], 0 to I - 1, ascending.
        strangers: how many images of nobody of these there are; their rows follow those of the n.
    """
    random = np.random.default_rng([seed, KINDS.index(kind), round(1000 * share)])
    n, identities = len(identity), int(identity[-1]) + 1
    row, new, right = np.arange(n), identity.copy(), identity.copy()
    pairs = np.empty((0, 2), np.int64)
    if kind in ("wrong names", "outliers"):
        chosen = random.permutation(n)[: round(share * n)]
        if kind == "outliers":
            row[chosen] = n + random.permutation(strangers)[: len(chosen)]
            right[chosen] = -1
        else:
            new[chosen] = (identity[chosen] + random.integers(1, identities, len(chosen))) % identities
        wrong = np.isin(np.arange(n), chosen)
    elif kind == "merged":
        chosen = random.permutation(identities)[: round(share * identities) // 2 * 2].reshape(-1, 2)
        name = np.arange(identities)
        name[chosen[:, 1]] = chosen[:, 0]
        new = name[identity]
        count = np.bincount(identity)
        fewer = np.where(count[chosen[:, 0]] < count[chosen[:, 1]], chosen[:, 0], chosen[:, 1])
        wrong = np.isin(identity, fewer)
    else:
        chosen = random.permutation(identities)[: round(share * identities)]
        for place, one in enumerate(chosen.tolist()):
            images = random.permutation(np.flatnonzero(identity == one))
            new[images[: len(images) // 2]] = identities + place
        pairs = np.stack([chosen, identities + np.arange(len(chosen))], axis=1)
        wrong = np.zeros(n, bool)
    order = np.argsort(new, kind="stable")
    return Noisy(row[order], new[order], wrong[order], right[order], pairs)


def lesser_halves(suspected: np.ndarray, noisy: Noisy) -> np.ndarray:
    """Which images of merged identities are wrong: those of the person who is more suspected, as either may stay; bool[n]."""
    wrong = np.zeros(len(suspected), bool)
    for name in np.unique(noisy.identity[noisy.wrong]):
        rows = np.flatnonzero(noisy.identity == name)
        person = max(
            np.unique(noisy.right[rows]), key=lambda one: suspected[rows[noisy.right[rows] == one]].mean()
        )
        wrong[rows[noisy.right[rows] == person]] = True
    return wrong


class Found(NamedTuple):
    """How good a list of suspects is."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def judge(suspected: np.ndarray, wrong: np.ndarray) -> Found:
    """Precision and recall of bool[n] against bool[n]; NaN where there is nothing to divide by."""
    hits = float((suspected & wrong).sum())
    with np.errstate(invalid="ignore"):
        return Found(float(np.divide(hits, suspected.sum())), float(np.divide(hits, wrong.sum())))
