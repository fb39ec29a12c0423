"""Retrieval: which images show whom a query shows? Rankings of all gallery images, not of one each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from ...mining.clustering.product_speed import compared_seconds
from ...mining.evaluation.memory import RETRIEVAL_BYTES
from ...mining.evaluation.pairs import first_of_each
from ...mining.evaluation.reranking import KReciprocal
from ...mining.evaluation.retrieval import Retrieval, recall_names, retrieval_metrics
from ...mining.randomness import derived_seed
from ..console import counted
from ..estimates.metric_speed import retrieval_seconds
from .evaluated_images import EvaluatedImages
from .outcome import Curve, Outcome
from .planned import Planned, cost_in_words
from .registry import QUERIES_FILE, metric_names
from .request import ProtocolRequest
from .sides import Sides, given_sides, groups_of, in_words, rule_of_groups, test_images

PLOT_FILE = "recall.png"
RANKS = (1, 2, 3, 5, 7, 10, 14, 20, 30, 50, 70, 100)
"""Ranks of the plot."""

RERANKED_BYTES = 5_100
"""Memory for an image, as `k_reciprocal_distance` has it."""


def retrieve_images(images: EvaluatedImages, request: ProtocolRequest) -> Planned:
    """Queries and gallery as they are given; else every test image is looked for among all others.

    An image that an identity has twice on a side counts once there, and is never compared with itself.
    """
    sides = given_sides(images, request)
    if sides is None:
        everyone = _once(images, test_images(images))
        sides = Sides(everyone, everyone, "every image is looked for among all others")
    else:
        sides = Sides(_once(images, sides.query), _once(images, sides.gallery), sides.words)
    together, place = np.unique(np.concatenate((sides.query, sides.gallery)), return_inverse=True)
    names = metric_names("retrieval", request)
    bootstrap, seed = images.config.eval.bootstrap, derived_seed(images.config.seed, "eval bootstrap")
    words, seconds, memory = images.announce(together)
    seconds += retrieval_seconds(len(sides.query), len(sides.gallery), images.dimensions)
    leave_one_out = sides.query is sides.gallery
    memory += RETRIEVAL_BYTES + (0 if leave_one_out else 4 * images.dimensions * len(place))
    rerank = KReciprocal() if request.rerank else None
    if rerank is not None:
        seconds += compared_seconds(len(together) ** 2, images.dimensions, looks=1.0)
        memory += len(together) * (RERANKED_BYTES + 4 * images.dimensions)

    ranking = (
        "" if rerank is None else f"; re-ranked with k1={rerank.k1}, k2={rerank.k2}, lambda={rerank.original}"
    )

    def work() -> Outcome:
        rows, readable = images.embeddings(together)
        query, gallery = (place[: len(sides.query)], place[len(sides.query) :])
        query, gallery = query[readable[query]], gallery[readable[gallery]]
        identity, group = images.manifest.identity_id, groups_of(images)
        picture = None if leave_one_out else images.manifest.files_of(together)

        def known(side: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
            image_id = together[side]
            return identity[image_id], None if group is None else group[image_id]

        query_id, query_group = known(query)
        gallery_id, gallery_group = known(gallery)
        found = retrieval_metrics(
            [*names, *recall_names(RANKS)],
            rows if leave_one_out and readable.all() else rows[query],
            query_id,
            None if leave_one_out else rows[gallery],
            None if leave_one_out else gallery_id,
            query_group=query_group,
            gallery_group=None if leave_one_out else gallery_group,
            query_image=None if picture is None else picture[query],
            gallery_image=None if picture is None else picture[gallery],
            rerank=rerank,
            bootstrap=bootstrap,
            seed=seed,
            device=images.device,
        )
        counts = {**found.counts(), "unreadable_images": int((~readable).sum())}
        return _outcome(images, names, found, counts, together[query], sides, ranking)

    return Planned(
        f"{words}; {in_words(sides.query, sides.gallery)}{rule_of_groups(images)}{ranking}; {cost_in_words(seconds, memory)}",
        work,
        {"metrics": names, "bootstrap": bootstrap, "rerank": request.rerank},
    )


def _once(images: EvaluatedImages, side: np.ndarray) -> np.ndarray:
    manifest = images.manifest
    return side[first_of_each(manifest.identity_id[side], manifest.files_of(side))]


def _outcome(
    images: EvaluatedImages,
    names: list[str],
    found: Retrieval,
    counts: dict[str, Any],
    query: np.ndarray,
    sides: Sides,
    ranking: str,
) -> Outcome:
    metrics = {metric.name: metric.to_json() for metric in found.metrics}
    table = images.manifest.table
    queries = pa.table(
        {
            "image": table["uri"].take(pa.array(query)).cast(pa.string()),
            "identity": table["identity"].take(pa.array(query)).cast(pa.string()),
            "first_match": pa.array(found.first_position, mask=found.first_position == 0),
        }
    )
    recalls = [metrics[name]["value"] for name in recall_names(RANKS)]
    plot = Curve(f"Retrieval{ranking}", "rank k", "recall@k", {"recall": (RANKS, recalls)}, log_x=True)
    unmatched = (
        f"; {counted(found.unmatched, 'query', 'queries')} without a match left out"
        if found.unmatched
        else ""
    )
    words = (
        f"on {counted(found.identities, 'identity', 'identities')}, {counted(found.queries, 'query', 'queries')} "
        f"and {counted(found.gallery, 'gallery image')}; {sides.words}{rule_of_groups(images)}{ranking}{unmatched}"
    )
    return Outcome(
        {name: metrics[name] for name in names},
        counts,
        words,
        tables={QUERIES_FILE: queries},
        curves={PLOT_FILE: plot},
    )
