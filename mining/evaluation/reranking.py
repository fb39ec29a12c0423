"""k-reciprocal re-ranking: images that have each other among their nearest are closer than their cosine says.

Shapes: N images, queries before gallery; Q queries; G gallery images; K = k1 + 1 neighbours, an image itself included;
D dimensions; b images at a time. A sparse N x N matrix V has the weights of each image's reciprocal
neighbours, as rows of (column, weight) end to end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from .mated_probes import TIE, unit_rows
from .reciprocal_neighbors import STEP, expanded, nearest_images, reciprocal
from .similarity_counts import add_counts

if TYPE_CHECKING:
    from .matches import Matches, SomeSimilarities

DENSE_BYTES = 2**28
"""Rows of distances to the whole gallery that are held at a time."""


@dataclass(frozen=True)
class KReciprocal:
    """Settings of k-reciprocal re-ranking, with the values of its paper.

    >>> KReciprocal().k1, KReciprocal().k2, KReciprocal().original
    (20, 6, 0.3)
    """

    k1: int = 20
    """Neighbours that may be reciprocal."""
    k2: int = 6
    """Nearest images over which the weights of each are averaged; 1: none but itself."""
    original: float = 0.3
    """lambda: the share of the distance that is the one from before."""
    most_bytes: int = 4 * 2**30
    """Memory beside embeddings, above which it is refused."""

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1 or not 0 <= self.original <= 1:
            raise InputError(
                f"k-reciprocal re-ranking with k1={self.k1}, k2={self.k2} and lambda={self.original}; give k1 and k2 of 1 "
                f"or more, and lambda between 0 and 1"
            )


class _Sparse(NamedTuple):
    """Rows of (column, weight), end to end: row i is `start[i]` to `start[i + 1]`."""

    start: np.ndarray
    column: np.ndarray
    weight: np.ndarray

    def entries(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each entry of these rows, in their order: the place of its row in `rows`, and its place in `column`."""
        size = self.start[rows + 1] - self.start[rows]
        place = np.repeat(np.arange(len(rows)), size)
        return place, np.arange(len(place)) + np.repeat(self.start[rows] - np.cumsum(size) + size, size)

    def transposed(self, rows: slice, columns: int) -> _Sparse:
        """Some rows by column: row j has (place in `rows`, weight) of all that have a weight in column j."""
        some = slice(self.start[rows.start], self.start[rows.stop])
        owner = np.repeat(
            np.arange(rows.stop - rows.start, dtype=np.int32), np.diff(self.start[rows.start : rows.stop + 1])
        )
        order = np.argsort(self.column[some], kind="stable")
        start = np.append(0, np.cumsum(np.bincount(self.column[some], minlength=columns)))
        return _Sparse(start, owner[order], self.weight[some][order])


class KReciprocalDistance:
    """Distances between 0 and 1 (or a little above) after re-ranking, row by row."""

    def __init__(
        self,
        query: np.ndarray,
        gallery: np.ndarray | None,
        settings: KReciprocal,
        block: int | None,
        device: str,
    ) -> None:
        self._rows = query if gallery is None else np.concatenate((query, gallery))
        self._first = 0 if gallery is None else len(query)
        self._settings = settings
        images = len(self._rows)
        self.neighbors = min(settings.k1 + 1, images)
        self._refuse_beyond(images * (self.neighbors * 4 + 4))
        nearest_NK, self._farthest = nearest_images(self._rows, self.neighbors, block, device)
        weights = self._averaged(self._weights(nearest_NK), nearest_NK)
        self._of_query = weights
        self._of_gallery = weights.transposed(slice(self._first, images), images)

    @property
    def gallery(self) -> int:
        """Gallery images."""
        return len(self._rows) - self._first

    def rows(self, query: np.ndarray) -> np.ndarray:
        """float32[b, G]: distances of these queries (int64[b]) to all gallery images."""
        of_query, of_gallery = self._of_query, self._of_gallery
        shared_bG = np.zeros((len(query), self.gallery), np.float32)
        for place, image in enumerate(query):
            mine = slice(of_query.start[image], of_query.start[image + 1])
            owner, entry = of_gallery.entries(of_query.column[mine])
            least = np.minimum(of_query.weight[mine][owner], of_gallery.weight[entry])
            shared_bG[place] = np.bincount(of_gallery.column[entry], weights=least, minlength=self.gallery)
        jaccard_bG = 1 - shared_bG / (2 - shared_bG)
        before_bG = (2 - 2 * self._rows[query] @ self._rows[self._first :].T) / self._farthest[query, None]
        share = np.float32(self._settings.original)
        return (1 - share) * jaccard_bG + share * before_bG

    def _weights(self, nearest_NK: np.ndarray) -> _Sparse:
        """V: of each image, exp(-distance) of its expanded reciprocal neighbours, in sum 1."""
        half = min(round(self._settings.k1 / 2) + 1, self.neighbors)
        near_NH = reciprocal(nearest_NK[:, :half])
        sizes, columns, weights, held = [], [], [], 0
        for top in range(0, len(nearest_NK), STEP):
            image = np.arange(top, min(top + STEP, len(nearest_NK)))
            mutual_bK = reciprocal(nearest_NK, image)
            members = expanded(nearest_NK[image], mutual_bK, nearest_NK[:, :half], near_NH)
            owner, place = np.nonzero(members >= 0)
            column = members[owner, place]
            cosine = np.empty(len(column), np.float32)
            for first in range(0, len(column), 16_384):
                some = slice(first, first + 16_384)
                pair = self._rows[image[owner[some]]], self._rows[column[some]]
                cosine[some] = np.einsum("nd,nd->n", *pair)
            weight = np.exp((2 * cosine - 2) / self._farthest[image][owner])
            weight /= np.bincount(owner, weights=weight, minlength=len(image)).astype(np.float32)[owner]
            sizes.append(np.bincount(owner, minlength=len(image)))
            columns.append(column.astype(np.int32))
            weights.append(weight)
            held += 8 * len(column)
            self._refuse_beyond(nearest_NK.nbytes + 2 * held)
        start = np.append(0, np.cumsum(np.concatenate(sizes)))
        return _Sparse(start, np.concatenate(columns), np.concatenate(weights))

    def _averaged(self, weights: _Sparse, nearest_NK: np.ndarray) -> _Sparse:
        """The mean weights of each image's k2 nearest, itself among them."""
        k2 = min(self._settings.k2, self.neighbors)
        if k2 == 1:
            return weights
        before = nearest_NK.nbytes + weights.column.nbytes + weights.weight.nbytes
        sizes, columns, sums, held = [], [], [], 0
        for top in range(0, len(nearest_NK), STEP):
            nearest = nearest_NK[top : top + STEP, :k2]
            place, entry = weights.entries(nearest.ravel())
            key = place // k2 * np.int64(len(nearest_NK)) + weights.column[entry]
            found, which = np.unique(key, return_inverse=True)
            sizes.append(np.bincount(found // len(nearest_NK), minlength=len(nearest)))
            columns.append((found % len(nearest_NK)).astype(np.int32))
            sums.append((np.bincount(which, weights=weights.weight[entry]) / k2).astype(np.float32))
            held += 8 * len(found)
            self._refuse_beyond(before + 4 * held)  # joined, and once more by column
        start = np.append(0, np.cumsum(np.concatenate(sizes)))
        return _Sparse(start, np.concatenate(columns), np.concatenate(sums))

    def _refuse_beyond(self, needed: int) -> None:
        most = self._settings.most_bytes
        if needed > most:
            raise InputError(
                f"k-reciprocal re-ranking of {len(self._rows):,} images needs more than the {most / 2**30:.1f} GiB that it may "
                f"take (most_bytes); allow more, re-rank fewer images, or leave it out"
            )


def k_reciprocal_distance(
    query: ArrayLike,
    gallery: ArrayLike | None = None,
    settings: KReciprocal | None = None,
    *,
    block: int | None = None,
    device: str = "cpu",
) -> KReciprocalDistance:
    """Compute distances after k-reciprocal re-ranking; `.rows(queries)` gives those of some queries to the gallery.

    Images p and q are reciprocal if each is among the k1 nearest of the other, queries and gallery together; the
    reciprocal neighbours of a neighbour join where they agree by more than two thirds. Each image's neighbours weigh
    exp(-distance) (of squared distances over the image's largest), in sum 1, averaged over its k2 nearest; the Jaccard
    distance of two images compares these weights, and the distance is (1 - lambda) of it and lambda of the one before.
    Without a gallery, queries are the gallery. Zhong, Zheng, Cao and Li, "Re-ranking person re-identification with
    k-reciprocal encoding" (CVPR 2017), with the normalisation of its published code.

    Cost: one N x N product, N = Q + G, and a search among neighbours of neighbours. Memory: 0.1 kB an image for its
    neighbours and 1 to 5 kB for its weights; 25 kB where everybody is everybody's neighbour. A copy of the embeddings.

    >>> angle = np.array([0, 0.1, 0.2, 1.5, 1.6])
    >>> rows = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    >>> distance = k_reciprocal_distance(rows[:1], rows[1:], KReciprocal(k1=2, k2=1))
    >>> [[round(float(value), 2) for value in row] for row in distance.rows(np.array([0]))]
    [[0.01, 0.02, 0.97, 1.0]]

    Args:
        query: float32[Q, D], unit rows. gallery: float32[G, D], unit rows.
        block: rows of a tile; None: what suits the device. device: of the N x N product.

    Raises:
        InputError: rows not of unit length, settings out of range, or more memory than `most_bytes`.
    """
    query = unit_rows("query", query)
    others = None if gallery is None else unit_rows("gallery", gallery, like=query)
    if len(query) == 0 or (others is not None and len(others) == 0):
        raise InputError("k-reciprocal re-ranking needs a query and a gallery image; there is none")
    return KReciprocalDistance(query, others, settings or KReciprocal(), block, device)


class Reranked:
    """Similarities after re-ranking: the distances, negative, of some queries at a time to all that take part."""

    tie = TIE

    def __init__(
        self, settings: KReciprocal, query: np.ndarray, gallery: np.ndarray | None, matches: Matches,
        device: str, block: int | None,
    ) -> None:  # fmt: skip
        self._matches = matches
        part = np.sort(matches.order)
        given = (query[part], None) if gallery is None else (query, gallery[part])
        self._distance = k_reciprocal_distance(*given, settings, block=block, device=device)
        self._place = np.arange(len(query))
        if gallery is None:  # nobody known is no query either, and stands for none
            self._place = np.searchsorted(part, self._place) % max(1, len(part))
        self._column = np.argsort(np.argsort(matches.order))
        self.most = max(1, DENSE_BYTES // (4 * max(1, len(matches.order))))
        self._similarity = np.empty((0, 0), np.float32)

    def of(self, rows: slice) -> SomeSimilarities:
        """Similarities of the queries in a slice of `query_order`, until the next are asked for."""
        distance = self._distance.rows(self._place[self._matches.query_order[rows]])
        self._similarity = -distance[:, self._column]
        return self

    def of_pairs(self, query: np.ndarray, column: np.ndarray) -> np.ndarray:
        """As `SomeSimilarities` has it."""
        return self._similarity[query, column]

    def counts(self, threshold_QR: np.ndarray, own: np.ndarray) -> np.ndarray:
        """As `SomeSimilarities` has it."""
        import torch

        column = np.arange(self._similarity.shape[1])
        self._similarity[(column >= own[:, :1]) & (column < own[:, 1:])] = -np.inf
        counts_QR = np.zeros(threshold_QR.shape, np.int64)
        add_counts(*map(torch.from_numpy, (self._similarity, threshold_QR, counts_QR)))
        return counts_QR
