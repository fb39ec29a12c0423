"""Coverage at a precision: how many probes can be named automatically if at most so many names may be wrong?

Shapes: P probes; R replicates; B rows of a tile. Images of one identity succeed and fail together, so 95 %
intervals resample identities: Bolle, Ratha and Pankanti, "Error analysis of pattern recognition systems: the
subsets bootstrap" (CVIU 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np

from ..errors import InputError
from .intervals import Metric, percentile_interval
from .mated_probes import BLOCK, TIE, MatedProbes


def coverage_names(precisions: Sequence[float]) -> tuple[str, ...]:
    """Names of coverage metrics, such as `coverage@P=0.95`; an InputError if a precision is no share."""
    if not precisions or not all(0 < precision <= 1 for precision in precisions):
        raise InputError(f"precisions is {tuple(precisions)}; give shares above 0, such as 0.95")
    written = (Decimal(repr(float(precision))).normalize() for precision in precisions)
    return tuple(f"coverage@P={precision:f}" for precision in written)


def coverage_at_precision(
    mated: MatedProbes,
    precisions: Sequence[float] = (0.95,),
    *,
    bootstrap: int = 200,
    seed: int = 0,
    block: int = BLOCK,
) -> tuple[Metric, ...]:
    """The largest share M/P of probes that can be named with a precision C/M of at least `precision`.

    A probe is named after the most similar gallery image, if that similarity reaches a threshold; M probes do, and C
    of the names are right. Ties count against the probe, and probes of equal similarity are named together. 0 where no
    threshold is good enough. Distractors are left out. Each bootstrap replicate draws the identities with probes anew
    and looks for its own threshold; the gallery stays whole. At a high precision a handful of confident mistakes
    decide, and the interval is wide.

    Cost: one P x G GEMM, and per replicate a pass over the probes. Source: the recognition track of the MS-Celeb-1M
    challenge (Guo et al., ECCV 2016).

    >>> rows = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    >>> probe = np.array([[1, 0, 0], [0, 1, 0], [0.8, 0, 0.6]])  # the last is taken for 0, if it is named at all
    >>> [coverage] = coverage_at_precision(MatedProbes.match(rows, range(3), probe, range(3)))
    >>> coverage.name, round(coverage.value, 3)
    ('coverage@P=0.95', 0.667)

    Args:
        mated: embeddings and identities, checked.
        precisions: each above 0, at most 1. bootstrap: replicates. seed: of the bootstrap.
        block: rows and columns of a tile.

    Raises:
        InputError: a precision that is no share, or fewer than one replicate.
    """
    names, weights = coverage_names(precisions), mated.identity_weights(bootstrap, seed)
    # As they are written: 0.55 as a float is above 55 of 100. So coarse that products fit into 64 bits.
    exact = [Fraction(repr(float(precision))).limit_denominator(10**9) for precision in precisions]
    other = np.full(len(mated.probe), -np.inf, np.float32)
    for rows, _, similarity_BB in mated.impostor_tiles(block):
        np.maximum(other[rows], similarity_BB.max(axis=1), out=other[rows])
    mate = mated.mate_similarity(block)
    right, score = mate > other + TIE, np.maximum(mate, other)
    descending = np.argsort(-score, kind="stable")
    right, owner = right[descending], mated.owner[descending]
    end = np.append(np.diff(score[descending]) != 0, True)  # the last of equal scores

    def shares(weight_P: np.ndarray) -> list[float]:
        """The coverage at each precision if probe p, by descending similarity, counts `weight_P[p]` times."""
        named = np.cumsum(weight_P)
        correct = np.cumsum(weight_P * right)
        enough = (end & (correct * share.denominator >= named * share.numerator) for share in exact)
        return [float(named[reached].max(initial=0) / named[-1]) for reached in enough]

    values = shares(np.ones(len(right), np.int64))
    replicates = np.array([shares(weight_I[owner]) for weight_I in weights])
    return tuple(
        percentile_interval(name, value, share_R)
        for name, value, share_R in zip(names, values, replicates.T, strict=True)
    )
