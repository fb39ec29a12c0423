"""Images from wherever they lie (inline, plain file, byte range of a larger file) to uint8 arrays.

Shapes: b images, 3 channels, S pixels a side.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ...mining.errors import InputError
from ...mining.manifest import Manifest
from ...mining.remote import is_url, joined_url
from .image_files import Piece, read_pieces
from .jpeg import plain_jpeg

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
        self.folder = manifest.folder

    def read(self, image_id: int) -> bytes:
        """The encoded bytes of one image.

        Raises:
            OSError: the file is missing or shorter than the manifest says.
            InputError: a URI of a scheme that is not read.
        """
        _, data = next(self._read_all(np.array([image_id])))
        if isinstance(data, OSError):
            raise data
        return data

    def _read_all(self, image_id: np.ndarray) -> Iterator[tuple[int, bytes | OSError]]:
        """Place among `image_id` and bytes of each, in the order in which they lie in files, or what is wrong with it."""
        pieces: list[Piece] = []
        for place, number in enumerate(image_id.tolist()):
            try:
                image, uri, offset, length = self._row(number)
            except OSError as error:
                yield place, error
                continue
            if image is not None:
                yield place, image
            elif not uri:
                yield place, OSError("the manifest gives neither bytes nor a uri")
            else:
                pieces.append(Piece(self._path(uri), offset or 0, length, place))
        yield from read_pieces(pieces)

    def _path(self, uri: str) -> str:
        """The absolute path of an image's file, or its URL."""
        if uri.startswith("file://"):
            return unquote(urlsplit(uri).path)
        if is_url(uri):
            return uri
        return joined_url(self.folder, uri) if is_url(self.folder) else os.path.join(self.folder, uri)

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
        pixels = np.empty((1, size, size, 3), np.uint8)
        bad = self.decode_into(pixels, np.array([image_id]))
        return bad[0] if bad else np.ascontiguousarray(pixels[0].transpose(2, 0, 1))

    def decode_into(self, pixels_bSS3: np.ndarray, image_id: np.ndarray) -> dict[int, BadImage]:
        """Decode the images int64[b] into their places of a uint8[b, S, S, 3]; return what is wrong, by place."""
        bad: dict[int, BadImage] = {}
        for place, data in self._read_all(image_id):
            try:
                if isinstance(data, OSError):
                    raise data
                pixels_bSS3[place] = decode_pixels(data, pixels_bSS3.shape[1])
            except InputError:
                raise
            except UnidentifiedImageError:
                bad[place] = BadImage(int(image_id[place]), "not an image of a known format")
            except Exception as error:  # damaged files make decoders raise nearly any type of error
                bad[place] = BadImage(int(image_id[place]), str(error) or type(error).__name__)
        return bad


def decode_image(data: bytes, size: int) -> np.ndarray:
    """Decode an image file to RGB, upright, stretched to `size` × `size`: uint8[3, size, size].

    Grey images get three equal channels, transparent ones a white ground, 16-bit ones their high byte.

    Raises:
        ValueError: empty, or more than `MAX_PIXELS` pixels.
        OSError: not an image, or damaged.
    """
    return np.ascontiguousarray(decode_pixels(data, size).transpose(2, 0, 1))


def decode_pixels(data: bytes, size: int) -> np.ndarray:
    """As `decode_image`, the channels last: uint8[size, size, 3], which may not be written to."""
    if not data:
        raise ValueError("the file is empty")
    plain = plain_jpeg(data, size, MAX_PIXELS)
    if plain is not None:
        return _pixels(plain, size)
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
        return _pixels(ImageOps.exif_transpose(image) if turned else image, size)  # it copies, turned or not


def _pixels(image: Image.Image, size: int) -> np.ndarray:
    rgb = _to_rgb(image)
    if rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(rgb)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode.startswith("I;16") or image.mode == "I":
        grey = np.asarray(image, np.int64) >> 8
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")
