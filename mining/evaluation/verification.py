"""TAR@FAR verification: how many genuine pairs pass a threshold that lets a share FAR of impostors pass?

Shapes: G gallery images, one per identity; P probes; I identities with probes; T kept impostor scores;
R replicates; B rows of a tile. Pairs that share an identity are not
independent, so the 95 % intervals resample identities: Bolle, Ratha and Pankanti, "Error analysis of pattern
recognition systems: the subsets bootstrap" (CVIU 2004); Fogliato, Patil and Perona, "Confidence intervals for
error rates in 1:1 matching tasks" (2024) compare the alternatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np

from ..errors import InputError
from .intervals import Metric, percentile_interval
from .mated_probes import BLOCK, TIE, MatedProbes

TAIL_FACTOR = 3
"""Impostor scores kept, in units of what the highest FAR accepts, so that resamples find theirs among them."""


@dataclass(frozen=True)
class TarAtFar(Metric):
    """The share of genuine pairs accepted where impostors are accepted at most at the rate `far`.

    >>> TarAtFar("TAR@FAR=1e-3", 0.9, 0.8, 0.95, far=1e-3, threshold=0.7).to_json()
    {'value': 0.9, 'low': 0.8, 'high': 0.95, 'far': 0.001, 'threshold': 0.7}
    """

    far: float
    threshold: float | None
    """Cosine; accept what is strictly above."""


@dataclass(frozen=True)
class ImpostorTail:
    """The highest impostor scores, with the gallery rows of both identities of each pair."""

    score: np.ndarray
    """float32[T], descending."""
    probe_row: np.ndarray
    """int32[T], the gallery row of the probe's identity."""
    gallery_row: np.ndarray
    """int32[T]."""

    @classmethod
    def collect(cls, mated: MatedProbes, size: int, block: int) -> ImpostorTail:
        """Keep the `size` highest as tiles come: at most 2 * size + block² pairs (12 bytes each) at a time.

        Which of several equal scores at the very end are kept depends on the block and never matters: a
        threshold that falls among them has their value.
        """
        parts = [(np.empty(0, np.float32), np.empty(0, np.int32), np.empty(0, np.int32))]
        held, floor = 0, np.float32(-np.inf)
        for rows, start, similarity_BB in mated.impostor_tiles(block):
            i, j = np.nonzero(similarity_BB > floor)
            probe_row, gallery_row = mated.mate[rows][i], start + j
            parts.append((similarity_BB[i, j], probe_row.astype(np.int32), gallery_row.astype(np.int32)))
            held += len(i)
            if held >= 2 * size:
                parts = [_highest(parts, size)]
                held, floor = size, parts[0][0].min()
        score, probe_row, gallery_row = _highest(parts, size)
        descending = np.argsort(-score, kind="stable")
        return cls(score[descending], probe_row[descending], gallery_row[descending])

    def threshold(self, weight_cumsum: np.ndarray, accepted: int) -> float:
        """The score (plus TIE) above which impostors weigh at most `accepted`; the last if T is too short."""
        place = np.searchsorted(weight_cumsum, accepted, side="right")
        return float(self.score[min(place, len(self.score) - 1)]) + TIE


def _highest(parts: list[tuple[np.ndarray, ...]], size: int) -> tuple[np.ndarray, ...]:
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    if len(columns[0]) <= size:
        return tuple(columns)
    kept = np.argpartition(columns[0], -size)[-size:]
    return tuple(column[kept] for column in columns)


def accepted_impostors(far: float, n_impostor: int) -> int:
    """floor(FAR * N) for the decimal FAR as written: 0.29 of 100 is 29, where float arithmetic gives 28."""
    return int(Fraction(repr(float(far))) * n_impostor)


def tar_names(fars: Sequence[float]) -> tuple[str, ...]:
    """Names of TAR@FAR metrics, such as `TAR@FAR=1e-3`; an InputError if a FAR is not between 0 and 1."""
    if not fars or not all(0 < far < 1 for far in fars):
        raise InputError(f"fars is {tuple(fars)}; give rates between 0 and 1, such as 1e-3")
    return tuple(f"TAR@FAR={Decimal(repr(float(far))).normalize():e}" for far in fars)


def _too_few_pairs(name: str, far: float) -> TarAtFar:
    return TarAtFar(name, None, None, None, far, None)


def tar_at_far(
    mated: MatedProbes,
    fars: Sequence[float] = (1e-3, 1e-4, 1e-5),
    *,
    bootstrap: int = 200,
    seed: int = 0,
    block: int = BLOCK,
) -> tuple[TarAtFar, ...]:
    """TAR@FAR over all probe x gallery pairs: exact, without holding the pairs.

    Genuine pairs are (probe, its identity's gallery image); impostor pairs are (probe, every other gallery
    image), N = P * (G - 1) of them; distractors are left out. With k = floor(FAR * N) the threshold is the
    (k+1)-th largest impostor score and what is strictly above it is accepted, so at most a share FAR of
    impostors is, ties included. That is the best TPR at FPR <= FAR of scikit-learn's `roc_curve`, except that
    scores less than 1e-6 apart are ties: float32 rounding must not tell genuine from impostor in a collapsed
    network. Where k = 0 there are too few pairs to say: value, interval and threshold are None, so for
    FAR=1e-5 bring 100,000 impostor pairs at least, and for a stable figure ten times as many.

    Intervals: in each replicate identities are drawn with replacement; a genuine pair weighs as often as its
    identity was drawn, an impostor pair the product of its two identities' draws (two copies of one identity
    are not impostors), and N and the threshold are computed anew. Gallery identities without probes are a
    fixed background of weight 1. Replicates look for their threshold among the 3 * (max FAR * N + 1) highest
    scores; one that does not find it there uses the lowest of them, which is too strict. The interval is the
    2.5 and 97.5 percentiles; it has no width where every identity does equally well.

    Cost: one P x G GEMM, and per replicate a pass over the kept scores. Memory: about 80 bytes per kept score
    plus 50 * block². It grows with P * G: 10,000 identities x 4 probes at FAR=1e-3 keep 1.2 million scores,
    150 MB; limit `probes_per_identity` if that is too much.

    >>> rows = np.eye(4)
    >>> mated = MatedProbes.match(rows, range(4), rows[[0, 1, 2, 0]], range(4))  # the last looks like 0
    >>> [(metric.name, metric.value) for metric in tar_at_far(mated, fars=(0.25, 1e-4))]  # of 12 impostor pairs
    [('TAR@FAR=2.5e-1', 0.75), ('TAR@FAR=1e-4', None)]

    Args:
        mated: embeddings and identities, checked.
        fars: false accept rates, between 0 and 1. bootstrap: replicates. seed: of the bootstrap.
        block: rows and columns of a tile; changes results by float32 rounding only.

    Raises:
        InputError: a rate that is not between 0 and 1, or fewer than one replicate.
    """
    names, weights = tar_names(fars), mated.identity_weights(bootstrap, seed)
    genuine, n_impostor = mated.mate_similarity(block), mated.impostor_pairs
    accepted = [accepted_impostors(far, n_impostor) for far in fars]
    if max(accepted) == 0:
        return tuple(map(_too_few_pairs, names, fars))

    tail = ImpostorTail.collect(mated, min(n_impostor, TAIL_FACTOR * (max(accepted) + 1)), block)
    replicates = []
    weight_G = np.ones(len(mated.gallery), np.int64)
    probes_I = np.bincount(mated.owner)
    for weight_I in weights:
        weight_G[mated.probed_row] = weight_I
        weight_cumsum = np.cumsum(weight_G[tail.probe_row] * weight_G[tail.gallery_row])
        n_drawn = int(weight_I @ probes_I) * int(weight_G.sum()) - int(weight_I**2 @ probes_I)
        weight_P = weight_I[mated.owner]
        thresholds = [tail.threshold(weight_cumsum, accepted_impostors(far, n_drawn)) for far in fars]
        replicates.append([weight_P @ (genuine > threshold) / weight_P.sum() for threshold in thresholds])

    metrics = []
    for name, far, count, tar_R in zip(names, fars, accepted, np.array(replicates).T, strict=True):
        if count == 0:
            metrics.append(_too_few_pairs(name, far))
            continue
        threshold = float(tail.score[count]) + TIE
        tar = percentile_interval(name, float(np.mean(genuine > threshold)), tar_R)
        metrics.append(TarAtFar(tar.name, tar.value, tar.low, tar.high, far, threshold))
    return tuple(metrics)
