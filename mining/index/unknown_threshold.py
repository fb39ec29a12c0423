"""The similarity below which a query is nobody here, for a wanted share of errors, from the gallery itself.

Someone unknown is accepted when the most similar of all identities passes the threshold: an open-set error, which grows with
the number of identities, unlike that of comparing two images. So images of the gallery are searched as if their identity were
not in it, each by the very search that queries go through, and the threshold lets the wanted share of them pass.

Whoever is in the gallery under two names, or with images of somebody else, makes it higher than it need be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from math import ceil

import numpy as np

from ..errors import InputError
from ..evaluation.roc import accepted_impostors, impostors_needed
from ..randomness import generator
from .gallery import Gallery, Stages

ACCEPTED = 20
"""Images that pass by chance at the threshold, where there are enough images: their number is then right within a fifth or so."""
FEWEST = 2_000
SEARCHED_AT_A_TIME = 1_024


@dataclass(frozen=True)
class UnknownThreshold:
    """A threshold, and what it was estimated on."""

    threshold: float
    far: float
    """The share of unknown queries that was asked for."""
    images: int
    """Images that were searched without their identity."""
    accepted: int
    """Images among them that pass."""
    identities: int

    def in_words(self) -> str:
        """One line: how it was estimated, and on how much."""
        return (
            f"threshold {self.threshold:.4f} at FAR {self.far:g}: {self.images:,} images of the index, each searched as if "
            f"its identity were not there; {self.accepted:,} pass. Each was compared with {self.identities - 1:,} others: "
            f"{self.images * (self.identities - 1):,} impostor pairs"
        )


def images_needed(far: float, images: int) -> int:
    """How many images of a gallery are searched for a threshold.

    Raises:
        InputError: no share of 1, or one that so few images cannot show.
    """
    if not 0 < far < 1:
        raise InputError(f"--far {far:g}: give a share between 0 and 1, such as 1e-3")
    if not accepted_impostors(far, images):
        least = float(Context(prec=2, rounding=ROUND_CEILING).divide(1, max(images, 1)))
        raise InputError(
            f"--far {far:g} needs an index of {impostors_needed(far):,} images, it has {images:,}; give "
            f"{f'{least:g} or more, or ' if least < 1 else ''}a --threshold"
        )
    return min(images, max(FEWEST, ceil(ACCEPTED / far)))


def threshold_for(
    gallery: Gallery,
    far: float,
    *,
    T: int = 100,
    stages: Stages = "two",
    exact: bool = False,
    track: Callable[[int], None] = lambda images: None,
) -> UnknownThreshold:
    """The least threshold by which at most a share `far` of the images passes that are searched without their identity.

    Raises:
        InputError: fewer than two identities, or as `images_needed`.

    Example:
        >>> from .near_rows import NearRows
        >>> images = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)
        >>> gallery = Gallery(NearRows(images), NearRows(images), np.arange(4))  # nearest others: 0.6, 0.8 and 0.8
        >>> found = threshold_for(gallery, 0.4)
        >>> found.threshold > 0.8, found.images, found.accepted
        (True, 3, 0)
    """
    if len(gallery) < 2:
        raise InputError("--far needs an index of two identities or more; give a --threshold")
    images_n = gallery.images.rows
    wanted = images_needed(far, len(images_n))
    drawn = np.sort(generator(0, "unknown threshold").choice(len(images_n), wanted, replace=False))
    nearest = np.empty(wanted, np.float32)
    for start in range(0, wanted, SEARCHED_AT_A_TIME):
        image = drawn[start : start + SEARCHED_AT_A_TIME]
        queries = images_n[image].astype(np.float32)
        found = gallery.search(
            queries, 1, T=T, stages=stages, exact=exact, without_q=gallery.identity_of(image)
        )
        nearest[start : start + len(image)] = found.similarity[:, 0]
        track(len(image))
    nearest[::-1].sort()
    allowed = accepted_impostors(far, wanted)
    # Just above the first that must not pass, so that ties of it do not pass either.
    threshold = float(np.nextafter(nearest[allowed], np.float32(np.inf)))
    return UnknownThreshold(threshold, far, wanted, int((nearest >= threshold).sum()), len(gallery))
