"""Retrieval: recall@k, mAP, mAP@R, R-precision, MRR and mINP over rankings of all gallery images.

Shapes: Q queries; G gallery images; R matches of a query; M metrics; I identities with queries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from .intervals import Metric, identity_draws, percentile_interval
from .matches import Cosines, Images, Matches, Positions
from .mated_probes import unit_rows
from .reranking import KReciprocal, Reranked

RECALL = "recall@"
NAMES = ("mAP", "mAP@R", "R-precision", "MRR", "mINP")
"""Retrieval metrics beside recall@k."""


def recall_names(ks: Sequence[int]) -> tuple[str, ...]:
    """Names of recall@k metrics, such as `recall@5`; an InputError if a k is below 1."""
    if not ks or min(ks) < 1:
        raise InputError(f"ks is {tuple(ks)}; give ranks of 1 or more")
    return tuple(f"{RECALL}{k}" for k in ks)


def per_query(name: str, found: Positions) -> np.ndarray:
    """float64[q]: what each query adds to the mean that the metric is; of a query without a match, anything."""
    matches = np.maximum(found.matches, 1)
    place, position = found.places, found.positions
    counts = place >= 1
    first = np.take_along_axis(position, matches[:, None] - 1, axis=1)[:, 0]
    if name.startswith(RECALL):
        return (first <= int(name.removeprefix(RECALL))).astype(float)
    if name == "MRR":
        return 1 / np.maximum(first, 1)
    if name == "mINP":
        return matches / np.maximum(position[:, 0], 1)
    if name != "mAP":
        counts &= position <= matches[:, None]
    if name == "R-precision":
        return counts.sum(axis=1) / matches
    precision = np.where(counts, place / np.maximum(position, 1), 0)
    return precision.sum(axis=1) / matches


@dataclass(frozen=True)
class Retrieval:
    """Retrieval metrics, and how much data is behind them.

    >>> found = retrieval_metrics(["MRR"], np.eye(2)[[0, 0, 1]], [4, 4, 9])
    >>> found["MRR"].value, found.counts()
    (1.0, {'identities': 1, 'queries': 2, 'unmatched': 1, 'gallery': 3, 'junk': 0})
    """

    metrics: tuple[Metric, ...]
    identities: int
    """Identities with a query that has a match."""
    queries: int
    """With a match; the metrics are means over them."""
    unmatched: int
    """Queries without a match, left out."""
    gallery: int
    """Images that are ranked."""
    junk: int
    """Gallery images of nobody known, left out of every ranking."""
    first_position: np.ndarray = field(repr=False, compare=False)
    """int64[Q]: where the first match of each given query is, from 1; 0 without a match."""

    def __getitem__(self, name: str) -> Metric:
        """The metric of that name, such as `mAP`."""
        return {metric.name: metric for metric in self.metrics}[name]

    def counts(self) -> dict[str, int]:
        """Everything but the metrics, ready for `json.dumps`."""
        return {
            name: getattr(self, name) for name in ("identities", "queries", "unmatched", "gallery", "junk")
        }

    def to_json(self) -> dict[str, Any]:
        """Metrics by name, and counts, ready for `json.dumps`."""
        return {"metrics": {metric.name: metric.to_json() for metric in self.metrics}, **self.counts()}


def retrieval_metrics(
    names: Sequence[str],
    query: ArrayLike,
    query_id: ArrayLike,
    gallery: ArrayLike | None = None,
    gallery_id: ArrayLike | None = None,
    *,
    query_group: ArrayLike | None = None,
    gallery_group: ArrayLike | None = None,
    query_image: ArrayLike | None = None,
    gallery_image: ArrayLike | None = None,
    rerank: KReciprocal | None = None,
    bootstrap: int = 200,
    seed: int = 0,
    block: int | None = None,
    device: str = "cpu",
    track: Callable[[int], object] = lambda pairs: None,
) -> Retrieval:
    """Rank all gallery images for each query by cosine, and take means over the queries, with 95 % intervals.

    Without a gallery every image is a query against all others (leave-one-out). A query's matches are the gallery
    images of its identity. Those of its group (camera) as well, and the query's own image, are left out of its
    ranking, and images of identity -1 out of every ranking, as in Market-1501; an identity that no query has (0 in
    Market-1501) distracts. A query without a match is left out and counted.

    With R matches at the positions p_1 < ... < p_R of a query's ranking, its shares are

    - recall@k: 1 if p_1 <= k, as metric learning has it (CMC rank k), not the share of matches found;
    - mAP: the mean of i / p_i (average precision without interpolation);
    - mAP@R: the sum of i / p_i over p_i <= R, divided by R (Musgrave, Belongie and Lim, ECCV 2020);
    - R-precision: the share of matches with p_i <= R; MRR: 1 / p_1;
    - mINP: R / p_R (Ye et al., "Deep learning for person re-identification", 2021).

    Ties count against the query: whoever is as similar as a match comes before it, within 5e-8 of cosines in float64 and
    within 1e-6 of re-ranked distances. The field's packages agree within 1e-6.

    Cost: one Q x G product; nothing of that size is held. Memory: the embeddings, and below 250 MB beside them on a
    processor; on a GPU, which holds them all, up to 3 GB. With `rerank` it is that of `k_reciprocal_distance`.

    >>> rows = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]])
    >>> found = retrieval_metrics(["recall@1", "mAP"], rows, [5, 5, 6, 5])
    >>> [(metric.name, round(metric.value, 3)) for metric in found.metrics], found.queries, found.unmatched
    ([('recall@1', 0.333), ('mAP', 0.667)], 3, 1)

    Args:
        names: of recall@k, mAP, mAP@R, R-precision, MRR, mINP.
        query: float32[Q, D], unit rows. query_id: int[Q].
        gallery: float32[G, D], unit rows. gallery_id: int[G]; -1 is nobody known.
        query_group, gallery_group: int, cameras or the like; -1 is unknown and unlike any other. None: no such rule.
        query_image, gallery_image: int, equal numbers are one image, which is never compared with itself.
        rerank: rank by k-reciprocal distance instead of the cosine.
        bootstrap: replicates. seed: of the bootstrap. block: queries and gallery rows of a tile; None: what suits the device.
        device: of the product.
        track: told how many pairs were compared.

    Raises:
        InputError: an unknown name; NaN, rows not of unit length, shapes that do not match; no query with a match.
    """
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in NAMES and not re.fullmatch(RECALL + "[1-9][0-9]*", name):
            raise InputError(f"'{name}' is no retrieval metric; choose from recall@1, {', '.join(NAMES)}")
    query = unit_rows("query", query)
    if gallery is None:
        others, known = None, Images.of("query", len(query), query_id, query_group, np.arange(len(query)))
        matches = Matches.find(known, known)
    else:
        if gallery_id is None:
            raise InputError("a gallery has no gallery_id; give the identity of each of its images")
        others = unit_rows("gallery", gallery, like=query)
        matches = Matches.find(
            Images.of("query", len(query), query_id, query_group, query_image),
            Images.of("gallery", len(others), gallery_id, gallery_group, gallery_image),
        )
    source = (
        Cosines(query, others, matches, device, block)
        if rerank is None
        else Reranked(rerank, query, others, matches, device, block)
    )

    shares_MQ, of_each = np.zeros((len(names), len(query))), np.zeros(len(query), np.int64)
    first_position = np.zeros(len(query), np.int64)
    for rows in matches.blocks(source.most):
        found = matches.positions(rows, source.of(rows))
        for place, name in enumerate(names):
            shares_MQ[place, found.query] = per_query(name, found)
        of_each[found.query] = found.matches
        last = np.maximum(found.matches, 1) - 1
        first_position[found.query] = np.take_along_axis(found.positions, last[:, None], axis=1)[:, 0]
        track(len(found.query) * len(matches.order))
    matched = of_each > 0
    if not matched.any():
        raise InputError(
            f"none of {len(query)} queries has a match: a gallery image of its identity, of another group where images "
            f"have groups"
        )
    return Retrieval(
        metrics=_means(names, shares_MQ[:, matched], matches.query.identity[matched], bootstrap, seed),
        identities=len(np.unique(matches.query.identity[matched])),
        queries=int(matched.sum()),
        unmatched=int((~matched).sum()),
        gallery=len(matches.order),
        junk=len(matches.gallery.identity) - len(matches.order),
        first_position=np.where(matched, first_position, 0),
    )


def _means(
    names: list[str], shares_MQ: np.ndarray, identity: np.ndarray, bootstrap: int, seed: int
) -> tuple[Metric, ...]:
    owner = np.unique(identity, return_inverse=True)[1]
    queries_I = np.bincount(owner)
    sums_MI = np.stack([np.bincount(owner, weights=share_Q) for share_Q in shares_MQ])
    draws = identity_draws(len(queries_I), bootstrap, seed)
    means_RM = np.array([sums_MI @ weight_I / (queries_I @ weight_I) for weight_I in draws])
    return tuple(
        percentile_interval(name, float(share_Q.mean()), mean_R)
        for name, share_Q, mean_R in zip(names, shares_MQ, means_RM.T, strict=True)
    )
