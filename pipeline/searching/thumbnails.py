"""Pictures small enough to lie in a page."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from urllib.parse import unquote

from PIL import Image

from ...train.data.framing import Box, clipped, resized_shape
from ...train.data.image_input import ImageInput
from ...train.data.images import opened, picture_pixels, upright_size

SIDE, QUALITY = 112, 80
"""Pixels of the longer side; of WebP."""
MOST_BYTES = 64 << 20
"""Size of an image file; larger ones are not shown."""
_PLACE = re.compile(r"(.+)#(\d{1,15})\+(\d{1,15})", re.DOTALL)
_BOXED = re.compile(r"(.+)#xyxy=(\d{1,9}),(\d{1,9}),(\d{1,9}),(\d{1,9})", re.DOTALL)


def thumbnail(image: str) -> str | None:
    """A data: URL of the image at a path or file:// URL, or at `PATH#OFFSET+LENGTH`; None where none can be read.

    `#xyxy=LEFT,TOP,RIGHT,BOTTOM` behind it: of that part alone.

    >>> thumbnail("nowhere.jpg") is None
    True
    """
    try:
        if image.startswith("file://"):
            image = unquote(image.removeprefix("file://"))
        box: Box | None = None
        if not Path(image).is_file() and (boxed := _BOXED.fullmatch(image)):
            image, box = boxed[1], (int(boxed[2]), int(boxed[3]), int(boxed[4]), int(boxed[5]))
        data = _read(image)
        if data is None:
            return None
        with opened(data) as found:
            pixels = picture_pixels(found, _whole(upright_size(found), box), box)
        with io.BytesIO() as file:
            Image.fromarray(pixels).save(file, "WEBP", quality=QUALITY)
            return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
    except (
        Exception
    ):  # damaged files make decoders raise nearly any type of error; the page says that it has no picture
        return None


def _whole(size: tuple[int, int], box: Box | None) -> ImageInput:
    """All of an image, or of its part, in its own shape: no bars, which would look like parts of it."""
    left, top, right, bottom = (0, 0, *size) if box is None else clipped(box, *size)
    width, height = resized_shape(right - left, bottom - top, ImageInput(SIDE, resize="letterbox"))
    return ImageInput((height, width))


def _read(image: str) -> bytes | None:
    path, offset, length = Path(image), 0, MOST_BYTES
    if not path.is_file() and (place := _PLACE.fullmatch(image)):
        path, offset, length = Path(place[1]), int(place[2]), int(place[3])
    if not path.is_file() or length > MOST_BYTES:
        return None
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(length)
