"""How likely it is that an image is a stranger to its identity, from what strangers look like.

What is seen, F, is a mixture: a share π of strangers, S, among images that belong where they are. S need not be
guessed: put any image beside the mean of an identity that is not its own. π is the most that F leaves room for,

    π = min over t of F(score <= t) / S(score <= t),     P(stranger | score) = π s(score) / f(score)

(Storey 2002; Efron's local false discovery rate). So there is no threshold to choose and no share that is always
dropped: where nothing of F lies where strangers lie, π is nothing.

Scores of identities of few images scatter more, so they are judged among those of about as many.

Shapes: n scores seen, m scores of strangers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BINS = 1024
LEAST = 500
"""Fewer strangers to identities of so many images are joined with the next group."""
TAIL = 0.3
"""Share of the strangers on which the share π is judged at least; less is a matter of luck."""


class Verdict(NamedTuple):
    """What became of the scores."""

    probability: np.ndarray
    """float32[n], that it is a stranger; 0 where there is no score (NaN)."""
    share: float
    """π: of all that have a score."""


def stranger_probability(
    score_n: np.ndarray,
    images_n: np.ndarray,
    stranger_m: np.ndarray,
    stranger_images_m: np.ndarray,
) -> Verdict:
    """Judge each score; the lower, the more like a stranger's.

    Args:
        score_n: NaN where there is none.
        images_n: how many images it was compared with.
        stranger_m, stranger_images_m: the same of strangers.

    Example:
        >>> random = np.random.default_rng(0)
        >>> strangers = random.normal(0.0, 0.1, 10_000)
        >>> seen = np.concatenate([random.normal(0.8, 0.05, 900), random.normal(0.0, 0.1, 100)])
        >>> one = np.ones(10_000)
        >>> verdict = stranger_probability(seen, one[:1000], strangers, one)
        >>> (verdict.probability > 0.5).nonzero()[0].tolist() == list(range(900, 1000)), round(verdict.share, 1)
        (True, 0.1)
    """
    probability, strange = np.zeros(len(score_n), np.float32), 0.0
    scored = np.isfinite(score_n)
    valid = np.isfinite(stranger_m)
    stranger_m, stranger_images_m = stranger_m[valid], stranger_images_m[valid]
    for low, high in groups_of(stranger_images_m):
        here = np.flatnonzero(scored & (images_n >= low) & (images_n < high))
        theirs = stranger_m[(stranger_images_m >= low) & (stranger_images_m < high)]
        if len(here):
            probability[here], share = _judged(score_n[here], theirs)
            strange += share * len(here)
    return Verdict(probability, strange / max(1, int(scored.sum())))


def groups_of(images_m: np.ndarray) -> list[tuple[float, float]]:
    """Borders between numbers of images: powers of two, with LEAST or more in each group.

    >>> groups_of(np.repeat([1, 2, 3, 5], [1000, 600, 10, 700]))
    [(0.0, 2.0), (2.0, 4.0), (4.0, inf)]
    """
    borders, low = [], 0.0
    for power in range(1, 40):
        high = float(2**power)
        rest = (images_m >= high).sum()
        if ((images_m >= low) & (images_m < high)).sum() >= LEAST and rest >= LEAST:
            borders.append((low, high))
            low = high
    return [*borders, (low, np.inf)]


def _judged(score: np.ndarray, stranger: np.ndarray) -> tuple[np.ndarray, float]:
    """The probability of each score, and π."""
    if not len(stranger):
        return np.zeros(len(score)), 0.0
    low, high = float(min(score.min(), stranger.min())), float(max(score.max(), stranger.max()))
    width = max(high - low, 1e-6) / BINS
    place = np.minimum((score - low) / width, BINS - 1).astype(np.int64)
    seen = np.bincount(place, minlength=BINS)
    strangers = np.bincount(np.minimum((stranger - low) / width, BINS - 1).astype(np.int64), minlength=BINS)
    below_seen, below_strangers = np.cumsum(seen), np.cumsum(strangers) / len(stranger)
    enough = below_strangers >= TAIL
    # A standard deviation more than was seen, and one: the least of many ratios by chance would be too little.
    most = below_seen + np.sqrt(below_seen) + 1
    share = float(min(1.0, (most[enough] / len(score) / below_strangers[enough]).min()))
    expected = share * len(score) * strangers / len(stranger)
    return _falling(expected, seen)[place], share


def _falling(expected: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """expected / (seen, or expected where that is more) of each bin, pooled so that it falls: isotonic regression.

    Neighbouring bins are joined until none has a larger ratio than the one before (pool adjacent violators).
    """
    blocks: list[list[float]] = []
    for strange, all_of_them in zip(expected.tolist(), seen.tolist(), strict=True):
        blocks.append([strange, max(all_of_them, 0.0), 1])
        while len(blocks) > 1 and blocks[-1][0] * blocks[-2][1] >= blocks[-2][0] * blocks[-1][1]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    ratio = [min(1.0, strange / seen) if seen else 1.0 if strange else 0.0 for strange, seen, _ in blocks]
    return np.repeat(ratio, [int(block[2]) for block in blocks])
