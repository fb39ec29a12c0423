"""Which images are compared: of each identity one gallery image and its probes, of the others a distractor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..randomness import generator

FEW_IDENTITIES = 20
"""Below this an interval over identities is too narrow, and one identity moves a share by more than 5 %."""
NO_PROBES = "no probes: test identities need two images, of different groups where images have groups"


@dataclass(frozen=True)
class EvaluationPairs:
    """int64 positions in the arrays given to `evaluation_pairs`, by ascending (identity, position).

    >>> EvaluationPairs(gallery=np.array([0]), probe=np.array([1, 2]), distractor=np.array([3])).probe
    array([1, 2])
    """

    gallery: np.ndarray
    """[I], one image of each identity that has probes."""
    probe: np.ndarray
    """[P]."""
    distractor: np.ndarray
    """[X], one image of each identity that has no valid pair."""


def evaluation_pairs(
    identity_id: np.ndarray,
    group: np.ndarray | None,
    *,
    probes_per_identity: int | None,
    seed: int,
    file: np.ndarray | None = None,
    is_query: np.ndarray | None = None,
    is_gallery: np.ndarray | None = None,
) -> EvaluationPairs:
    """Each identity gives one gallery image; its images of other groups are the probes.

    An image that an identity has twice (equal numbers in `file`) counts once: a pair of it with itself would be
    right by every network, one that knows nothing included.

    Both are drawn uniformly, the gallery image from those that leave a probe. Where all images of an
    identity share a group, or there is only one, one of them is a distractor.
    A pure function: images are first sorted by (identity, position), so interleaving identities otherwise
    selects the same images; reordering the images of one identity draws anew. About 150 bytes an image.

    >>> identity_id = np.array([5, 5, 5, 6, 7, 7])
    >>> pairs = evaluation_pairs(identity_id, None, probes_per_identity=1, seed=0)
    >>> identity_id[pairs.gallery], identity_id[pairs.probe], identity_id[pairs.distractor]
    (array([5, 7]), array([5, 7]), array([6]))

    Args:
        identity_id: int[n], any order.
        group: int[n], camera or type family; -1 is unknown and unlike any other. None: no such restriction.
        probes_per_identity: at most this many; None takes all.
        file: int[n], images of equal numbers are one file, or one range of it. None: all differ.
        is_query, is_gallery: bool[n], which images may be probes, and which gallery images or distractors. None: all.

    Raises:
        InputError: arrays of different shapes, a limit below 1, or not one valid pair.
    """
    if probes_per_identity is not None and probes_per_identity < 1:
        raise InputError(f"probes_per_identity is {probes_per_identity}; give 1 or more, or None for all")
    identity_id = np.asarray(identity_id)
    group = np.full(identity_id.shape, -1) if group is None else np.asarray(group)
    if identity_id.ndim != 1 or group.shape != identity_id.shape:
        raise InputError(f"identity_id is {identity_id.shape}, group {group.shape}; give one entry per image")
    image = np.argsort(identity_id, kind="stable")
    if file is not None:
        image = image[first_of_each(identity_id[image], np.asarray(file)[image])]
    n = len(image)
    owner, group = np.unique(identity_id[image], return_inverse=True)[1], group[image]
    camera = np.where(group == -1, n + np.arange(n), np.unique(group, return_inverse=True)[1])
    cell = np.unique(owner * (2 * n) + camera, return_inverse=True)[1]
    query, held = (np.ones(n, bool) if side is None else side[image] for side in (is_query, is_gallery))
    pairable = held & (np.bincount(owner, query)[owner] > np.bincount(cell, query)[cell])

    lottery = generator(seed, "evaluation pairs").random(n)
    order = np.lexsort((lottery, ~held, ~pairable, owner))
    owner, camera, pairable, image = owner[order], camera[order], pairable[order], image[order]
    query, held = query[order], held[order]
    first = np.flatnonzero(np.diff(owner, prepend=-1))  # of each identity, pairable images before others
    probe = query & pairable[first][owner] & (camera != camera[first][owner])
    if not probe.any():
        raise InputError(NO_PROBES)
    if probes_per_identity is not None:
        before = np.cumsum(probe) - probe
        probe &= before - before[first][owner] < probes_per_identity
    in_order = np.lexsort((image[probe], owner[probe]))
    found = pairable[first]
    return EvaluationPairs(image[first[found]], image[probe][in_order], image[first[~found & held[first]]])


def first_of_each(identity_id: np.ndarray, file: np.ndarray) -> np.ndarray:
    """Places of the images whose (identity, file) did not come before, ascending.

    >>> first_of_each(np.array([0, 0, 0, 1]), np.array([7, 8, 7, 7])).tolist()
    [0, 1, 3]
    """
    order = np.lexsort((file, identity_id))
    who, what = identity_id[order], file[order]
    again = (
        np.append(False, (who[1:] == who[:-1]) & (what[1:] == what[:-1])) if len(order) else np.empty(0, bool)
    )
    return np.sort(order[~again])
