"""Images from wherever they lie (inline, plain file, byte range of a larger file) to uint8 arrays.

Shapes: b images, 3 channels, S pixels a side.
"""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ...mining.errors import InputError
from ...mining.manifest import Manifest

MAX_PIXELS = 50_000_000
"""Larger images are refused before they are decoded: a 1 kB file can claim to be 100 gigapixels."""

ORIENTATION = 0x0112
"""EXIF tag; 1 is upright."""


@dataclass(frozen=True)
class BadImage:
    """An image that cannot be used, and why."""

    image_id: int
    reason: str


class ImageStore:
    """Reads the images of a manifest by `image_id`. Cheap to copy into loader workers: Arrow, no Python lists.

    Example:
        >>> import io
        >>> from pathlib import Path
        >>> import pyarrow as pa
        >>> from PIL import Image
        >>> from subspace.mining import Manifest
        >>> from subspace.train import ImageStore
        >>> Image.new("RGB", (8, 8), "red").save(png := io.BytesIO(), "PNG")
        >>> rows = {"image": [png.getvalue()] * 3, "uri": [""] * 3, "offset": [None] * 3, "length": [None] * 3}
        >>> store = ImageStore(Manifest(Path("red.parquet"), pa.table(rows), fingerprint="0"))
        >>> store.decode(2, size=4).shape, store.decode(2, size=4)[:, 0, 0].tolist()
        ((3, 4, 4), [255, 0, 0])
    """

    def __init__(self, manifest: Manifest) -> None:
        table = manifest.table
        self._image = table["image"] if "image" in table.column_names else None
        self._uri = table["uri"]
        self._offset = table["offset"]
        self._length = table["length"]
        self.folder = str(manifest.path.resolve().parent)

    def read(self, image_id: int) -> bytes:
        """The encoded bytes of one image.

        Raises:
            OSError: the file is missing or shorter than the manifest says.
            InputError: a URI scheme that is not a local file.
        """
        image, uri, offset, length = self._row(image_id)
        if image is not None:
            return image
        if not uri:
            raise OSError("the manifest gives neither bytes nor a uri")
        scheme, separator, _ = uri.partition("://")
        if separator and scheme != "file":
            raise InputError(f"cannot read {uri}: only local files are supported, not {scheme}://")
        local = unquote(urlsplit(uri).path) if separator else uri
        path = os.path.join(self.folder, local)
        with open(path, "rb", buffering=0 if length is not None else -1) as file:
            file.seek(offset or 0)
            data = file.read(-1 if length is None else length)
        if length is not None and len(data) < length:
            raise OSError(f"{path} ends before byte {(offset or 0) + length}")
        return data

    def _row(self, image_id: int) -> tuple[bytes | None, str | None, int | None, int | None]:
        """What the manifest says of one image: image, uri, offset, length."""
        return (
            None if self._image is None else self._image[image_id].as_py(),
            self._uri[image_id].as_py(),
            self._offset[image_id].as_py(),
            self._length[image_id].as_py(),
        )

    def decode(self, image_id: int, size: int) -> np.ndarray | BadImage:
        """One image as uint8[3, size, size], or what is wrong with it."""
        try:
            return decode_image(self.read(image_id), size)
        except InputError:
            raise
        except UnidentifiedImageError:
            return BadImage(image_id, "not an image of a known format")
        except Exception as error:  # damaged files make decoders raise nearly any type of error
            return BadImage(image_id, str(error) or type(error).__name__)


def decode_image(data: bytes, size: int) -> np.ndarray:
    """Decode an image file to RGB, upright, stretched to `size` × `size`: uint8[3, size, size].

    Grey images get three equal channels, transparent ones a white ground, 16-bit ones their high byte.

    Raises:
        ValueError: empty, or more than `MAX_PIXELS` pixels.
        OSError: not an image, or damaged.
    """
    if not data:
        raise ValueError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is stricter
            opened = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise ValueError(f"more than {MAX_PIXELS} pixels") from error
    with opened as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS}")
        image.draft("RGB", (size, size))  # lets the JPEG decoder skip detail that is scaled away
        turned = image.getexif().get(ORIENTATION, 1) != 1
        upright = ImageOps.exif_transpose(image) if turned else image  # it copies, turned or not
        rgb = _to_rgb(upright)
        if rgb.size != (size, size):
            rgb = rgb.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
        return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        grey = np.asarray(image, np.int64) >> 8
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")
