"""Scores of all impostor pairs in one pass: all of them counted by level, and a sample for the bootstrap.

A resample of identities needs to know whose score each is, which is too much to keep of 10^10 pairs. Kept is a sample in
which a pair of rank r from the top (estimated beforehand) is there with probability about min(1, KEPT / r), and weighs
the inverse. So the tail is whole, and the rate of impostors above any threshold is known within about 0.1 % of itself.
Source: Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe" (JASA 1952).

Shapes: N impostor pairs; M pairs of the pilot; S kept pairs; B rows of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..randomness import generator
from .mated_probes import MatedProbes
from .roc import ScoreCounts, level_of

KEPT = 2**19
"""Impostor pairs that are kept for sure, those of the highest scores; all where there are no more."""
PILOT = 2**18
"""Random pairs from which ranks are estimated."""
_FREE = 4
"""Bands whose pairs are looked at one by one: 16 * KEPT of them."""
_NO_PAIR = -1.5
"""Below every cosine of two unit rows; a mate."""


@dataclass(frozen=True)
class ImpostorScores:
    """The scores of all impostor pairs."""

    counts: ScoreCounts
    """All of them, exactly."""
    level: np.ndarray
    """int64[S], ascending."""
    probe_row: np.ndarray
    """int32[S], the gallery row of the probe's identity."""
    gallery_row: np.ndarray
    """int32[S]."""
    weight: np.ndarray
    """int64[S], how many pairs each kept one stands for."""

    @classmethod
    def collect(cls, mated: MatedProbes, seed: int, block: int, kept: int = KEPT) -> ImpostorScores:
        """One pass over the tiles, in at most 50 * block² + 150 MB + 60 bytes a kept pair.

        Kept are at most KEPT * (1 + log2(N / KEPT) / 2) pairs or so, 4 million of 10^10. Which, depends on seed and
        block; where N is at most KEPT it is all.
        """
        random = generator(seed, "impostor sample")
        floors = _floors(mated, random, kept)
        lowest = int(level_of(np.array([_NO_PAIR], np.float32))[0])
        count = np.zeros(1 - 2 * lowest, np.int64)  # of each level from there to as far above 0
        parts = [(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64))]
        for rows, start, similarity_BB in mated.impostor_tiles(block):
            similarity = similarity_BB.ravel()
            place, weight = _drawn(similarity, floors, random)
            level = level_of(np.maximum(similarity, np.float32(_NO_PAIR)))
            i, j = np.divmod(place, similarity_BB.shape[1])
            probe_row, gallery_row = mated.mate[rows][i], start + j
            parts.append((level[place], probe_row.astype(np.int32), gallery_row.astype(np.int32), weight))
            if len(floors):
                level -= lowest
                np.add.at(count, level, 1)
        level, probe_row, gallery_row, weight = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        order = np.argsort(level, kind="stable")
        level, probe_row, gallery_row, weight = (
            column[order] for column in (level, probe_row, gallery_row, weight)
        )
        if not len(floors):  # all are kept
            return cls(ScoreCounts.weighted(level, weight), level, probe_row, gallery_row, weight)
        count[0] = 0  # mates
        occurs = np.flatnonzero(count)
        counts = ScoreCounts.weighted(occurs + lowest, count[occurs])
        return cls(counts, level, probe_row, gallery_row, weight)

    def drawn(self, weight_G: np.ndarray) -> ScoreCounts:
        """The kept pairs where each gallery row's identity was drawn so often: a pair weighs the product of its two."""
        weight_S = weight_G[self.probe_row] * weight_G[self.gallery_row] * self.weight
        return ScoreCounts.weighted(self.level, weight_S)


def thinned(n: int, random: np.random.Generator, kept: int = KEPT) -> tuple[np.ndarray, np.ndarray]:
    """Places of a sample of n pairs that are sorted by ascending score, and what each weighs; all where n <= kept.

    >>> thinned(3, np.random.default_rng(0))
    (array([0, 1, 2]), array([1, 1, 1]))
    """
    band = np.ceil(np.log2(np.maximum(np.arange(n, 0, -1) / kept, 1))).astype(np.int64)
    place = np.flatnonzero(random.random(n) < 2.0**-band) if n > kept else np.arange(n)
    return place, 2 ** band[place]


def _floors(mated: MatedProbes, random: np.random.Generator, kept: int) -> np.ndarray:
    """Scores below which one pair in 2, in 4 ... is kept, descending; a random sample of pairs tells where."""
    n_impostor = mated.impostor_pairs
    if n_impostor <= kept:
        return np.empty(0, np.float32)
    probe = random.integers(len(mated.probe), size=PILOT)
    other = random.integers(len(mated.gallery) - 1, size=PILOT)
    other += other >= mated.mate[probe]
    score = _products(mated, probe, other)
    score.sort()
    rank = kept * 2.0 ** np.arange(np.log2(n_impostor / kept))
    return score[::-1][np.minimum((rank * PILOT / n_impostor).astype(np.int64), PILOT - 1)]


def _products(mated: MatedProbes, probe: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """float32[M] of pairs of rows, in blocks."""
    block = 2**12
    parts = (slice(start, start + block) for start in range(0, len(probe), block))
    pairs = ((mated.probe[probe[part]], mated.gallery[gallery[part]]) for part in parts)
    return np.concatenate([np.einsum("md,md->m", a, b) for a, b in pairs])


def _drawn(
    similarity: np.ndarray, floors: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Places of the pairs of a tile that are kept, and what each weighs."""
    if not len(floors):
        place = np.flatnonzero(similarity > _NO_PAIR)
        return place, np.ones(len(place), np.int64)
    free = min(_FREE, len(floors) - 1)
    above = np.flatnonzero(similarity > floors[free])
    below = random.integers(len(similarity), size=random.binomial(len(similarity), 2.0**-free))
    below = below[(similarity[below] <= floors[free]) & (similarity[below] > _NO_PAIR)]
    place = np.concatenate((above, below))
    band = np.searchsorted(-floors, -similarity[place], side="right")  # 0: above the first floor
    known = np.repeat((0, free), (len(above), len(below)))
    kept = random.random(len(place)) < 2.0 ** (known - band)
    return place[kept], 2 ** band[kept]
