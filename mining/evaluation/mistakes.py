"""The worst mistakes of an examination: probes that resemble another identity's image more than their own.

Shapes: P probes, G gallery images, X distractors, D numbers, m mistakes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ..randomness import generator
from ..schemas import MISTAKES
from .mated_probes import BLOCK, MatedProbes

MOST_MISTAKES = 100
"""That are kept, each of another identity: an identity's probes often fail in one way."""
MOST_COMPARED = 500_000_000
"""Pairs of images; of more probes a sample is looked at. Some seconds at 512 numbers an embedding."""


class Mistakes(NamedTuple):
    """Probes whose nearest image is another identity's, those first that are the farthest off."""

    probe: np.ndarray
    """int64[m], rows of the probes."""
    wrong: np.ndarray
    """int64[m], rows of the gallery, then of the distractors: what each probe is taken for."""
    right_similarity: np.ndarray
    """float32[m], to the gallery image of its own identity."""
    wrong_similarity: np.ndarray
    """float32[m], higher than that."""
    probes: int
    """Probes that were looked at."""
    mistaken: int
    """Probes whose nearest image is another identity's."""


def worst_mistakes(
    mated: MatedProbes, *, most: int = MOST_MISTAKES, compared: int = MOST_COMPARED, seed: int = 0
) -> Mistakes:
    """Find each probe's nearest image of another identity, in tiles, and keep the worst of every identity.

    Args:
        compared: pairs of images at most; of more a sample of probes is looked at, drawn by `seed`.

    >>> rows = np.array([[1, 0], [0, 1]], np.float32)
    >>> found = worst_mistakes(MatedProbes.match(rows, [3, 4], np.array([[0.6, 0.8], [0, 1]]), [3, 4]))
    >>> found.probe.tolist(), found.wrong.tolist(), found.mistaken, found.probes
    ([0], [1], 1, 2)
    """
    others = len(mated.gallery) + len(mated.distractor)
    looked, room = np.arange(len(mated.probe)), max(1, compared // max(1, others))
    if room < len(looked):
        looked = np.sort(generator(seed, "mistakes").choice(len(looked), room, replace=False))
    some = MatedProbes(
        mated.gallery, mated.probe[looked], mated.distractor, mated.mate[looked], mated.probed_row,
        mated.owner[looked],
    )  # fmt: skip
    right = some.mate_similarity(BLOCK)
    best, nearest = np.full(len(looked), -np.inf, np.float32), np.zeros(len(looked), np.int64)
    for rows, start, similarity_BB in some.impostor_tiles(BLOCK, some.distractor):
        column = similarity_BB.argmax(axis=1)
        found = similarity_BB[np.arange(len(column)), column]
        better = found > best[rows]
        best[rows] = np.where(better, found, best[rows])
        nearest[rows] = np.where(better, column + start, nearest[rows])
    order = np.lexsort((looked, right - best))
    order = order[best[order] > right[order]]
    first = np.sort(np.unique(some.owner[order], return_index=True)[1])[:most]
    kept = order[first]
    return Mistakes(looked[kept], nearest[kept], right[kept], best[kept], len(looked), len(order))


def table_of_mistakes(
    found: Mistakes, mated: MatedProbes, gallery: np.ndarray, probe: np.ndarray, distractor: np.ndarray,
    identity_id: np.ndarray, names: pa.ChunkedArray,
) -> pa.Table:  # fmt: skip
    """The mistakes as a table of images; its metadata say how many probes were looked at, and mistaken.

    Args:
        gallery, probe, distractor: int64[G], [P], [X], the image of each row.
        identity_id: int32 of every image. names: of every image.
    """
    wrong = np.concatenate((gallery, distractor))[found.wrong]
    table = pa.table(
        {
            "image_id": pa.array(probe[found.probe], pa.int64()),
            "identity_id": pa.array(identity_id[probe[found.probe]], pa.int32()),
            "identity": names.take(pa.array(probe[found.probe])).cast(pa.string()),
            "right_image_id": pa.array(gallery[mated.mate[found.probe]], pa.int64()),
            "right_similarity": pa.array(found.right_similarity, pa.float32()),
            "wrong_image_id": pa.array(wrong, pa.int64()),
            "wrong_identity_id": pa.array(identity_id[wrong], pa.int32()),
            "wrong_identity": names.take(pa.array(wrong)).cast(pa.string()),
            "wrong_similarity": pa.array(found.wrong_similarity, pa.float32()),
        },
        schema=MISTAKES.columns,
    )
    return table.replace_schema_metadata({"probes": str(found.probes), "mistaken": str(found.mistaken)})
