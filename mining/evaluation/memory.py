"""Memory that metrics take beside the embeddings, for what is announced before the work. As their docstrings have it."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

from .impostor_scores import KEPT
from .mated_probes import BLOCK

LEVELS_BYTES, PER_KEPT_PAIR = 150_000_000, 60
"""What TAR@FAR and EER take: for the counts of all cosines, and for each pair that the bootstrap weighs."""
TILE_BYTES = 50 * BLOCK**2


def kept_pairs(pairs: int) -> int:
    """How many of so many impostor pairs the bootstrap weighs, at most.

    >>> kept_pairs(1000), kept_pairs(10**10) < 10**7
    (1000, True)
    """
    return min(pairs, int(KEPT * (1 + log2(max(1, pairs / KEPT)) / 2)))


def verification_bytes(pairs: int) -> int:
    """Bytes of TAR@FAR and EER over so many impostor pairs.

    >>> verification_bytes(1000) < verification_bytes(10**12) < 10**9
    True
    """
    return LEVELS_BYTES + PER_KEPT_PAIR * kept_pairs(pairs) + TILE_BYTES


def metric_bytes(names: Sequence[str], gallery: int, probes: int, distractors: int, dimensions: int) -> int:
    """Bytes that the metrics of these names take beside the embeddings.

    >>> metric_bytes(["Rank-1"], 1_000_000, 10_000, 0, 64) // 10**6
    176
    """
    images = gallery + probes + distractors
    held = 20 * images + 100 * (gallery + probes) + 4 * dimensions * probes  # checks, owners, probes in order
    if any(name.startswith(("TAR@FAR=", "EER")) for name in names):
        return held + verification_bytes(probes * gallery)
    return held + TILE_BYTES


RETRIEVAL_BYTES = 250_000_000
"""Bytes of retrieval metrics, beside the embeddings of queries and gallery."""
