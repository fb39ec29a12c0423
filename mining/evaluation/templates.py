"""Templates, sets of images of one person: their embeddings as IJB's protocols have them, 1:1 and 1:N.

Images of one medium (a video) are averaged, media are summed, and the sum is brought to unit length: a video counts like a
still image. Source: Whitelam et al., "IARPA Janus Benchmark-B" (CVPRW 2017), as InsightFace's evaluation computes it.

Shapes: n images; L list rows, an image in a template each; T templates; D dimensions; m pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from .identification import rank_k_rates
from .intervals import Metric
from .mated_probes import BLOCK, MatedProbes
from .open_set import open_set_rates

AT_ONCE = 2**15
"""List rows whose embeddings are summed together."""


@dataclass(frozen=True)
class Templates:
    """Templates by ascending id, with an embedding each.

    >>> Templates(np.array([3, 8]), np.eye(2, dtype=np.float32)).of(np.array([8])).tolist()
    [[0.0, 1.0]]
    """

    template_id: np.ndarray
    """int64[T], ascending."""
    rows: np.ndarray
    """float32[T, D], unit length."""

    def place(self, template_id: np.ndarray) -> np.ndarray:
        """Places of these templates, int64[m].

        Raises:
            InputError: one is not there.
        """
        place = np.searchsorted(self.template_id, template_id)
        known = self.template_id[np.minimum(place, len(self.template_id) - 1)] == template_id
        if not known.all():
            first = template_id[np.flatnonzero(~known)[0]]
            raise InputError(
                f"{(~known).sum():,} templates that are asked for have no images, the first: {first}"
            )
        return place

    def of(self, template_id: np.ndarray) -> np.ndarray:
        """Embeddings of these templates, float32[m, D]."""
        return self.rows[self.place(template_id)]

    def similarity(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Cosines of listed pairs of template ids, float32[m], in blocks."""
        a, b = self.place(np.asarray(first)), self.place(np.asarray(second))
        found = np.empty(len(a), np.float32)
        for start in range(0, len(a), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            np.einsum("md,md->m", self.rows[a[part]], self.rows[b[part]], out=found[part])
        return found


def template_embeddings(
    embeddings: np.ndarray,
    template_id: ArrayLike,
    media_id: ArrayLike,
    *,
    image: ArrayLike | None = None,
    weight: ArrayLike | None = None,
) -> Templates:
    """Embed templates: the mean over each medium's images, summed over media, at unit length.

    Means of media are not normalised, as in InsightFace's `eval_ijbc`; nor are images, so give unit rows for images
    that count alike, or the scores of a face detector as `weight`. Memory: the result, and 2^15 rows in float64.

    >>> rows = np.array([[1, 0], [0, 1], [0, 1]], np.float32)  # one still image and a video of two frames
    >>> template_embeddings(rows, [5, 5, 5], [1, 2, 2]).rows.round(3).tolist()
    [[0.7070000171661377, 0.7070000171661377]]

    Args:
        embeddings: float32[n, D]. template_id, media_id: int[L], of each list row.
        image: int[L], the embedding of each list row; None: row by row. weight: float[L], by which it is multiplied.

    Raises:
        InputError: no rows, shapes that do not match, NaN, or a template whose sum has no direction.
    """
    template, media = np.asarray(template_id), np.asarray(media_id)
    rows = np.arange(len(template)) if image is None else np.asarray(image)
    scale = np.ones(len(template)) if weight is None else np.asarray(weight, np.float64)
    shapes = {
        "template_id": template.shape,
        "media_id": media.shape,
        "image": rows.shape,
        "weight": scale.shape,
    }
    if (
        len(set(shapes.values())) != 1
        or template.ndim != 1
        or (image is None and len(rows) != len(embeddings))
    ):
        raise InputError(
            f"{len(embeddings)} embeddings and lists of shapes {shapes}; give one entry per list row"
        )
    if len(template) == 0:
        raise InputError("there are no templates; give a list of template, medium and image")
    order = np.lexsort((media, template))
    template, media, rows, scale = template[order], media[order], rows[order], scale[order]
    starts = np.flatnonzero(np.append(True, template[1:] != template[:-1]))
    sums = np.empty((len(starts), embeddings.shape[1]), np.float32)
    for low, high, first, last in _whole_templates(starts, len(template)):
        part = slice(first, last)
        taken = embeddings[rows[part]].astype(np.float64) * scale[part, None]
        new = np.append(
            True, (media[part][1:] != media[part][:-1]) | (template[part][1:] != template[part][:-1])
        )
        medium = np.flatnonzero(new)
        means = np.add.reduceat(taken, medium) / np.diff(np.append(medium, last - first))[:, None]
        total = np.add.reduceat(means, np.searchsorted(medium, starts[low:high] - first))
        length = np.sqrt(np.einsum("td,td->t", total, total))
        bad = ~(np.isfinite(length) & (length > 0))
        if bad.any():
            which = template[starts[low + int(bad.argmax())]]
            raise InputError(
                f"the embedding of template {which} has no direction (NaN, or a sum of 0); embed its images again"
            )
        sums[low:high] = total / length[:, None]
    return Templates(template[starts], sums)


def _whole_templates(starts: np.ndarray, n: int) -> Iterator[tuple[int, int, int, int]]:
    """(first template, the one behind the last, first list row, the one behind the last), AT_ONCE rows or one template."""
    ends, low = np.append(starts[1:], n), 0
    while low < len(starts):
        high = max(low + 1, int(np.searchsorted(ends, starts[low] + AT_ONCE, side="right")))
        yield low, high, int(starts[low]), int(ends[high - 1])
        low = high


def identify_templates(
    probe: np.ndarray,
    probe_subject: ArrayLike,
    galleries: Mapping[str, tuple[np.ndarray, ArrayLike]],
    *,
    ks: Sequence[int] = (1, 5, 10),
    fars: Sequence[float] = (1e-1, 1e-2),
    bootstrap: int = 200,
    seed: int = 0,
    block: int = BLOCK,
) -> dict[str, tuple[Metric, ...]]:
    """Rank-k and DIR@FAR of each gallery, of all joined, and the mean of the galleries.

    IJB has two galleries, G1 and G2, of disjoint subjects. A probe of whom a gallery has no template is a stranger to it, and
    only strangers say what FAR is: `DIR@FAR`. IJB reports the mean over both galleries, which has no interval here;
    InsightFace's `IJBC_1N` reports the ranks in both joined, where nobody is a stranger.

    Args:
        probe: float32[P, D], unit rows. probe_subject: int[P].
        galleries: by name, float32[G, D] and int[G], one template per subject.
        ks: of Rank-k. fars: of DIR@FAR. bootstrap: replicates. seed: of the bootstrap. block: as elsewhere.

    Returns:
        By the name of the gallery; with several galleries also "joined" and "mean".

    Raises:
        InputError: no gallery, no mated probe in one, a subject twice in a gallery, or shapes that do not match.
    """
    subject = np.asarray(probe_subject)
    if not galleries:
        raise InputError("there is no gallery; give a list of templates to find the probes in")
    sides = {name: (np.asarray(rows), np.asarray(who)) for name, (rows, who) in galleries.items()}
    if len(sides) > 1:
        rows, who = (np.concatenate(column) for column in zip(*sides.values(), strict=True))
        kept = np.sort(np.unique(who, return_index=True)[1])  # a subject of two galleries is there once
        sides["joined"] = (rows[kept], who[kept])
    found: dict[str, tuple[Metric, ...]] = {}
    for name, (rows, who) in sides.items():
        known = np.isin(subject, who)
        if not known.any():
            raise InputError(f"no probe is of a subject in gallery {name}; give the lists of one benchmark")
        mated = MatedProbes.match(rows, who, probe[known], subject[known])
        ranks = rank_k_rates(mated, ks, bootstrap=bootstrap, seed=seed, block=block)
        if known.all():
            found[name] = ranks
            continue
        stranger_id = subject[~known]
        rates = open_set_rates(
            mated, probe[~known], fars, non_mated_id=stranger_id, bootstrap=bootstrap, seed=seed, block=block
        )
        found[name] = (*ranks, *rates)
    if len(galleries) > 1:
        found["mean"] = _means([found[name] for name in galleries])
    return found


def _means(found: Sequence[Sequence[Metric]]) -> tuple[Metric, ...]:
    """The mean of each metric that all galleries have, where all know it."""
    by_name = [{metric.name: metric.value for metric in metrics} for metrics in found]
    means = []
    for name in by_name[0]:
        values = [values.get(name) for values in by_name]
        known = [value for value in values if value is not None]
        means.append(Metric(name, float(np.mean(known)) if len(known) == len(values) else None, None, None))
    return tuple(means)
