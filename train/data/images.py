"""Images from wherever they lie (inline, plain file, byte range of a larger file) to uint8 arrays.

Shapes: b images, 3 channels, H × W pixels.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ...mining.errors import InputError
from ...mining.manifest import Manifest
from ...mining.remote import is_url, joined_url
from ...mining.schemas import BOX
from .deep_pixels import Samples, grey_of, refuse_dark, samples_of
from .framing import Box, clipped, detail_wanted, framed, scaled_box
from .image_files import Piece, read_pieces
from .image_input import ImageInput
from .jpeg import JpegDecoder, jpeg_decoder, plain_jpeg
from .settings import DecoderSetting

MAX_PIXELS = 50_000_000
"""Larger images are refused before they are decoded: a 1 kB file can claim to be 100 gigapixels."""

ORIENTATION = 0x0112
"""EXIF tag; 1 is upright."""
_ON_ITS_SIDE = (5, 6, 7, 8)
_NETPBM = re.compile(rb"P([56])\s(\d+)\s(\d+)\s255\s")
_CHANNELS = {b"5": 1, b"6": 3}


@dataclass(frozen=True)
class BadImage:
    """An image that cannot be used, and why."""

    image_id: int
    reason: str


class ImageStore:
    """Reads the images of a manifest by `image_id`. Cheap to copy into loader workers: Arrow, no Python lists.

    Args:
        decoder: of JPEGs: pillow, simplejpeg, or auto for the fastest that is installed. Their pixels are equal.

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
        >>> store.decode(2, 4).shape, store.decode(2, 4)[:, 0, 0].tolist()
        ((3, 4, 4), [255, 0, 0])
    """

    on_image: Callable[[], object] | None = None
    """Called before each image is decoded, by loader processes to say that they are alive."""

    def __init__(self, manifest: Manifest, decoder: DecoderSetting = "auto") -> None:
        table = manifest.table
        self.jpeg = jpeg_decoder(decoder)
        self._image = table["image"] if "image" in table.column_names else None
        self._uri = table["uri"]
        self._offset = table["offset"]
        self._length = table["length"]
        self.folder = manifest.folder
        self._box = [table[name] for name in BOX] if BOX[0] in table.column_names else None

    def read(self, image_id: int) -> bytes:
        """The encoded bytes of one image.

        Raises:
            OSError: the file is missing or shorter than the manifest says.
            InputError: a URI of a scheme that is not read.
        """
        _, data, _ = next(self._read_all(np.array([image_id])))
        if isinstance(data, OSError):
            raise data
        return data

    def _read_all(self, image_id: np.ndarray) -> Iterator[tuple[int, bytes | OSError, Box | None]]:
        """Place among `image_id`, bytes and box of each, in the order in which they lie in files; or what is wrong with it."""
        pieces: list[Piece] = []
        boxes: dict[int, Box | None] = {}
        for place, number in enumerate(image_id.tolist()):
            try:
                image, uri, offset, length, box = self._row(number)
                path = self._path(uri) if image is None and uri else ""
            except OSError as error:
                yield place, error, None
                continue
            if image is not None:
                yield place, image, box
            elif not path:
                yield place, OSError("the manifest gives neither bytes nor a uri"), None
            else:
                boxes[place] = box
                pieces.append(Piece(path, offset or 0, length, place))
        for place, data in read_pieces(pieces):
            yield place, data, boxes[place]

    def place(self, image_id: int) -> str | None:
        """The path or URL of the file that an image lies in; None of an inline one."""
        try:
            image, uri, *_ = self._row(image_id)
            return self._path(uri) if image is None and uri else None
        except OSError:
            return None

    def _path(self, uri: str) -> str:
        """The absolute path of an image's file, or its URL; raises an OSError where it is no URL."""
        if uri.startswith("file://"):
            try:
                return unquote(urlsplit(uri).path)
            except ValueError as error:
                raise OSError(f"{error}: {uri}") from error
        if is_url(uri):
            return uri
        return joined_url(self.folder, uri) if is_url(self.folder) else os.path.join(self.folder, uri)

    def _row(self, image_id: int) -> tuple[bytes | None, str | None, int | None, int | None, Box | None]:
        """What the manifest says of one image: image, uri, offset, length, box."""
        return (
            None if self._image is None else self._image[image_id].as_py(),
            self._uri[image_id].as_py(),
            self._offset[image_id].as_py(),
            self._length[image_id].as_py(),
            self._box_of(image_id),
        )

    def _box_of(self, image_id: int) -> Box | None:
        if self._box is None or not self._box[0][image_id].is_valid:
            return None
        left, top, right, bottom = (side[image_id].as_py() for side in self._box)
        return left, top, right, bottom

    def decode(self, image_id: int, input: int | ImageInput) -> np.ndarray | BadImage:
        """One image as uint8[3, H, W], or what is wrong with it; an int stretches it to so many pixels a side."""
        input = ImageInput.of(input)
        pixels = np.empty((1, input.height, input.width, 3), np.uint8)
        bad = self.decode_into(pixels, np.array([image_id]), input)
        return bad[0] if bad else np.ascontiguousarray(pixels[0].transpose(2, 0, 1))

    def decode_into(
        self, pixels_bHW3: np.ndarray, image_id: np.ndarray, input: ImageInput
    ) -> dict[int, BadImage]:
        """Decode the images int64[b] into their places of a uint8[b, H, W, 3]; return what is wrong, by place."""
        bad: dict[int, BadImage] = {}
        for place, data, box in self._read_all(image_id):
            if self.on_image is not None:
                self.on_image()
            try:
                if isinstance(data, OSError):
                    raise data
                pixels_bHW3[place] = decode_pixels(data, input, box, self.jpeg)
            except InputError:
                raise
            except UnidentifiedImageError:
                bad[place] = BadImage(int(image_id[place]), "not an image of a known format")
            except Exception as error:  # damaged files make decoders raise nearly any type of error
                bad[place] = BadImage(int(image_id[place]), str(error) or type(error).__name__)
        return bad


def decode_image(data: bytes, input: int | ImageInput) -> np.ndarray:
    """Decode an image file to RGB, upright, fitted to `input` (an int: stretched to a square): uint8[3, H, W].

    Grey images get three equal channels, transparent ones a white ground, 16-bit ones their high byte; of an animation
    the first frame counts.

    Raises:
        ValueError: empty, or more than `MAX_PIXELS` pixels.
        OSError: not an image, or damaged.
    """
    return np.ascontiguousarray(decode_pixels(data, ImageInput.of(input)).transpose(2, 0, 1))


def decode_pixels(
    data: bytes, input: ImageInput, box: Box | None = None, jpeg: JpegDecoder | None = None
) -> np.ndarray:
    """As `decode_image`, of the part inside `box`, the channels last: uint8[H, W, 3], which may not be written to."""
    if not data:
        raise ValueError("the file is empty")
    plain = raw_netpbm(data, input) if box is None else None
    if plain is None:
        plain = plain_jpeg(data, input, box, MAX_PIXELS, jpeg or jpeg_decoder())
    if plain is not None:
        return plain
    with opened(data) as image:
        return picture_pixels(image, input, box)


def raw_netpbm(data: bytes, input: ImageInput) -> np.ndarray | None:
    """The pixels of a binary PGM or PPM that has the input's size already, uint8[H, W, 3], which may not be written to.

    A set that was resized once and kept raw feeds a small network on a GPU, which decoding PNG or JPEG would not. None
    where Pillow has to look: another format or size, a comment in the header, more than 8 bits, or bytes missing.

    >>> raw_netpbm(b"P5 2 1 255 " + bytes([0, 255]), ImageInput((1, 2))).tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    found = _NETPBM.match(data)
    if found is None or input.crop < 1:
        return None
    width, height, channels = int(found[2]), int(found[3]), _CHANNELS[found[1]]
    if (height, width) != input.height_and_width or len(data) != found.end() + height * width * channels:
        return None
    pixels = np.frombuffer(data, np.uint8, offset=found.end()).reshape(height, width, channels)
    return pixels if channels == 3 else np.broadcast_to(pixels, (height, width, 3))


def picture_pixels(image: Image.Image, input: ImageInput, box: Box | None = None) -> np.ndarray:
    """As `decode_pixels`, of a picture that Pillow has opened or made."""
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS}")
    samples = samples_of(image)
    turn = _turn(image)
    side = turn in _ON_ITS_SIDE
    width, height = upright_size(image)
    part = None if box is None else clipped(box, width, height)
    wanted = detail_wanted(width, height, input, part)
    # lets the JPEG decoder skip detail that is scaled away
    image.draft("RGB", (wanted[1], wanted[0]) if side else wanted)
    upright = ImageOps.exif_transpose(image) if turn != 1 else image  # it copies, turned or not
    return framed(_to_rgb(upright, samples), input, part and scaled_box(part, (width, height), upright.size))


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of a picture that Pillow has opened, turned as its EXIF tag says."""
    return (image.height, image.width) if _turn(image) in _ON_ITS_SIDE else image.size


def _turn(image: Image.Image) -> int:
    """How the picture is still to be turned, as an EXIF orientation: Pillow turns a TIFF when it loads it."""
    if image.format == "TIFF" and image.width * image.height <= MAX_PIXELS:
        image.load()
    return image.getexif().get(ORIENTATION, 1)


def opened(data: bytes) -> Image.Image:
    """The image, its pixels not yet decoded.

    Raises:
        OSError: it is none that Pillow knows.
        ValueError: it claims to have far too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is stricter
            try:
                return Image.open(io.BytesIO(data))
            except UnidentifiedImageError:
                if not heif_is_known():
                    raise
                return Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise ValueError(f"more than {MAX_PIXELS} pixels") from error


@cache
def heif_is_known() -> bool:
    """Let Pillow open HEIC and HEIF, if pillow-heif is installed."""
    try:
        from pillow_heif import register_heif_opener  # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    register_heif_opener()
    return True


def _to_rgb(image: Image.Image, samples: Samples) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are 32-bit numbers of unknown range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        return grey_of(image, samples).convert("RGB")
    if samples.bits == 16:
        refuse_dark(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")
