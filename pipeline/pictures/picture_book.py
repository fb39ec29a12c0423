"""The pictures of a report: which images show an identity, drawn by seed, as data: URIs with words for whom they are hidden from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ...mining.manifest import IdentityImages, Manifest
from ...mining.randomness import generator
from .run_images import RunImages


class Picture(NamedTuple):
    """One picture of a page."""

    uri: str
    alt: str
    """Alternative text: whom it shows, and as what."""
    readable: bool
    """False: it is a placeholder."""


class PictureBook:
    """Pictures of images and of identities.

    Args:
        images: decodes and keeps them.
        splits: whose images show an identity, where it has some there.
        without: int64[n], images that are not drawn, such as unreadable ones.

    Example:
        >>> import io
        >>> from pathlib import Path
        >>> import pyarrow as pa
        >>> from PIL import Image
        >>> from subspace.mining import Manifest
        >>> Image.new("RGB", (8, 8), "red").save(png := io.BytesIO(), "PNG")
        >>> rows = {"identity_id": pa.array([0, 0, 1], pa.int32()), "keep": [True] * 3, "split": ["train"] * 3}
        >>> rows |= {"image": [png.getvalue()] * 3, "uri": [""] * 3, "offset": [None] * 3, "length": [None] * 3}
        >>> book = PictureBook(RunImages(Manifest(Path("red.parquet"), pa.table(rows), fingerprint="0")), ["train"])
        >>> sorted(book.rows_of(0, 4)), book.picture(2, "bob", 8).readable
        ([0, 1], True)
    """

    def __init__(
        self, images: RunImages, splits: Sequence[str], without: np.ndarray | None = None, seed: int = 0
    ) -> None:
        self.images, self.seed = images, seed
        self._splits, self._without = splits, without

    @property
    def manifest(self) -> Manifest:
        """Whose images they are."""
        return self.images.manifest

    @cached_property
    def _identities(self) -> IdentityImages:
        return self.manifest.identities_in(self._splits, self._without)

    def rows_of(self, identity_id: int, count: int) -> list[int]:
        """Images of an identity, drawn by seed; fewer where it has fewer, none where none is left of it.

        The same whoever asks, and with a larger `count` more of the same.
        """
        known = self._identities
        place = int(np.searchsorted(known.identity_id, identity_id))
        if place == len(known) or known.identity_id[place] != identity_id:
            return []
        images = known.image_id[known.offset[place] : known.offset[place + 1]]
        return generator(self.seed, "report images", identity_id).permutation(images)[:count].tolist()

    def load(self, rows: Iterable[int], pixels: int) -> None:
        """Decode images that will be asked for, many in one go."""
        self.images.load(rows, pixels)

    def picture(self, row: int, alt: str, pixels: int) -> Picture:
        """One image at most so large on its longer side."""
        uri = self.images.webp_uri(row, pixels)
        if (reason := self.images.unreadable.get(row)) is not None:
            return Picture(uri, f"{alt}: cannot be read ({reason})", False)
        return Picture(uri, alt, True)

    def pixels_within(self, rows: Sequence[int], sizes: Sequence[int], budget: int) -> int:
        """The largest of `sizes` at which so many images take at most `budget` bytes of a page, judged by 64 of them."""
        drawn = generator(self.seed, "report sizes").permutation(np.unique(np.asarray(rows, np.int64)))
        if not len(drawn):
            return max(sizes)
        some = drawn[:64].tolist()
        for pixels in sorted(sizes, reverse=True):
            self.load(some, pixels)
            taken = sum(len(self.images.webp_uri(row, pixels)) for row in some)
            if taken / len(some) * len(drawn) <= budget:
                return pixels
        return min(sizes)
