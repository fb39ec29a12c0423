"""Pixels of more than 8 bits as 8-bit RGB: scaled where the file says their range, refused where they would turn black.

Cameras and scanners put 10, 12 or 14 bits into files of 16 without saying so. Read as 16 bits, such an image is black or
nearly so, and nobody sees it. A 16-bit image whose largest value fits in 12 bits is therefore refused.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

_BITS_TAG, _PHOTOMETRIC_TAG = 258, 262
_WHITE_IS_ZERO = 0
_SURE = 1 << 12
"""The least value, of 65,536, that no 12-bit image has."""


class Samples(NamedTuple):
    """What a file says of its samples, which is forgotten once they are decoded."""

    bits: int
    white_is_zero: bool = False
    """Pillow turns 8-bit images of that kind, and leaves those of 16 bits as they are."""
    has_range: bool = False
    """Whether 32-bit pixels are 16-bit ones by the format: PNG's and PGM's are."""


def samples_of(image: Image.Image) -> Samples:
    """The samples of an opened image, before it is decoded.

    Example:
        >>> samples_of(Image.new("L", (2, 2))).bits
        8
    """
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        bits = max(np.ravel(tags.get(_BITS_TAG, 1)).tolist())
        return Samples(bits, tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO)
    deep = image.mode.startswith("I") or any(";16" in str(tile) for tile in getattr(image, "tile", ()))
    return Samples(16 if deep else 8, has_range=image.format in ("PNG", "PPM"))


def grey_of(image: Image.Image, samples: Samples) -> Image.Image:
    """A grey image of 9 to 16 bits, mode I;16 or I, as 8 bits: the high byte of each value, as Pillow has it of colours.

    Raises:
        ValueError: 32-bit pixels; 16-bit ones that are all below 4,096, and not all 0.
    """
    if not image.mode.startswith("I;16") and not samples.has_range:
        raise ValueError("its pixels are 32-bit numbers of unknown range; save it with 8 or 16 bits")
    bits = samples.bits if 8 < samples.bits < 16 else 16
    grey = np.asarray(image, np.int64)
    if bits == 16 and 0 < grey.max() < _SURE:
        raise _too_dark()
    if samples.white_is_zero:
        grey = (1 << bits) - 1 - grey
    return Image.fromarray((grey >> bits - 8).clip(0, 255).astype(np.uint8))


def refuse_dark(image: Image.Image) -> None:
    """Refuse a decoded image of 16-bit colours of which nothing but the lowest values is left.

    Raises:
        ValueError: no colour is above 15 of 255.
    """
    if np.asarray(image.convert("RGB")).max() < _SURE >> 8:
        raise _too_dark()


def _too_dark() -> ValueError:
    return ValueError(
        "its 16-bit pixels are all below 4,096, as 12-bit data are, and would be black; scale it to 16 bits, or save it "
        "with 8"
    )
