"""DIR@FAR, open-set identification: how many probes are found and let in, where few strangers are let in?

Shapes: G gallery images, one per identity; P probes with a mate; N probes without; I identities with probes; R replicates.
Images of one identity succeed and fail together, so 95 % intervals resample identities: Bolle, Ratha and Pankanti,
"Error analysis of pattern recognition systems: the subsets bootstrap" (CVIU 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ..randomness import derived_seed
from .identification import probe_ranks
from .intervals import Metric, identity_draws, percentile_interval
from .mated_probes import BLOCK, TIE, MatedProbes, unit_rows
from .roc import accepted_impostors, impostors_needed
from .similarity_counts import tile_shape


@dataclass(frozen=True)
class DirAtFar(Metric):
    """The share of mated probes that are found where strangers are let in at most at the rate `far`.

    >>> DirAtFar("DIR@FAR=1e-2", 0.9, 0.8, 0.95, far=1e-2, threshold=0.7).to_json()
    {'value': 0.9, 'low': 0.8, 'high': 0.95, 'far': 0.01, 'threshold': 0.7}
    """

    far: float
    threshold: float | None
    """Cosine; let in what is strictly above."""
    reason: str | None = None
    """Why there is no value, where there is none."""


def dir_names(fars: Sequence[float], rank: int = 1) -> tuple[str, ...]:
    """Names of DIR@FAR metrics, such as `DIR@FAR=1e-2`; an InputError if a FAR is not between 0 and 1."""
    if not fars or not all(0 < far < 1 for far in fars) or rank < 1:
        raise InputError(
            f"fars is {tuple(fars)}, rank {rank}; give rates between 0 and 1, such as 1e-2, and a rank from 1"
        )
    family = "DIR" if rank == 1 else f"DIR-{rank}"
    return tuple(f"{family}@FAR={Decimal(repr(float(far))).normalize():e}" for far in fars)


def open_set_rates(
    mated: MatedProbes,
    non_mated: ArrayLike,
    fars: Sequence[float] = (1e-2,),
    *,
    rank: int = 1,
    non_mated_id: ArrayLike | None = None,
    bootstrap: int = 200,
    seed: int = 0,
    block: int | None = None,
    device: str = "cpu",
) -> tuple[DirAtFar, ...]:
    """DIR@FAR: the share of mated probes whose mate is among the `rank` most similar and above the threshold.

    The threshold is the highest similarity that at most floor(FAR * N) of the N probes without a mate exceed with
    their most similar gallery image: the detection and identification rate of Phillips, Grother and Micheals
    ("Evaluation methods in face recognition", 2011), TPIR at FPIR in the reports of IJB. Distractors of `mated` join the
    gallery. Ties (within 1e-6) count against the probe, in the rank and at the threshold. Where floor(FAR * N) is 0
    there are too few probes without a mate to say: value, interval and threshold are None, and `reason` says so.

    Intervals: each replicate draws the identities of both kinds of probe anew, and looks for its own threshold.

    Cost: one (P + N) x G product; nothing of that size is held.

    >>> rows, strangers = np.eye(4), np.array([[0.6, 0.8, 0, 0], [0.8, 0, 0, 0.6]])
    >>> mated = MatedProbes.match(rows[:3], range(3), [[1, 0, 0, 0], [0, 0.6, 0, 0.8]], [0, 1])
    >>> [(metric.name, metric.value, round(metric.threshold, 3)) for metric in open_set_rates(mated, strangers, [0.5])]
    [('DIR@FAR=5e-1', 0.5, 0.8)]

    Args:
        mated: embeddings and identities, checked.
        non_mated: float32[N, D], unit rows of identities that are not in the gallery. non_mated_id: int[N]; None: all
            of different identities.
        fars: between 0 and 1. rank: 1 or more. bootstrap: replicates. seed: of the bootstrap.
        block: rows of a tile; None: what suits the device. device: of the product.

    Raises:
        InputError: a rate or rank out of range, rows not of unit length, or shapes that do not match.
    """
    names, weights = dir_names(fars, rank), mated.identity_weights(bootstrap, seed)
    strangers = unit_rows("probe without a mate", non_mated, like=mated.gallery)
    owner = _owners(strangers, non_mated_id)
    accepted = [accepted_impostors(far, len(strangers)) for far in fars]
    if max(accepted) == 0:
        return tuple(_unknown(name, far, len(strangers)) for name, far in zip(names, fars, strict=True))

    among = probe_ranks(mated, block=block, device=device) <= rank
    mate = np.where(among, mated.mate_similarity(BLOCK), -np.inf)
    highest = _highest(strangers, (mated.gallery, mated.distractor), block, device)
    descending = np.argsort(-highest, kind="stable")
    highest, owner = highest[descending], owner[descending]

    def rates(weight_P: np.ndarray, weight_N: np.ndarray) -> list[tuple[float, float]]:
        """The threshold and the rate at each FAR, where each probe counts so often."""
        let_in = np.cumsum(weight_N)
        found = []
        for far in fars:
            place = np.searchsorted(let_in, accepted_impostors(far, int(let_in[-1])), side="right")
            threshold = float(highest[min(place, len(highest) - 1)]) + TIE
            found.append((threshold, float(weight_P @ (mate > threshold) / weight_P.sum())))
        return found

    whole = rates(np.ones(len(mate), np.int64), np.ones(len(highest), np.int64))
    others = identity_draws(int(owner.max()) + 1, bootstrap, derived_seed(seed, "probes without a mate"))
    replicates = [
        [rate for _, rate in rates(weight_I[mated.owner], other[owner])]
        for weight_I, other in zip(weights, others, strict=True)
    ]
    metrics = []
    for place, (name, far, count) in enumerate(zip(names, fars, accepted, strict=True)):
        if count == 0:
            metrics.append(_unknown(name, far, len(strangers)))
            continue
        threshold, rate = whole[place]
        metric = percentile_interval(name, rate, np.array([values[place] for values in replicates]))
        metrics.append(DirAtFar(name, metric.value, metric.low, metric.high, far, threshold))
    return tuple(metrics)


def rates_among_distractors(
    mated: MatedProbes,
    fars: Sequence[float] = (1e-2,),
    *,
    bootstrap: int = 200,
    seed: int = 0,
    block: int | None = None,
) -> tuple[DirAtFar, ...]:
    """DIR@FAR at rank 1 of `open_set_rates`, with the distractors as the probes without a mate.

    >>> rows = np.eye(4)
    >>> mated = MatedProbes.match(rows[:3], range(3), rows[:2], range(2), distractors=rows[3:].repeat(10, 0))
    >>> rates_among_distractors(mated, [0.1])[0].value
    1.0
    """
    gallery_alone = replace(mated, distractor=mated.distractor[:0])
    return open_set_rates(gallery_alone, mated.distractor, fars, bootstrap=bootstrap, seed=seed, block=block)


def _unknown(name: str, far: float, strangers: int) -> DirAtFar:
    reason = (
        f"FAR={far:g} needs {impostors_needed(far):,} probes without a mate or more; there are {strangers:,}"
    )
    return DirAtFar(name, None, None, None, far, None, reason)


def _owners(strangers: np.ndarray, identity: ArrayLike | None) -> np.ndarray:
    if identity is None:
        return np.arange(len(strangers))
    if np.shape(identity) != strangers.shape[:1]:
        raise InputError(
            f"{len(strangers)} embeddings of probes without a mate but identities of shape {np.shape(identity)}"
        )
    return np.unique(identity, return_inverse=True)[1]


def _highest(
    query: np.ndarray, galleries: tuple[np.ndarray, ...], block: int | None, device: str
) -> np.ndarray:
    """float32[N]: the similarity of each query to the most similar row of all galleries."""
    import torch

    query_ND = torch.from_numpy(query).to(device)
    tile_queries, tile_rows = tile_shape(query_ND.device, block)
    highest = torch.full((len(query),), -torch.inf, device=query_ND.device)
    for gallery in galleries:
        gallery_GD = torch.from_numpy(gallery).to(device)
        for left in range(0, len(gallery), tile_rows):
            others_BD = gallery_GD[left : left + tile_rows]
            for top in range(0, len(query), tile_queries):
                some = slice(top, top + tile_queries)
                highest[some] = torch.maximum(highest[some], (query_ND[some] @ others_BD.T).amax(1))
    return highest.cpu().numpy()
