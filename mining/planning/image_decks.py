"""Images of every identity as a deck of cards: all of them are dealt before any comes again.

An identity's images lie in one stretch of an array, those dealt in this cycle in front. Dealing swaps a random
one of the rest to the front of the rest (Fisher and Yates), so every order of a cycle is equally likely, and so
is every set of K images at any time. Nothing is ever sorted or reshuffled: a card costs a few array operations.

Memory: a copy of the image ids (int32 below 2³¹), and 8 bytes an identity. Shapes: m identities, K images of each.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..manifest import IdentityImages

CHUNK = 8192
"""Identities that are dealt to at a time: intermediate arrays stay in the processor's cache (1.5 times faster)."""


class ImageDecks:
    """The state of all decks.

    Args:
        images: whose images; not changed.
        max_images: only this many images of an identity are in its deck, chosen by `random`; None: all.
    """

    def __init__(self, images: IdentityImages, max_images: int | None, random: np.random.Generator) -> None:
        self._offset = images.offset
        small = len(images.image_id) == 0 or images.image_id[-1] < 2**31
        self._card = images.image_id.astype(np.int32 if small else np.int64)
        self._dealt = np.zeros(len(images), np.int32)
        self._first_place = np.empty(len(images), np.int32)
        self._max_images = max_images
        if max_images is not None:
            self._choose(max_images, random)

    def deal(self, identity_m: np.ndarray, K: int, random: np.random.Generator) -> np.ndarray:
        """Deal K images to each place in `identity_m` (int64[m], repeats allowed), in this order: int64[m, K].

        Where a cycle ends among the K, the next begins with images that are not among them yet. So no image
        comes twice in a row of an identity that has K, and as evenly as can be in that of a smaller one.
        """
        image_mK = np.empty((len(identity_m), K), np.int64)
        for places in self._turns(identity_m):
            for first in range(0, len(places), CHUNK):
                some = places[first : first + CHUNK]
                image_mK[some] = self._deal(identity_m[some], K, random).T
        return image_mK

    def _turns(self, identity_m: np.ndarray) -> Iterator[np.ndarray]:
        """Places with their identity's first appearance, then those with the second, and so on."""
        places = np.arange(len(identity_m))
        while len(places):
            owner = identity_m[places]
            self._first_place[owner[::-1]] = places[::-1]  # of repeated indices NumPy keeps the last
            first = self._first_place[owner] == places
            yield places[first]
            places = places[~first]

    def _deal(self, owner: np.ndarray, K: int, random: np.random.Generator) -> np.ndarray:
        """Deal to distinct identities: int64[K, m]."""
        start, count = self._deck(owner)
        if self._max_images is not None:
            np.minimum(count, self._max_images, out=count)
        before = self._dealt[owner].astype(np.int64)
        place = before.copy()
        image_Km = np.empty((K, len(owner)), np.int64)
        for image_m in image_Km:
            # Once the cycle is over, what was dealt before this row (in front) comes before what is in it.
            left = np.where(place < before, before, count)
            left -= place
            image_m[:] = self._swap_in(start, place, left, random)
            place += 1
            place *= place != count
        self._dealt[owner] = place.astype(np.int32)
        return image_Km

    def _choose(self, max_images: int, random: np.random.Generator) -> None:
        """Bring `max_images` random cards to the front of every larger deck; only these will be dealt."""
        for first in range(0, len(self._dealt), CHUNK):
            start, count = self._deck(np.arange(first, min(first + CHUNK, len(self._dealt))))
            larger = count > max_images
            start, count = start[larger], count[larger]
            for place in range(max_images if len(start) else 0):
                self._swap_in(start, place, count - place, random)

    def _deck(self, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the decks begin, and how many cards they have."""
        start = self._offset[owner]
        return start, self._offset[owner + 1] - start

    def _swap_in(
        self, start: np.ndarray, place: np.ndarray | int, left: np.ndarray, random: np.random.Generator
    ) -> np.ndarray:
        """Swap a random card of `left` ones from `place` on to `place`, and return it."""
        pick = random.integers(2**32, size=len(start), dtype=np.uint64)
        pick *= left.view(np.uint64)
        pick >>= np.uint64(32)
        here = start + place
        there = here + pick.view(np.int64)
        card = self._card[there]
        self._card[there] = self._card[here]
        self._card[here] = card
        return card
