"""Which gallery images a query should find, which are left out of its ranking, and at what positions they come.

Shapes: Q queries; G gallery images; R matches of a query; D dimensions. Similarities are compared, nothing else, so
that cosines and re-ranked distances are ranked by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from ..errors import InputError
from .similarity_counts import counts_at_least, exact_rows

PAIRS, QUERIES = 4_000_000, 16_384
"""Most pairs of a query and its own images, and most queries, at a time."""
GATHERED = 8192
"""Pairs whose embeddings are side by side at a time."""


class Images(NamedTuple):
    """What is known of images beside their embeddings: identities, and perhaps groups and which image each is."""

    identity: np.ndarray
    """int64[n]; below 0 is nobody known."""
    group: np.ndarray
    """int64[n], such as a camera; below 0 is unknown and unlike any other."""
    image: np.ndarray
    """int64[n]; equal numbers are one image; below 0 is unlike any other."""

    @classmethod
    def of(cls, name: str, count: int, identity: object, group: object, image: object) -> Images:
        """Checked arrays, one entry an image; an InputError where one has another shape."""
        columns = []
        for what, values in (("identities", identity), ("groups", group), ("images", image)):
            column = np.full(count, -1, np.int64) if values is None else np.asarray(values)
            if column.shape != (count,) or not np.issubdtype(column.dtype, np.integer):
                raise InputError(
                    f"{count} {name} embeddings but {what} of shape {column.shape} and type {column.dtype}; "
                    f"give one whole number for each"
                )
            columns.append(column)
        return cls(*columns)


class SomeSimilarities(Protocol):
    """Similarities of some queries to all gallery images that take part."""

    tie: float
    """Similarities this close are ties."""

    def of_pairs(self, query: np.ndarray, column: np.ndarray) -> np.ndarray:
        """float32 or float64 for each pair: the place among these queries, and the gallery column."""
        ...

    def counts(self, threshold_QR: np.ndarray, own: np.ndarray) -> np.ndarray:
        """int64[Q, R]: other columns than a query's own that reach its thresholds (`similarity_counts`)."""
        ...


class Positions(NamedTuple):
    """Where the matches of some queries are in their rankings, from the last match to the first."""

    query: np.ndarray
    """int64[q], places in the given queries."""
    matches: np.ndarray
    """int64[q], how many matches each has; 0: none, and nothing of it counts."""
    places: np.ndarray
    """int64[q, R]: 1 for a query's most similar match, 2 for the next; 0 or less where it has no more."""
    positions: np.ndarray
    """int64[q, R]: the position in the ranking of all images, from 1, of the match of that place."""


@dataclass(frozen=True)
class Matches:
    """Every query's own columns: the gallery images of its identity.

    A match is one of another group and another image. The own images that are no match are left out of the query's
    ranking, and images of nobody known out of every ranking: the rules of Market-1501.

    >>> query = Images.of("query", 1, [7], [0], None)
    >>> gallery = Images.of("gallery", 4, [7, -1, 8, 7], [0, 1, 1, 1], None)
    >>> matches = Matches.find(query, gallery)
    >>> matches.order.tolist(), matches.own.tolist()  # rows 0 and 3 are of identity 7, and 1 is of nobody
    ([0, 3, 2], [[0, 2]])
    """

    query: Images
    gallery: Images
    query_order: np.ndarray
    """int64[Q], queries by ascending identity."""
    order: np.ndarray
    """int64[G'], the gallery images that take part, by ascending identity."""
    own: np.ndarray
    """int64[Q, 2], first and last + 1 place in `order`, in the order of `query_order`."""

    @classmethod
    def find(cls, query: Images, gallery: Images) -> Matches:
        """Find the gallery images of each query's identity."""
        query_order = np.argsort(query.identity, kind="stable")
        order = np.argsort(gallery.identity, kind="stable")
        order = order[np.searchsorted(gallery.identity[order], 0) :]
        wanted, known = query.identity[query_order], gallery.identity[order]
        own = np.stack([np.searchsorted(known, wanted, side=side) for side in ("left", "right")], axis=1)
        return cls(query, gallery, query_order, order, own)

    def blocks(self, most: int = QUERIES) -> Iterator[slice]:
        """Slices of `query_order`, each of few enough pairs."""
        size = self.own[:, 1] - self.own[:, 0]
        for top in range(0, len(size), most):
            rows = range(top, min(top + most, len(size)))
            step = max(1, PAIRS // max(1, int(size[rows.start : rows.stop].max())))
            yield from (slice(first, min(first + step, rows.stop)) for first in rows[::step])

    def pairs(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Each match of these queries: the query's place in the slice, ascending, and the column of `order`."""
        size = self.own[rows, 1] - self.own[rows, 0]
        place = np.repeat(np.arange(len(size)), size)
        within = np.arange(len(place)) - np.repeat(np.cumsum(size) - size, size)
        column = self.own[rows, 0][place] + within
        who, found = self.query_order[rows][place], self.order[column]
        match = np.ones(len(place), bool)
        for mine, theirs in zip(self.query[1:], self.gallery[1:], strict=True):
            match &= (mine[who] != theirs[found]) | (mine[who] < 0)
        return place[match], column[match]

    def positions(self, rows: slice, similarities: SomeSimilarities) -> Positions:
        """Where the matches of these queries are; whoever is as similar as a match comes before it."""
        place, column = self.pairs(rows)
        matches = np.bincount(place, minlength=rows.stop - rows.start)
        within = np.arange(len(place)) - np.repeat(np.cumsum(matches) - matches, matches)
        similarity = similarities.of_pairs(place, column)
        similarity_QR = np.full((len(matches), max(1, matches.max(initial=0))), np.inf, similarity.dtype)
        similarity_QR[place, within] = similarity
        similarity_QR.sort(axis=1)
        before_QR = similarities.counts(
            similarity_QR - similarity.dtype.type(similarities.tie), self.own[rows]
        )
        place_QR = matches[:, None] - np.arange(similarity_QR.shape[1])
        return Positions(self.query_order[rows], matches, place_QR, place_QR + before_QR)


class Cosines:
    """Cosines in float64 of rows on a device that holds them all: in float32 near ties cost up to 1e-5 of mAP."""

    most = QUERIES
    tie = 5e-8

    def __init__(
        self,
        query: np.ndarray,
        gallery: np.ndarray | None,
        matches: Matches,
        device: str,
        block: int | None,
    ) -> None:
        import torch

        on = torch.device(device)
        self._query = torch.from_numpy(query).to(on)
        self._gallery = self._query if gallery is None else torch.from_numpy(gallery).to(on)
        self._matches, self._block = matches, block
        self._order = torch.from_numpy(matches.order).to(on)
        self._some = self._query[:0]

    def of(self, rows: slice) -> SomeSimilarities:
        """Similarities of the queries in a slice of `query_order`, until the next are asked for."""
        import torch

        chosen = torch.from_numpy(self._matches.query_order[rows]).to(self._query.device)
        self._some = self._query[chosen]
        return self

    def of_pairs(self, query: np.ndarray, column: np.ndarray) -> np.ndarray:
        """As `SomeSimilarities` has it."""
        import torch

        place, row = (torch.from_numpy(values).to(self._query.device) for values in (query, column))
        row, found = self._order[row], torch.empty(len(query), dtype=torch.float64, device=self._query.device)
        for first in range(0, len(query), GATHERED):
            some = slice(first, first + GATHERED)
            mine, theirs = exact_rows(self._some[place[some]]), exact_rows(self._gallery[row[some]])
            found[some] = (mine * theirs).sum(1)
        return found.cpu().numpy()

    def counts(self, threshold_QR: np.ndarray, own: np.ndarray) -> np.ndarray:
        """As `SomeSimilarities` has it."""
        import torch

        thresholds = torch.from_numpy(threshold_QR).to(self._query.device)
        counted = counts_at_least(
            self._some, self._gallery, thresholds, own, order=self._order, exact=True, block=self._block
        )
        return counted.cpu().numpy()
