"""Rank-k identification: is a probe's own identity among the k gallery images most similar to it?

Shapes: G gallery images, one per identity; P probes; X distractors; I identities with probes; B rows of a tile.
Images of one identity succeed and fail together, so 95 % intervals resample identities instead of probes:
Bolle, Ratha, Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap" (CVIU 2004).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..randomness import generator

BLOCK = 1024
TIE = 1e-6
"""Similarities this close are ties; float32 products differ by a few 1e-7 with the shape of the tile."""
NO_PROBES = "no probes: test identities need two images, of different groups where images have groups"


@dataclass(frozen=True)
class EvaluationPairs:
    """int64 positions in the arrays given to `evaluation_pairs`, by ascending (identity, position)."""

    gallery: np.ndarray
    """[I], one image of each identity that has probes."""
    probe: np.ndarray
    """[P]."""
    distractor: np.ndarray
    """[X], one image of each identity that has no valid pair."""


def evaluation_pairs(
    identity_id: np.ndarray, group: np.ndarray | None, *, probes_per_identity: int | None, seed: int
) -> EvaluationPairs:
    """Each identity gives one gallery image; its images of other groups are the probes.

    Both are drawn uniformly, the gallery image from those that leave a probe. Where all images of an
    identity share a group, or there is only one, one of them is a distractor.
    A pure function: images are first sorted by (identity, position), so interleaving identities otherwise
    selects the same images; reordering the images of one identity draws anew. About 150 bytes an image.

    Args:
        identity_id: int[n], any order.
        group: int[n], camera or type family; -1 is unknown and unlike any other. None: no such restriction.
        probes_per_identity: at most this many; None takes all.

    Raises:
        InputError: arrays of different shapes, a limit below 1, or not one valid pair.
    """
    if probes_per_identity is not None and probes_per_identity < 1:
        raise InputError(f"probes_per_identity is {probes_per_identity}; give 1 or more, or None for all")
    identity_id = np.asarray(identity_id)
    group = np.full(identity_id.shape, -1) if group is None else np.asarray(group)
    if identity_id.ndim != 1 or group.shape != identity_id.shape:
        raise InputError(f"identity_id is {identity_id.shape}, group {group.shape}; give one entry per image")
    n = len(identity_id)
    image = np.argsort(identity_id, kind="stable")
    owner, group = np.unique(identity_id[image], return_inverse=True)[1], group[image]
    camera = np.where(group == -1, n + np.arange(n), np.unique(group, return_inverse=True)[1])
    _, cell, cell_size = np.unique(owner * (2 * n) + camera, return_inverse=True, return_counts=True)
    pairable = np.bincount(owner)[owner] > cell_size[cell]

    lottery = generator(seed, "evaluation pairs").random(n)
    order = np.lexsort((lottery, ~pairable, owner))
    owner, camera, pairable, image = owner[order], camera[order], pairable[order], image[order]
    first = np.flatnonzero(np.diff(owner, prepend=-1))  # of each identity, pairable images before others
    probe = pairable & (camera != camera[first][owner])
    if not probe.any():
        raise InputError(NO_PROBES)
    if probes_per_identity is not None:
        before = np.cumsum(probe) - probe
        probe &= before - before[first][owner] < probes_per_identity
    in_order = np.lexsort((image[probe], owner[probe]))
    found = pairable[first]
    return EvaluationPairs(image[first[found]], image[probe][in_order], image[first[~found]])


@dataclass(frozen=True)
class Interval:
    """A metric with its 95 % bootstrap interval; None where there is too little data to say."""

    name: str
    value: float | None
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        """Everything but the name, ready for `json.dumps`."""
        return {key: value for key, value in vars(self).items() if key != "name"}


def percentile_interval(name: str, value: float, replicates: np.ndarray) -> Interval:
    """`value` between the 2.5 and 97.5 percentiles of its bootstrap replicates."""
    low, high = np.percentile(replicates, (2.5, 97.5))
    return Interval(name, value, float(low), float(high))


def unit_rows(name: str, rows: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """`rows` as float32[n, D], D that of `like`; an InputError if not finite or not of unit length (± 1 %)."""
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    if rows.ndim != 2:
        raise InputError(f"{name} embeddings have shape {rows.shape}; give one row per image")
    if like is not None and rows.shape[1] != like.shape[1]:
        raise InputError(f"{name} is {rows.shape[1]}-d but gallery {like.shape[1]}-d; embed with one network")
    squared = np.einsum("nd,nd->n", rows, rows)
    infinite, scaled = ~np.isfinite(squared), np.abs(squared - 1) > 0.02
    for fault, bad in (("hold NaN or infinity", infinite), ("are not of unit length", scaled)):
        if bad.any():
            count = f"{bad.sum()} of {len(rows)} {name} embeddings"
            raise InputError(f"{count} {fault}, the first in row {bad.argmax()}; extract them again")
    return rows


@dataclass(frozen=True)
class MatedProbes:
    """Checked embeddings in which every probe has one mate in the gallery."""

    gallery: np.ndarray  # float32[G, D]
    probe: np.ndarray  # float32[P, D]
    mate: np.ndarray  # int64[P], the gallery row of each probe's identity
    probed_row: np.ndarray  # int64[I], the gallery rows of identities with probes, by ascending identity
    owner: np.ndarray  # int64[P], each probe's place in `probed_row`

    @classmethod
    def match(
        cls, gallery: np.ndarray, gallery_id: np.ndarray, probe: np.ndarray, probe_id: np.ndarray
    ) -> MatedProbes:
        """Find every probe's mate, or say in one line (InputError) why that cannot be done."""
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
        return cls(gallery, probe, probed_row[owner], probed_row, owner)

    def mate_similarity(self, block: int) -> np.ndarray:
        """float32[P], each probe with its mate."""
        starts = range(0, len(self.probe), block)
        pairs = ((self.probe[i : i + block], self.gallery[self.mate[i : i + block]]) for i in starts)
        return np.concatenate([np.einsum("pd,pd->p", probe, mate) for probe, mate in pairs])

    def impostor_tiles(
        self, block: int, distractors: np.ndarray | None = None
    ) -> Iterator[tuple[slice, int, np.ndarray]]:
        """(probe rows, first column, similarity_BB) over the gallery, then distractors; mates are -inf."""
        for top in range(0, len(self.probe), block):
            rows, start = slice(top, top + block), 0
            for others in (self.gallery,) if distractors is None else (self.gallery, distractors):
                for left in range(0, len(others), block):
                    similarity_BB = self.probe[rows] @ others[left : left + block].T
                    column = self.mate[rows] - start
                    mated = np.flatnonzero((column >= 0) & (column < similarity_BB.shape[1]))
                    similarity_BB[mated, column[mated]] = -np.inf
                    yield rows, start, similarity_BB
                    start += similarity_BB.shape[1]

    def identity_weights(self, bootstrap: int, seed: int) -> Iterator[np.ndarray]:
        """int64[I] per replicate: how often each identity is drawn in I draws with replacement."""
        if bootstrap < 1:
            raise InputError(f"bootstrap is {bootstrap}; give the number of replicates, such as 200")
        n, rng = len(self.probed_row), generator(seed, "identity bootstrap")
        return (np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(bootstrap))


@dataclass(frozen=True)
class Identification:
    """Rank-k for each k asked for, and how much data is behind it."""

    metrics: tuple[Interval, ...]
    identities: int
    probes: int
    gallery: int
    distractors: int

    def __getitem__(self, name: str) -> Interval:
        """The metric of that name, such as `Rank-1`."""
        return {metric.name: metric for metric in self.metrics}[name]

    def to_json(self) -> dict[str, Any]:
        """Counts, and metrics by name, ready for `json.dumps`."""
        return vars(self) | {"metrics": {metric.name: metric.to_json() for metric in self.metrics}}


def identification(
    gallery: np.ndarray,
    gallery_id: np.ndarray,
    probe: np.ndarray,
    probe_id: np.ndarray,
    *,
    distractors: np.ndarray | None = None,
    ks: Sequence[int] = (1, 5),
    bootstrap: int = 200,
    seed: int = 0,
    block: int = BLOCK,
) -> Identification:
    """Rank-k: the share of probes whose own identity is among the k most similar of gallery and distractors.

    rank = 1 + |{other items: similarity >= that of the mate}|, so ties count against the probe and a
    collapsed network scores 0. The value is the plain mean over probes; an identity with many probes weighs
    more, so cap `probes_per_identity`. Each bootstrap replicate draws the identities with probes anew; the
    gallery stays whole. With fewer than 20 identities the interval covers the truth 92 % of the time instead
    of 95, and it has no width where all identities do equally well.

    Cost: one P x (G + X) GEMM; 10 bytes * block² of memory. Source: the MegaFace benchmark (CVPR 2016).

    Args:
        gallery: float32[G, D], unit rows. gallery_id: int[G], distinct.
        probe: float32[P, D], unit rows. probe_id: int[P], each in `gallery_id`.
        distractors: float32[X, D], unit rows of identities that are in neither.
        ks: each 1 or more. bootstrap: replicates. seed: of the bootstrap.
        block: rows and columns of a tile; no effect on ranks but for similarities at TIE from the mate's.

    Raises:
        InputError: NaN, rows not of unit length, no probes, shapes or identities that do not match.
    """
    if not ks or min(ks) < 1:
        raise InputError(f"ks is {tuple(ks)}; give ranks of 1 or more")
    pairs = MatedProbes.match(gallery, gallery_id, probe, probe_id)
    if distractors is not None:
        distractors = unit_rows("distractor", distractors, like=pairs.gallery)
    weights = pairs.identity_weights(bootstrap, seed)
    rank = np.ones(len(probe), np.int64)
    least = pairs.mate_similarity(block) - np.float32(TIE)
    for rows, _, similarity_BB in pairs.impostor_tiles(block, distractors):
        rank[rows] += np.count_nonzero(similarity_BB >= least[rows, None], axis=1)

    probes_I = np.bincount(pairs.owner)
    hits_KI = np.stack([np.bincount(pairs.owner, weights=rank <= k) for k in ks])
    rate_RK = np.array([hits_KI @ weight_I / (probes_I @ weight_I) for weight_I in weights])
    rates = [
        percentile_interval(f"Rank-{k}", float(np.mean(rank <= k)), rate_RK[:, i]) for i, k in enumerate(ks)
    ]
    n_distractors = 0 if distractors is None else len(distractors)
    return Identification(tuple(rates), len(probes_I), len(rank), len(pairs.gallery), n_distractors)
