"""Pairs: a list such as LFW's says which two images are of one identity; accuracy over its folds, and error rates."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ...mining.evaluation.ten_fold import FoldMetric, ten_fold_accuracy, validation_rate
from ...mining.evaluation.verification import verify_pairs
from ...mining.randomness import derived_seed
from ..console import counted
from .evaluated_images import EvaluatedImages
from .listed_pairs import ListedPairs
from .outcome import Outcome
from .planned import Planned, cost_in_words
from .registry import ACCURACY, PAIRS_FILE, VAL, metric_names
from .request import ProtocolRequest
from .verification import fars_in, verification_outcome

BLOCK = 65_536
"""Pairs whose similarities are computed together."""
BYTES_OF_PAIR = 250
"""Of its rates and their bootstrap."""


def compare_pairs(images: EvaluatedImages, request: ProtocolRequest) -> Planned:
    """The pairs of a list, by the images that it names or holds."""
    listed, names = ListedPairs.read(request), metric_names("pairs", request)
    bootstrap, seed = images.config.eval.bootstrap, derived_seed(images.config.seed, "eval bootstrap")
    words, seconds, memory = images.announce(listed.manifest)

    def work() -> Outcome:
        rows, readable = images.listed(listed.manifest, listed.names)
        seen = readable[listed.first] & readable[listed.second]
        left = listed.where(seen)
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
            "folds": len(np.unique(left.fold)),
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


def _over_folds(
    name: str, similarity: np.ndarray, listed: ListedPairs, bootstrap: int, seed: int
) -> FoldMetric:
    given = {"bootstrap": bootstrap, "seed": seed}
    if name == ACCURACY:
        return ten_fold_accuracy(similarity, listed.same, listed.fold, **given)
    return validation_rate(similarity, listed.same, float(name.removeprefix(VAL)), listed.fold, **given)


def _basis(counts: dict[str, int], listed: ListedPairs) -> str:
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


def _table(listed: ListedPairs, similarity: np.ndarray) -> pa.Table:
    names = pa.array(listed.names)
    return pa.table(
        {
            "first": names.take(pa.array(listed.first)),
            "second": names.take(pa.array(listed.second)),
            "same": listed.same,
            "fold": listed.fold,
            "similarity": similarity,
        }
    )
