"""Pairs: a list such as LFW's says which two images are of one identity; accuracy over its folds, and error rates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...mining.errors import InputError
from ...mining.evaluation.memory import kept_pairs
from ...mining.evaluation.ten_fold import FoldMetric, ten_fold_accuracy, validation_rate
from ...mining.evaluation.verification import verify_pairs
from ...mining.randomness import derived_seed
from ..console import counted
from ..estimates.metric_speed import replicate_seconds
from ..lists.listed_images import PairList
from ..lists.pair_table import missing_images
from ..lists.read_pairs import read_pair_list
from .evaluated_images import EvaluatedImages
from .outcome import Outcome
from .planned import Planned, cost_in_words
from .registry import ACCURACY, PAIRS_FILE, VAL, metric_names
from .request import ProtocolRequest
from .verification import fars_in, verification_outcome

FOLDS = 10
"""Folds of a list that has none of its own."""
BLOCK = 65_536
"""Pairs whose similarities are computed together."""
BYTES_OF_PAIR = 250
"""What the rates of a pair and their bootstrap take."""


def compare_pairs(images: EvaluatedImages, request: ProtocolRequest) -> Planned:
    """The pairs of a list, by the images that it names or holds."""
    listed, names = read_pair_list(request.pairs or Path(), request.root), metric_names("pairs", request)
    images.options.console.say(listed.in_words())
    if images.opens and (problem := missing_images(listed)):
        raise InputError(problem)
    listed = _folded(listed)
    bootstrap, seed = images.config.eval.bootstrap, derived_seed(images.config.seed, "eval bootstrap")
    words, seconds, memory = images.announce(listed.manifest)
    seconds += replicate_seconds(kept_pairs(len(listed.same)), bootstrap)

    def work() -> Outcome:
        rows, readable = images.listed(listed.manifest, listed.names)
        seen = readable[listed.first] & readable[listed.second]
        left = _where(listed, seen)
        similarity = similarities(rows, left.first, left.second)
        folded = {
            name: _over_folds(name, similarity, left, bootstrap, seed)
            for name in names
            if name == ACCURACY or name.startswith(VAL)
        }
        rates = [name for name in names if name not in folded]
        found = verify_pairs(
            similarity, left.same, fars_in(rates), identities=left.identities, bootstrap=bootstrap, seed=seed
        )
        counts = {
            "pairs": len(left.same),
            "genuine_pairs": int(left.same.sum()),
            "impostor_pairs": int((~left.same).sum()),
            "folds": len(np.unique(_fold(left))),
            "unreadable_images": int((~readable).sum()),
            "pairs_left_out": int((~seen).sum()),
        }
        outcome = verification_outcome(found, rates, counts, _basis(counts, left), request.threshold)
        return _with_folds(outcome, names, folded, _table(left, similarity))

    return Planned(
        f"{counted(len(listed.same), 'pair')} of {request.pairs}: {words}; "
        f"{cost_in_words(seconds, memory + BYTES_OF_PAIR * len(listed.same))}",
        work,
        {"metrics": names, "bootstrap": bootstrap, "pairs": str(request.pairs)},
    )


def similarities(rows: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """float32[n], the cosine of each pair of rows.

    >>> similarities(np.eye(2, dtype=np.float32), np.array([0, 0]), np.array([0, 1])).tolist()
    [1.0, 0.0]
    """
    found = np.empty(len(first), np.float32)
    for start in range(0, len(first), BLOCK):
        part = slice(start, start + BLOCK)
        np.einsum("nd,nd->n", rows[first[part]], rows[second[part]], out=found[part])
    return found


def _folded(listed: PairList) -> PairList:
    """The same with ten folds of equal size, in the order of the list, where it has none."""
    if listed.fold is not None:
        return listed
    pairs = len(listed.same)
    if pairs < FOLDS:
        raise InputError(
            f"{listed.manifest.path} lists {pairs} pairs, too few for {FOLDS} folds; give it a column fold"
        )
    fold = np.repeat(np.arange(FOLDS), pairs // FOLDS + (np.arange(FOLDS) < pairs % FOLDS))
    return replace(listed, fold=fold)


def _where(listed: PairList, mask: np.ndarray) -> PairList:
    who = listed.identities and (listed.identities[0][mask], listed.identities[1][mask])
    first, second, same, fold = (
        column[mask] for column in (listed.first, listed.second, listed.same, _fold(listed))
    )
    return replace(listed, first=first, second=second, same=same, fold=fold, identities=who)


def _fold(listed: PairList) -> np.ndarray:
    return np.empty(0, np.int64) if listed.fold is None else listed.fold


def _over_folds(name: str, similarity: np.ndarray, listed: PairList, bootstrap: int, seed: int) -> FoldMetric:
    given = {"bootstrap": bootstrap, "seed": seed}
    if name == ACCURACY:
        return ten_fold_accuracy(similarity, listed.same, _fold(listed), **given)
    try:
        return validation_rate(similarity, listed.same, float(name.removeprefix(VAL)), _fold(listed), **given)
    except InputError as error:  # a fold of impostors alone: the other metrics have values nevertheless
        return FoldMetric(name, None, None, None, None, None, reason=str(error))


def _basis(counts: dict[str, int], listed: PairList) -> str:
    words = f"on {counts['genuine_pairs']:,} genuine and {counts['impostor_pairs']:,} impostor pairs in {counts['folds']} folds"
    if listed.identities is None:
        words += "; intervals take pairs for independent"
    if counts["pairs_left_out"]:
        words += f"; {counted(counts['pairs_left_out'], 'pair')} with an unreadable image left out"
    return words


def _with_folds(
    outcome: Outcome, names: list[str], folded: dict[str, FoldMetric], pairs: pa.Table
) -> Outcome:
    metrics = {name: metric.to_json() for name, metric in folded.items()} | dict(outcome.metrics)
    notes = [
        f"{name}: {metric.reason}"
        if metric.std is None
        else f"{name}: {metric.value:.4f} ± {metric.std:.4f} over the folds"
        for name, metric in folded.items()
    ]
    return Outcome(
        {name: metrics[name] for name in names},
        outcome.counts,
        outcome.basis,
        (*notes, *outcome.notes),
        {**outcome.tables, PAIRS_FILE: pairs},
        outcome.curves,
    )


def _table(listed: PairList, similarity: np.ndarray) -> pa.Table:
    names = pa.array(listed.names)
    return pa.table(
        {
            "first": names.take(pa.array(listed.first)),
            "second": names.take(pa.array(listed.second)),
            "same": listed.same,
            "fold": _fold(listed),
            "similarity": similarity,
        }
    )
