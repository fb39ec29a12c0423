"""Images of a manifest, small, as the network sees them: read once, kept, and a placeholder where one cannot be read."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ...mining.errors import InputError
from ...mining.manifest import Manifest
from ...train.data.image_input import ImageInput
from ...train.data.images import BadImage, ImageStore
from ...train.data.settings import DecoderSetting

QUALITY = 80
"""WebP's."""
AT_ONCE = 256
"""Images that are decoded in one go."""
_GROUND, _INK = (232, 234, 237), (154, 160, 166)


class RunImages:
    """Thumbnails of a manifest's images, cut and fitted as the network has them; each is decoded once for a size.

    Memory: about 1 kB for each image of 64 px that was asked for, and the manifest's columns.

    Args:
        decoder: of JPEGs, as `data.decoder` says.
        input: what the network expects of its images; without it all of an image is fitted into a square.

    Example:
        >>> import io
        >>> from pathlib import Path
        >>> import pyarrow as pa
        >>> from PIL import Image
        >>> from subspace.mining import Manifest
        >>> Image.new("RGB", (80, 80), "red").save(png := io.BytesIO(), "PNG")
        >>> rows = {"image": [png.getvalue(), b"?"], "uri": [""] * 2, "offset": [None] * 2, "length": [None] * 2}
        >>> images = RunImages(Manifest(Path("red.parquet"), pa.table(rows), fingerprint="0"))
        >>> images.thumbnail(0, 64).size, images.thumbnail(1, 64)
        ((64, 64), None)
        >>> images.webp_uri(1, 64)[:15], len(images.unreadable)
        ('data:image/webp', 1)
    """

    def __init__(
        self, manifest: Manifest, decoder: DecoderSetting = "auto", input: ImageInput | None = None
    ) -> None:
        self.manifest = manifest
        self.unreadable: dict[int, str] = {}
        """Why, of each image that could not be read, by its row."""
        self._store = ImageStore(manifest, decoder)
        self._input = input
        self._kept: dict[tuple[int, int], bytes] = {}
        """WebP by row and size."""

    def fitted(self, pixels: int) -> ImageInput:
        """What thumbnails of so many pixels are: of the network's shape, their longer side `pixels` or, if less, its own.

        An image is never larger than the network has it, so that a page shows what the network could tell apart.
        """
        if self._input is None:
            return ImageInput(pixels, resize="letterbox")
        height, width = self._input.height_and_width
        share = min(1.0, pixels / max(height, width))
        return replace(
            self._input, size=(max(1, round(share * height)), max(1, round(share * width))), channels="RGB"
        )

    def load(self, rows: Iterable[int], pixels: int) -> None:
        """Decode those of the images that were not asked for yet, many in one go, in the order in which they lie in files.

        It is quicker than one after another, by far where they lie behind a URL.

        Raises:
            InputError: images of a scheme that is not read.
        """
        missing = np.array(
            sorted({int(row) for row in rows if (int(row), pixels) not in self._kept}), np.int64
        )
        input = self.fitted(pixels)
        for start in range(0, len(missing), AT_ONCE):
            some = missing[start : start + AT_ONCE]
            pixels_bhw3 = np.empty((len(some), input.height, input.width, 3), np.uint8)
            bad = self._store.decode_into(pixels_bhw3, some, input)
            for place, row in enumerate(some.tolist()):
                self._keep(row, pixels, bad.get(place), pixels_bhw3[place])

    def _keep(self, row: int, pixels: int, bad: BadImage | None, pixels_hw3: np.ndarray) -> None:
        if bad is not None:
            self.unreadable[row] = bad.reason
        picture = Image.fromarray(pixels_hw3) if bad is None else placeholder(*pixels_hw3.shape[1::-1])
        with io.BytesIO() as file:
            picture.save(file, "WEBP", quality=QUALITY, method=4)
            self._kept[row, pixels] = file.getvalue()

    def webp(self, row: int, pixels: int) -> bytes:
        """A WebP file of an image, a placeholder where it cannot be read.

        Args:
            row: of the manifest: its `image_id`.
            pixels: of the longer side, at most.
        """
        self.load([row], pixels)
        return self._kept[row, pixels]

    def webp_uri(self, row: int, pixels: int) -> str:
        """The same as a data: URI."""
        return "data:image/webp;base64," + base64.b64encode(self.webp(row, pixels)).decode()

    def thumbnail(self, row: int, pixels: int) -> Image.Image | None:
        """An image for a montage, in RGB, its pixels as decoded; None where it cannot be read."""
        found = self._store.decode(row, self.fitted(pixels))
        if isinstance(found, BadImage):
            self.unreadable[row] = found.reason
            return None
        return Image.fromarray(np.ascontiguousarray(found.transpose(1, 2, 0)))

    @property
    def bytes(self) -> int:
        """All WebP files that are kept."""
        return sum(map(len, self._kept.values()))


def network_input(written: Mapping[str, Any]) -> ImageInput | None:
    """The input that `meta.json` of a checkpoint has; None of an older one, or of one that says nothing sound.

    >>> network_input({"size": 32}).height, network_input({})
    (32, None)
    """
    try:
        return ImageInput.from_json(written) if written else None
    except (InputError, TypeError):
        return None


def placeholder(width: int, height: int) -> Image.Image:
    """A grey picture with a cross: what stands in the place of an image that cannot be read.

    >>> placeholder(64, 48).size
    (64, 48)
    """
    picture = Image.new("RGB", (width, height), _GROUND)
    draw = ImageDraw.Draw(picture)
    corner = (width // 4, height // 4, width - 1 - width // 4, height - 1 - height // 4)
    draw.line(corner, fill=_INK, width=max(1, width // 24))
    draw.line((corner[0], corner[3], corner[2], corner[1]), fill=_INK, width=max(1, width // 24))
    return picture
