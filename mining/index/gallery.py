"""Identities and their images, searched in two stages or one.

Two stages, as in "How to train triplet networks with 100K identities" (Wang, Zhang, Lan 2017): the T identities whose
means are nearest to the query, then the images of these alone. An identity is as similar as its most similar image.

Shapes: q queries, n images, I identities, D numbers in an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import InputError
from .exact_search import NOWHERE, similarities
from .near_rows import NearRows

Stages = Literal["two", "means", "images"]
"""two: the means, then images of the nearest identities; means: them alone; images: all of them, in one stage."""
IMAGES_AT_A_TIME = 65_536


@dataclass(frozen=True)
class Matches:
    """What is most similar to each query, best first."""

    similarity: np.ndarray
    """float32[q, top]: to the image, or to the identity's mean where means alone are searched; -inf where there is none."""
    identity: np.ndarray
    """int64[q, top]; -1 where there is none."""
    image: np.ndarray
    """int64[q, top]: the identity's image that is most similar to the query."""


@dataclass(frozen=True)
class Gallery:
    """Identities with their images.

    Example:
        >>> images = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
        >>> means = np.array([[0.95, 0.31], [0, 1]], np.float32)  # of two images, and of one
        >>> gallery = Gallery(NearRows(means), NearRows(images), np.array([0, 2, 3]))
        >>> matches = gallery.search(np.array([[0.6, 0.8]], np.float32), top=2)
        >>> matches.identity, matches.image, matches.similarity.round(2)
        (array([[0, 1]]), array([[1, 2]]), array([[0.96, 0.8 ]], dtype=float32))
    """

    means: NearRows
    """Rows are identities."""
    images: NearRows
    """Rows are images, those of an identity side by side."""
    offset: np.ndarray
    """int64[I+1]: identity i has the images from `offset[i]` to `offset[i+1]`."""

    def __len__(self) -> int:
        return len(self.offset) - 1

    def check(self, top: int, *, T: int, stages: Stages, list_images: bool) -> None:
        """Refuse a search of which `search` could not find so many.

        Raises:
            InputError: fewer candidates than `top`, or a list of images where none is looked at.
        """
        if stages == "two" and not list_images and min(top, len(self)) > T:
            raise InputError(
                f"-T {T} looks at {T} identities, fewer than --top {top} asks for; give a larger -T"
            )
        if stages == "means" and list_images:
            raise InputError("--images lists images, but --stages means looks at none; leave one of them out")

    def search(
        self,
        queries_qD: np.ndarray,
        top: int,
        *,
        T: int = 100,
        stages: Stages = "two",
        list_images: bool = False,
        exact: bool = False,
        without_q: np.ndarray | None = None,
    ) -> Matches:
        """The `top` identities that are most similar to each query, each with its most similar image.

        Args:
            queries_qD: unit vectors.
            T: identities whose images are looked at in the second stage.
            list_images: the `top` images in place of identities; an identity may come several times.
            exact: use no index.
            without_q: int64[q], an identity that each query is not compared with.

        Raises:
            InputError: fewer candidates than `top`.
        """
        self.check(top, T=T, stages=stages, list_images=list_images)
        if stages == "images":
            found = self._among_all_images(queries_qD, top, list_images, exact, without_q)
        else:
            found = self._by_means(queries_qD, top, T, stages, list_images, exact, without_q)
        empty = (np.empty((0, top), np.float32), np.empty((0, top), np.int64), np.empty((0, top), np.int64))
        return Matches(*(map(np.stack, zip(*found, strict=True)) if found else empty))

    def identity_of(self, image_n: np.ndarray) -> np.ndarray:
        """The identity of each image, int64[n]; -1 of none."""
        return np.where(image_n < 0, NOWHERE, np.searchsorted(self.offset, image_n, side="right") - 1)

    def _by_means(
        self,
        queries_qD: np.ndarray,
        top: int,
        T: int,
        stages: Stages,
        list_images: bool,
        exact: bool,
        without_q: np.ndarray | None,
    ) -> list[_Row]:
        more = 0 if without_q is None else 1
        wanted = min((T if stages == "two" else top) + more, len(self))
        near_qw = self.means.nearest(queries_qD, wanted, exact=exact)
        found = []
        for place, (query, similarity_w, identity_w) in enumerate(zip(queries_qD, *near_qw, strict=True)):
            others = (
                identity_w >= 0 if without_q is None else (identity_w >= 0) & (identity_w != without_q[place])
            )
            identity = identity_w[others]
            if list_images:
                similarity, image = self._images_of(query, identity)
                found.append(_best(similarity, self.identity_of(image), image, top))
                continue
            similarity, image = self._best_image_of_each(query, identity)
            if stages == "means":
                similarity = similarity_w[others]
            found.append(_best(similarity, identity, image, top))
        return found

    def _among_all_images(
        self, queries_qD: np.ndarray, top: int, list_images: bool, exact: bool, without_q: np.ndarray | None
    ) -> list[_Row]:
        found = []
        k = min(top if list_images and without_q is None else 4 * top, len(self.images.rows))
        near_qk = self.images.nearest(queries_qD, k, exact=exact)
        for place, (query, similarity, image) in enumerate(zip(queries_qD, *near_qk, strict=True)):
            own = None if without_q is None else without_q[place]
            row, enough = self._of_near_images(similarity, image, top, list_images, own)
            more = k
            while not enough and more < len(self.images.rows):  # some identity has very many of the nearest
                more = min(8 * more, len(self.images.rows))
                [similarity], [image] = self.images.nearest(query[None], more, exact=exact)
                row, enough = self._of_near_images(similarity, image, top, list_images, own)
            found.append(row)
        return found

    def _of_near_images(
        self, similarity_k: np.ndarray, image_k: np.ndarray, top: int, list_images: bool, own: int | None
    ) -> tuple[_Row, bool]:
        """What is best among the nearest images, and whether these were enough to say so."""
        identity_k = self.identity_of(image_k)
        kept = image_k >= 0 if own is None else (image_k >= 0) & (identity_k != own)
        if not list_images:
            first = np.unique(identity_k, return_index=True)[1]  # they come best first
            kept &= np.isin(np.arange(len(image_k)), first)
        wanted = top if list_images else min(top, len(self) - (own is not None))
        return _best(similarity_k[kept], identity_k[kept], image_k[kept], top), int(kept.sum()) >= wanted

    def _images_of(self, query_D: np.ndarray, identity_w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Similarity and row of all images of some identities, side by side."""
        first, count = self.offset[identity_w], self.offset[identity_w + 1] - self.offset[identity_w]
        begins = np.cumsum(count) - count
        image = np.repeat(first - begins, count) + np.arange(count.sum())
        parts = [
            similarities(query_D, self.images.rows, image[start : start + IMAGES_AT_A_TIME])
            for start in range(0, len(image), IMAGES_AT_A_TIME)
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.float32), image

    def _best_image_of_each(
        self, query_D: np.ndarray, identity_w: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Similarity and row of the most similar image of each identity."""
        similarity_n, image_n = self._images_of(query_D, identity_w)
        if not len(identity_w):
            return similarity_n, image_n
        count = self.offset[identity_w + 1] - self.offset[identity_w]
        begins = np.cumsum(count) - count
        best_w = np.maximum.reduceat(similarity_n, begins)
        is_best = np.flatnonzero(similarity_n == np.repeat(best_w, count))
        return best_w, image_n[is_best[np.searchsorted(is_best, begins)]]


_Row = tuple[np.ndarray, np.ndarray, np.ndarray]
"""similarity, identity and image of one query, [top] each."""


def _best(similarity_n: np.ndarray, identity_n: np.ndarray, image_n: np.ndarray, top: int) -> _Row:
    """The best of what was found, of equally similar ones the lower image first; padded to `top`."""
    order = np.lexsort((image_n, -similarity_n))[:top]
    lacking = (0, top - len(order))
    return (
        np.pad(similarity_n[order], lacking, constant_values=-np.inf),
        np.pad(identity_n[order], lacking, constant_values=NOWHERE),
        np.pad(image_n[order], lacking, constant_values=NOWHERE),
    )
