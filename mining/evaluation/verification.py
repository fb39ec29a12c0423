"""Verification: TAR@FAR, EER and the whole ROC curve, over all pairs of probes and gallery or over a list of pairs.

Shapes: G gallery images, one per identity; P probes; I identities with probes; N impostor pairs; n listed pairs;
R replicates. Pairs that share an identity are not independent, so the 95 % intervals resample identities: Bolle, Ratha
and Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap" (CVIU 2004); Fogliato, Patil and
Perona, "Confidence intervals for error rates in 1:1 matching tasks" (2024) compare the alternatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ..randomness import generator
from .impostor_scores import ImpostorScores, thinned
from .mated_probes import BLOCK, MatedProbes
from .roc import Roc, ScoreCounts, level_of
from .verification_metrics import EqualErrorRate as EqualErrorRate
from .verification_metrics import TarAtFar as TarAtFar
from .verification_metrics import Verification as Verification
from .verification_metrics import measured, no_impostors


def tar_names(fars: Sequence[float]) -> tuple[str, ...]:
    """Names of TAR@FAR metrics, such as `TAR@FAR=1e-3`; an InputError if a FAR is not between 0 and 1."""
    if not fars or not all(0 < far < 1 for far in fars):
        raise InputError(f"fars is {tuple(fars)}; give rates between 0 and 1, such as 1e-3")
    return tuple(f"TAR@FAR={Decimal(repr(float(far))).normalize():e}" for far in fars)


def tar_at_far(
    mated: MatedProbes,
    fars: Sequence[float] = (1e-3, 1e-4, 1e-5),
    *,
    bootstrap: int = 200,
    seed: int = 0,
    block: int = BLOCK,
) -> tuple[TarAtFar, ...]:
    """TAR@FAR of `verify_all_pairs`, alone.

    >>> rows = np.eye(4)
    >>> mated = MatedProbes.match(rows, range(4), rows[[0, 1, 2, 0]], range(4))  # the last looks like 0
    >>> [(metric.name, metric.value) for metric in tar_at_far(mated, fars=(0.25, 1e-4))]  # of 12 impostor pairs
    [('TAR@FAR=2.5e-1', 0.75), ('TAR@FAR=1e-4', None)]
    """
    return verify_all_pairs(mated, fars, bootstrap=bootstrap, seed=seed, block=block).tars


def no_number(text: str) -> float:
    """The number of a metric that has none; a ValueError where there is text behind its name."""
    if text:
        raise ValueError(f"'{text}' behind a name that has no number")
    return 0.0


def equal_error_name(numbers: Sequence[float] = (0.0,)) -> tuple[str, ...]:
    """`EER`."""
    return ("EER",)


def equal_error_rates(
    mated: MatedProbes,
    numbers: Sequence[float] = (0.0,),
    *,
    bootstrap: int = 200,
    seed: int = 0,
    block: int = BLOCK,
) -> tuple[EqualErrorRate, ...]:
    """EER of `verify_all_pairs`, alone; `numbers` are those of a family that has none.

    >>> rows = np.eye(4)
    >>> [eer] = equal_error_rates(MatedProbes.match(rows, range(4), rows, range(4)))
    >>> eer.name, eer.value
    ('EER', 0.0)
    """
    return (verify_all_pairs(mated, bootstrap=bootstrap, seed=seed, block=block).eer,)


def verify_all_pairs(
    mated: MatedProbes,
    fars: Sequence[float] = (1e-3, 1e-4, 1e-5),
    *,
    bootstrap: int = 200,
    seed: int = 0,
    block: int = BLOCK,
) -> Verification:
    """TAR@FAR, EER and ROC over all probe x gallery pairs: exact, without holding the pairs.

    Genuine pairs are (probe, its identity's gallery image); impostor pairs are (probe, every other gallery
    image), N = P * (G - 1) of them; distractors are left out. `Roc` has the rules for thresholds and ties. Where FAR * N
    is below 1 there are too few pairs to say: value, interval and threshold are None, and `reason` says so. For
    FAR=1e-5 bring 100,000 impostor pairs at least, and for a stable figure ten times as many.

    Intervals: in each replicate identities are drawn with replacement; a genuine pair weighs as often as its
    identity was drawn, an impostor pair the product of its two identities' draws (two copies of one identity
    are not impostors), and N and the threshold are computed anew. Gallery identities without probes are a
    fixed background of weight 1. Up to 500,000 impostor pairs, each replicate counts all of them; of more, a sample that
    knows the FAR of any threshold within about 0.1 % of itself (`impostor_scores`). The interval is the 2.5 and 97.5
    percentiles; it has no width where every identity does equally well.

    Cost: one P x G GEMM and about 15 ns a pair of one core; per replicate a pass over the sample. Memory: at most 0.6 GB
    beside the embeddings and 50 * block² bytes, for 10^10 pairs; 60 bytes a pair where there are fewer than 500,000.

    >>> rows = np.eye(4)
    >>> found = verify_all_pairs(MatedProbes.match(rows, range(4), rows, range(4)), fars=(0.25,))
    >>> found.tars[0].value, found.eer.value
    (1.0, 0.0)

    Args:
        mated: embeddings and identities, checked.
        fars: false accept rates, between 0 and 1. bootstrap: replicates. seed: of the bootstrap.
        block: rows and columns of a tile; changes values by float32 rounding only, intervals by the sample, too.

    Raises:
        InputError: a rate that is not between 0 and 1, or fewer than one replicate.
    """
    names, weights = tar_names(fars), mated.identity_weights(bootstrap, seed)
    if not mated.impostor_pairs:
        return no_impostors(names, fars)
    impostors = ImpostorScores.collect(mated, seed, block)
    mate_level = level_of(mated.mate_similarity(block))
    ascending = np.argsort(mate_level, kind="stable")
    level, owner = mate_level[ascending], mated.owner[ascending]

    def replicates() -> Iterator[Roc]:
        weight_G = np.ones(len(mated.gallery), np.int64)
        for weight_I in weights:
            weight_G[mated.probed_row] = weight_I
            yield Roc(ScoreCounts.weighted(level, weight_I[owner]), impostors.drawn(weight_G))
            mated.track(len(impostors.level))

    genuine = ScoreCounts.weighted(level, np.ones(len(level), np.int64))
    return measured(Roc(genuine, impostors.counts), names, fars, replicates())


def verify_pairs(
    similarity: ArrayLike,
    same: ArrayLike,
    fars: Sequence[float] = (1e-3, 1e-4, 1e-5),
    *,
    identities: tuple[ArrayLike, ArrayLike] | None = None,
    bootstrap: int = 200,
    seed: int = 0,
) -> Verification:
    """TAR@FAR, EER and ROC over listed pairs, such as those of LFW or of IJB.

    Cost and memory: about 60 bytes a pair; replicates count all genuine pairs and, of more than 500,000 impostor pairs, a
    sample as `verify_all_pairs` does.

    Intervals: where `identities` says who is in each pair, replicates draw identities, as `verify_all_pairs` does. Else
    they draw pairs, which takes those that share an identity for independent: the intervals are too narrow then.

    >>> found = verify_pairs([0.9, 0.8, 0.3, 0.2], [True, True, False, False], fars=(0.5,))
    >>> found.tars[0].value, found.eer.value
    (1.0, 0.0)

    Args:
        similarity: float[n]. same: bool[n], whether both are of one identity.
        fars: false accept rates, between 0 and 1. identities: int[n] and int[n], of the first and the second.
        bootstrap: replicates. seed: of the bootstrap.

    Raises:
        InputError: no genuine or no impostor pairs, a similarity that is not finite, or shapes that do not match.
    """
    names, similarity, same = tar_names(fars), np.asarray(similarity), np.asarray(same)
    if same.shape != similarity.shape:
        raise InputError(
            f"{similarity.shape} similarities, but {same.shape} of same or not; give one of each per pair"
        )
    if same.dtype != bool:
        raise InputError(f"same is {same.dtype}; give true or false for each pair")
    if bootstrap < 1:
        raise InputError(f"bootstrap is {bootstrap}; give the number of replicates, such as 200")
    roc = Roc.of(similarity[same], similarity[~same])
    level = level_of(similarity if similarity.dtype == np.float32 else similarity.astype(np.float64))
    random = generator(seed, "pair bootstrap")
    genuine, impostor = np.flatnonzero(same), np.flatnonzero(~same)
    genuine = genuine[np.argsort(level[genuine], kind="stable")]
    impostor = impostor[np.argsort(level[impostor], kind="stable")]
    place, scale = thinned(len(impostor), random)
    impostor = impostor[place]
    genuine_level, impostor_level = level[genuine], level[impostor]
    draw = _pair_weights if identities is None else _identity_weights(identities, same, genuine, impostor)

    def replicates() -> Iterator[Roc]:
        for _ in range(bootstrap):
            weight, other = draw(genuine, impostor, random)
            yield Roc(
                ScoreCounts.weighted(genuine_level, weight),
                ScoreCounts.weighted(impostor_level, other * scale),
            )

    return measured(roc, names, fars, replicates())


Draw = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""Given genuine and impostor pairs and a generator: how much each weighs in a replicate."""


def _pair_weights(
    genuine: np.ndarray, impostor: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    weight, other = (
        np.bincount(random.integers(len(pairs), size=len(pairs)), minlength=len(pairs))
        for pairs in (genuine, impostor)
    )
    return weight, other


def _identity_weights(
    identities: tuple[ArrayLike, ArrayLike], same: np.ndarray, genuine: np.ndarray, impostor: np.ndarray
) -> Draw:
    first, second = (np.asarray(side) for side in identities)
    if first.shape != same.shape or second.shape != same.shape:
        raise InputError(f"identities of shapes {first.shape} and {second.shape} for {len(same)} pairs")
    wrong = np.flatnonzero((first == second) != same)
    if len(wrong):
        kind = "genuine" if same[wrong[0]] else "impostor"
        raise InputError(
            f"pair {wrong[0]} is called {kind}, but its identities are {first[wrong[0]]} and {second[wrong[0]]}"
        )
    known = np.unique(np.concatenate((first, second)))
    of_genuine, a, b = (
        np.searchsorted(known, who) for who in (first[genuine], first[impostor], second[impostor])
    )

    def draw(
        genuine: np.ndarray, impostor: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        weight = np.bincount(random.integers(len(known), size=len(known)), minlength=len(known))
        return weight[of_genuine], weight[a] * weight[b]

    return draw
