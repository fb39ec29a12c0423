"""The part of a damaged image that can be read."""

from __future__ import annotations

import io

from PIL import Image, ImageFile, ImageOps

from ...train.data.images import MAX_PIXELS, ImageStore


def readable_part(store: ImageStore, row: int, pixels: int) -> Image.Image | None:
    """As much of an image as its bytes give, what is missing grey; None where they give nothing.

    Whoever looks at an image that was cut short wants to see what it was of. No other reader takes such a part.
    """
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        data = store.read(row)
        with Image.open(io.BytesIO(data)) as found:
            if found.width * found.height > MAX_PIXELS:
                return None
            ImageFile.LOAD_TRUNCATED_IMAGES = True
            found.load()
            part = ImageOps.exif_transpose(found).convert("RGB")
            return part if max(part.size) <= pixels else ImageOps.contain(part, (pixels, pixels))
    except Exception:  # damaged files make decoders raise nearly any type of error
        return None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
