"""Memory that metrics take beside the embeddings, for what is announced before the work. As their docstrings have it."""

from __future__ import annotations

from collections.abc import Sequence

from .mated_probes import BLOCK

VERIFICATION_BYTES, PER_PAIR = 600_000_000, 60
"""Of TAR@FAR and EER: at most, and where there are few pairs."""
TILE_BYTES = 50 * BLOCK**2


def verification_bytes(pairs: int) -> int:
    """Bytes of TAR@FAR and EER over so many impostor pairs.

    >>> verification_bytes(1000) < verification_bytes(10**12) < 10**9
    True
    """
    return min(VERIFICATION_BYTES, PER_PAIR * pairs) + TILE_BYTES


def examination_bytes(
    names: Sequence[str], gallery: int, probes: int, distractors: int, dimensions: int
) -> int:
    """Bytes that the embeddings take with the metrics of these names.

    >>> examination_bytes(["Rank-1"], 1_000_000, 10_000, 0, 64) // 10**6
    402
    """
    images = gallery + probes + distractors
    held = images * (4 * dimensions + 20) + 100 * (gallery + probes) + 4 * dimensions * probes
    if any(name.startswith(("TAR@FAR=", "EER")) for name in names):
        return held + verification_bytes(probes * gallery)
    return held + TILE_BYTES
