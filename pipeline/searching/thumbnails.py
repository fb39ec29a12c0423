"""Pictures small enough to lie in a page."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

from PIL import Image

from ...train.data.image_input import ImageInput
from ...train.data.images import decode_pixels

SIDE, QUALITY = 112, 80
"""Pixels of the longer side, bars filling the other; of WebP."""
MOST_BYTES = 64 << 20
"""Size of an image file; larger ones are not shown."""
_PLACE = re.compile(r"(.+)#(\d{1,15})\+(\d{1,15})", re.DOTALL)


def thumbnail(image: str) -> str | None:
    """A data: URL of the image at a path, or at `PATH#OFFSET+LENGTH`; None where none can be read, or it is behind a URL.

    >>> thumbnail("nowhere.jpg") is None
    True
    """
    try:
        data = _read(image.removeprefix("file://"))
        if data is None:
            return None
        pixels = decode_pixels(data, ImageInput(SIDE, resize="letterbox"))
        with io.BytesIO() as file:
            Image.fromarray(pixels).save(file, "WEBP", quality=QUALITY)
            return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
    except (
        Exception
    ):  # damaged files make decoders raise nearly any type of error; the page says that it has no picture
        return None


def _read(image: str) -> bytes | None:
    path, offset, length = Path(image), 0, MOST_BYTES
    if not path.is_file() and (place := _PLACE.fullmatch(image)):
        path, offset, length = Path(place[1]), int(place[2]), int(place[3])
    if not path.is_file() or length > MOST_BYTES:
        return None
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(length)
