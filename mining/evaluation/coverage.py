"""Coverage at a precision: how many probes can be named automatically if at most so many names may be wrong?

Shapes: G gallery images, one per identity; P probes; D dimensions; B rows of a tile.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .identification import BLOCK, TIE, MatedProbes


def coverage_at_precision(
    gallery: np.ndarray,
    gallery_id: np.ndarray,
    probe: np.ndarray,
    probe_id: np.ndarray,
    *,
    precision: float = 0.95,
    block: int = BLOCK,
) -> float:
    """The largest share M/P of probes that can be named with a precision C/M of at least `precision`.

    A probe is named after the most similar gallery image, if that similarity reaches a threshold; M probes do, and C
    of the names are right. Ties count against the probe, and probes of equal similarity are named together. 0 where no
    threshold is good enough. Source: the recognition track of the MS-Celeb-1M challenge (Guo et al., ECCV 2016).

    Args:
        gallery: float32[G, D], unit rows. gallery_id: int[G], distinct.
        probe: float32[P, D], unit rows. probe_id: int[P], each in `gallery_id`.
        precision: above 0, at most 1.
        block: rows and columns of a tile.

    Raises:
        InputError: NaN, rows not of unit length, no probes, shapes or identities that do not match.
    """
    if not 0 < precision <= 1:
        raise InputError(f"precision is {precision}; give a share such as 0.95")
    pairs = MatedProbes.match(gallery, gallery_id, probe, probe_id)
    other = np.full(len(pairs.probe), -np.inf, np.float32)
    for rows, _, similarity_BB in pairs.impostor_tiles(block):
        np.maximum(other[rows], similarity_BB.max(axis=1), out=other[rows])
    mate = pairs.mate_similarity(block)
    right, score = mate > other + TIE, np.maximum(mate, other)
    descending = np.argsort(-score, kind="stable")
    named = np.arange(1, len(score) + 1)
    correct = np.cumsum(right[descending])
    ends = np.append(np.diff(score[descending]) != 0, True)
    enough = ends & (correct >= precision * named)
    return float(named[enough].max(initial=0) / len(score))
