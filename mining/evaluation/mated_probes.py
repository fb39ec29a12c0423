"""Checked embeddings of an examination: each probe with its mate, the images it may be mistaken for, in tiles.

Shapes: G gallery images, one per identity; P probes; X distractors; I identities with probes; D dimensions;
B rows of a tile. Similarity is the cosine: the inner product of unit rows in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from .intervals import identity_draws
from .pairs import NO_PROBES

BLOCK = 1024
"""Rows and columns of a tile."""
TIE = 1e-6
"""Similarities this close are ties; float32 products differ by a few 1e-7 with the shape of the tile."""

FAULTS = ("hold NaN or infinity", "are not of unit length")
"""What the network does to embeddings, in the words of `unit_rows`."""


def unit_rows(name: str, rows: ArrayLike, like: np.ndarray | None = None) -> np.ndarray:
    """`rows` as float32[n, D], D that of `like`; an InputError if not finite or not of unit length (± 1 %)."""
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    if rows.ndim != 2:
        raise InputError(f"{name} embeddings have shape {rows.shape}; give one row per image")
    if like is not None and rows.shape[1] != like.shape[1]:
        raise InputError(f"{name} is {rows.shape[1]}-d but gallery {like.shape[1]}-d; embed with one network")
    squared = np.einsum("nd,nd->n", rows, rows)
    infinite, scaled = ~np.isfinite(squared), np.abs(squared - 1) > 0.02
    for fault, bad in zip(FAULTS, (infinite, scaled), strict=True):
        if bad.any():
            count = f"{bad.sum()} of {len(rows)} {name} embeddings"
            raise InputError(f"{count} {fault}, the first in row {bad.argmax()}; extract them again")
    return rows


@dataclass(frozen=True)
class MatedProbes:
    """Checked embeddings in which every probe has one mate in the gallery.

    >>> rows = np.eye(3)
    >>> mated = MatedProbes.match(rows, [7, 8, 9], rows[[2, 0, 2]], [9, 7, 9])
    >>> mated.mate.tolist(), mated.probed_row.tolist(), mated.impostor_pairs
    ([2, 0, 2], [0, 2], 6)
    """

    gallery: np.ndarray
    """float32[G, D]."""
    probe: np.ndarray
    """float32[P, D]."""
    distractor: np.ndarray
    """float32[X, D], of identities that are in neither."""
    mate: np.ndarray
    """int64[P], the gallery row of each probe's identity."""
    probed_row: np.ndarray
    """int64[I], the gallery rows of identities with probes, by ascending identity."""
    owner: np.ndarray
    """int64[P], each probe's place in `probed_row`."""
    track: Callable[[int], object] = field(default=lambda pairs: None, repr=False, compare=False)
    """Told how many pairs were compared, or weighed by a replicate."""

    @classmethod
    def match(
        cls,
        gallery: ArrayLike,
        gallery_id: ArrayLike,
        probe: ArrayLike,
        probe_id: ArrayLike,
        *,
        distractors: ArrayLike | None = None,
        track: Callable[[int], object] = lambda pairs: None,
    ) -> MatedProbes:
        """Find every probe's mate.

        Args:
            gallery: float32[G, D], unit rows. gallery_id: int[G], distinct.
            probe: float32[P, D], unit rows. probe_id: int[P], each in `gallery_id`.
            distractors: float32[X, D], unit rows of identities that are in neither.
            track: told how many pairs were compared.

        Raises:
            InputError: NaN, rows not of unit length, no probes, shapes or identities that do not match.
        """
        gallery, probe = np.asarray(gallery), np.asarray(probe)
        if len(probe) == 0:
            raise InputError(NO_PROBES)
        gallery = unit_rows("gallery", gallery)
        probe = unit_rows("probe", probe, like=gallery)
        for name, rows, ids in (("gallery", gallery, gallery_id), ("probe", probe, probe_id)):
            if np.shape(ids) != rows.shape[:1]:
                raise InputError(f"{len(rows)} {name} embeddings but identities of shape {np.shape(ids)}")
        known, row = np.unique(gallery_id, return_index=True)
        if len(known) < len(gallery):
            raise InputError(f"{len(gallery)} gallery rows of {len(known)} identities; give one row for each")
        probed, owner = np.unique(probe_id, return_inverse=True)
        missing = probed[~np.isin(probed, known)]
        if len(missing):
            raise InputError(f"{len(missing)} probe identities (first: {missing[0]}) are not in the gallery")
        probed_row = row[np.searchsorted(known, probed)]
        others = gallery[:0] if distractors is None else unit_rows("distractor", distractors, like=gallery)
        return cls(gallery, probe, others, probed_row[owner], probed_row, owner, track)

    @property
    def impostor_pairs(self) -> int:
        """Pairs of a probe and another identity's gallery image: P * (G - 1)."""
        return len(self.probe) * (len(self.gallery) - 1)

    def mate_similarity(self, block: int) -> np.ndarray:
        """float32[P], each probe with its mate."""
        starts = range(0, len(self.probe), block)
        pairs = ((self.probe[i : i + block], self.gallery[self.mate[i : i + block]]) for i in starts)
        return np.concatenate([np.einsum("pd,pd->p", probe, mate) for probe, mate in pairs])

    def impostor_tiles(
        self, block: int, distractor: np.ndarray | None = None
    ) -> Iterator[tuple[slice, int, np.ndarray]]:
        """(probe rows, first column, similarity_BB) over the gallery, then `distractor`; mates are -inf."""
        for top in range(0, len(self.probe), block):
            rows, start = slice(top, top + block), 0
            for others in (self.gallery,) if distractor is None else (self.gallery, distractor):
                for left in range(0, len(others), block):
                    similarity_BB = self.probe[rows] @ others[left : left + block].T
                    column = self.mate[rows] - start
                    mated = np.flatnonzero((column >= 0) & (column < similarity_BB.shape[1]))
                    similarity_BB[mated, column[mated]] = -np.inf
                    yield rows, start, similarity_BB
                    start += similarity_BB.shape[1]
                    self.track(similarity_BB.size)

    def identity_weights(self, bootstrap: int, seed: int) -> Iterator[np.ndarray]:
        """int64[I] per replicate: how often each identity is drawn in I draws with replacement."""
        return identity_draws(len(self.probed_row), bootstrap, seed)
