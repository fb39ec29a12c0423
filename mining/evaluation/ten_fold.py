"""Accuracy over folds of a pair list, as for LFW, CFP-FP and AgeDB: the threshold comes from the other folds.

The figures are those of InsightFace's tables (accuracy mean and standard deviation) and of FaceNet's (VAL@FAR), threshold by
threshold: squared distances of unit vectors, 2 - 2 * cosine, against 0, 0.01 ... 3.99, of which the first that is best
on the other folds is taken; folds in the order of the list. An exact search would take any threshold between two
distances: it is at least as accurate on the folds that it is chosen on, by no more than the pairs within one step of
0.01, and may be better or worse on the fold that is tried.

Shapes: n pairs; F folds; T thresholds; R replicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ..randomness import generator
from .intervals import Metric, percentile_interval
from .roc import accepted_impostors, impostors_needed
from .verification import tar_names

ACCURACY_THRESHOLDS = np.arange(0, 4, 0.01)
"""Squared distances; a pair is taken for one identity below."""
VAL_THRESHOLDS = np.arange(0, 4, 0.001)


@dataclass(frozen=True)
class FoldMetric(Metric):
    """A figure that is the mean over folds.

    >>> metric = FoldMetric("Accuracy", 0.9, 0.88, 0.92, std=0.01, threshold=0.3, of_folds=(0.89, 0.91))
    >>> metric.to_json()["std"], metric.to_json()["of_folds"]
    (0.01, [0.89, 0.91])
    """

    std: float | None
    """Standard deviation over the folds, dividing by their number."""
    threshold: float | None
    """Cosine, the mean over the folds; accept what is strictly above."""
    of_folds: tuple[float, ...] = ()
    reason: str | None = None
    """Why there is no value, where there is none."""

    def to_json(self) -> dict[str, Any]:
        """Everything but the name, ready for `json.dumps`; the reason only where there is one."""
        return super().to_json() | {"of_folds": list(self.of_folds)}


def ten_fold_accuracy(
    similarity: ArrayLike,
    same: ArrayLike,
    folds: int | ArrayLike = 10,
    *,
    bootstrap: int = 200,
    seed: int = 0,
) -> FoldMetric:
    """Accuracy, mean and standard deviation over folds: the number of InsightFace's `lfw`, `cfp_fp`, `agedb_30`.

    The interval resamples pairs within folds, thresholds staying: it takes pairs for independent, as the standard
    deviation does, and is too narrow where they share identities.

    >>> similarity, same = np.tile([0.9, 0.1], 20), np.tile([True, False], 20)
    >>> found = ten_fold_accuracy(similarity, same)
    >>> found.name, found.value, found.std
    ('Accuracy', 1.0, 0.0)

    Args:
        similarity: float[n], cosines. same: bool[n], whether both images are of one identity.
        folds: their number, F of equal size in the order of the list (the first n % F have one pair more); or int[n],
            the fold of each pair.
        bootstrap: replicates. seed: of the bootstrap.

    Raises:
        InputError: one class of pairs only, fewer pairs than folds, fewer than two folds, or a cosine that is none.
    """
    pairs = _Pairs.of(similarity, same, folds)
    genuine_FT, impostor_FT = pairs.below(ACCURACY_THRESHOLDS)
    right_FT = genuine_FT + (pairs.sizes - pairs.genuine)[:, None] - impostor_FT
    best_F = np.argmax(right_FT.sum(axis=0) - right_FT, axis=1)
    accuracy_F = right_FT[np.arange(len(best_F)), best_F] / pairs.sizes
    taken = pairs.distance < ACCURACY_THRESHOLDS[best_F][pairs.fold]
    right = taken == pairs.same
    interval = _interval("Accuracy", float(accuracy_F.mean()), right, pairs.fold, bootstrap, seed)
    threshold = float(np.mean(1 - ACCURACY_THRESHOLDS[best_F] / 2))
    return FoldMetric(
        interval.name, interval.value, interval.low, interval.high, float(accuracy_F.std()), threshold,
        tuple(map(float, accuracy_F)),
    )  # fmt: skip


def validation_rate(
    similarity: ArrayLike,
    same: ArrayLike,
    far: float = 1e-3,
    folds: int | ArrayLike = 10,
    *,
    bootstrap: int = 200,
    seed: int = 0,
) -> FoldMetric:
    """VAL@FAR of FaceNet: the share of genuine pairs accepted, at the distance that accepts `far` on the other folds.

    That distance is interpolated between steps of 0.001; of several whose FAR is just `far` it is the greatest. Where the
    impostors of the other folds are fewer than 1 / far there is no value: FaceNet interpolates from nothing there.

    >>> similarity, same = np.tile([0.9, 0.1], 200), np.tile([True, False], 200)
    >>> validation_rate(similarity, same, far=1e-1).value, validation_rate(similarity, same).reason
    (1.0, 'FAR=0.001 needs 1,000 impostor pairs or more beside each fold; there are 180')

    Args:
        similarity: float[n], cosines. same: bool[n]. far: between 0 and 1.
        folds: as `ten_fold_accuracy` has them. bootstrap: replicates. seed: of the bootstrap.

    Raises:
        InputError: as `ten_fold_accuracy`, or a fold without genuine pairs.
    """
    name = tar_names((far,))[0].replace("TAR@", "VAL@")
    pairs = _Pairs.of(similarity, same, folds)
    _, impostor_FT = pairs.below(VAL_THRESHOLDS)
    impostor_F = pairs.sizes - pairs.genuine
    if not pairs.genuine.all():
        empty = int(np.flatnonzero(pairs.genuine == 0)[0])
        raise InputError(f"fold {empty} has no genuine pairs, so {name} has no mean over folds; join folds")
    others_F = impostor_F.sum() - impostor_F
    if not all(accepted_impostors(far, int(others)) for others in others_F):
        needed = f"FAR={far:g} needs {impostors_needed(far):,} impostor pairs or more beside each fold"
        return FoldMetric(name, None, None, None, None, None, (), f"{needed}; there are {others_F.min():,}")
    far_FT = (impostor_FT.sum(axis=0) - impostor_FT) / others_F[:, None]
    reached_F = far_FT.max(axis=1) >= far
    at_F = np.array([np.interp(far, far_T, VAL_THRESHOLDS) for far_T in far_FT])
    at_F = np.where(reached_F, at_F, 0.0)
    taken = pairs.distance < at_F[pairs.fold]
    value_F = np.bincount(pairs.fold[pairs.same & taken], minlength=len(at_F)) / pairs.genuine
    interval = _interval(
        name, float(value_F.mean()), taken[pairs.same], pairs.fold[pairs.same], bootstrap, seed
    )
    return FoldMetric(
        name, interval.value, interval.low, interval.high, float(value_F.std()),
        float(np.mean(1 - at_F / 2)), tuple(map(float, value_F)),
    )  # fmt: skip


class _Pairs(NamedTuple):
    distance: np.ndarray
    """float64[n], squared."""
    same: np.ndarray
    """bool[n]."""
    fold: np.ndarray
    """int64[n], 0..F-1."""
    sizes: np.ndarray
    genuine: np.ndarray

    @classmethod
    def of(cls, similarity: ArrayLike, same: ArrayLike, folds: int | ArrayLike) -> _Pairs:
        cosine, same = np.asarray(similarity, np.float64), np.asarray(same)
        n = len(cosine) if cosine.ndim == 1 else 0
        if same.shape != (n,) or same.dtype != bool:
            raise InputError(
                f"similarity has shape {cosine.shape}, same {same.shape} of {same.dtype}; give a cosine and true or "
                "false for each pair"
            )
        if not (same.any() and not same.all()):
            missing = "impostor" if same.any() else "genuine"
            raise InputError(f"there are no {missing} pairs among {n:,}; an accuracy needs both kinds")
        bad = ~(np.abs(cosine) < 1.02)
        if bad.any():
            raise InputError(
                f"{bad.sum()} of {n} similarities are no cosines, the first in row {bad.argmax()}: {cosine[bad][0]:g}"
            )
        if np.ndim(folds) == 0:
            count = int(np.asarray(folds))
            if not 2 <= count <= n:
                raise InputError(
                    f"folds is {count} for {n:,} pairs; give 2 folds or more, and a pair for each"
                )
            fold = np.repeat(np.arange(count), n // count + (np.arange(count) < n % count))
        else:
            names, fold = np.unique(np.asarray(folds), return_inverse=True)
            if fold.shape != (n,) or len(names) < 2:
                raise InputError(
                    f"{len(names)} folds of {fold.size} pairs for {n:,}; give each pair one of two or more"
                )
        size_F, genuine_F = np.bincount(fold), np.bincount(fold[same], minlength=int(fold.max()) + 1)
        return cls(np.maximum(2 - 2 * cosine, 0), same, fold, size_F, genuine_F)

    def below(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64[F, T] each: genuine and impostor pairs of each fold below each threshold."""
        counts = np.zeros((2, len(self.sizes), len(thresholds)), np.int64)
        first = np.searchsorted(thresholds, self.distance, side="right")  # the first threshold above
        seen = first < len(thresholds)
        np.add.at(counts, ((~self.same).astype(int)[seen], self.fold[seen], first[seen]), 1)
        genuine_FT, impostor_FT = counts.cumsum(axis=2)
        return genuine_FT, impostor_FT


def _interval(
    name: str, value: float, hit: np.ndarray, fold: np.ndarray, bootstrap: int, seed: int
) -> Metric:
    """Pairs drawn anew within each fold: the hits of a fold are binomial then."""
    if bootstrap < 1:
        raise InputError(f"bootstrap is {bootstrap}; give the number of replicates, such as 200")
    size_F = np.bincount(fold)
    rate_F = np.bincount(fold[hit], minlength=len(size_F)) / size_F
    drawn = generator(seed, "fold bootstrap").binomial(size_F, rate_F, size=(bootstrap, len(size_F)))
    return percentile_interval(name, value, (drawn / size_F).mean(axis=1))
