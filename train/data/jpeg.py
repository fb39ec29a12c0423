"""The way of most images: a plain JPEG straight to the decoder, past the reading of headers that it does itself.

Pillow reads the segments of a JPEG in Python before libjpeg reads them again; for small images that takes as long as
the pixels. Here only the size is looked up. Whatever is not plain (turned by EXIF, CMYK, odd, damaged) is left to Pillow.

simplejpeg, where it is installed, hands the pixels over without a copy, which counts where nothing is resized. Both
decode with libjpeg-turbo, and their pixels are equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import numpy as np
from PIL import Image

from ...mining.errors import InputError
from .framing import Box, clipped, detail_wanted, framed, scaled_box
from .image_input import ImageInput
from .settings import DecoderSetting

Decoded = Image.Image | np.ndarray | None

_SKIPPED = frozenset((0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0))) - {0xE1, 0xEE}
"""Tables, restart intervals, comments and application data, but for EXIF and Adobe's: they change no pixel."""
_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
"""Baseline, extended and progressive, with Huffman codes."""
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class JpegDecoder:
    """A decoder of plain JPEGs, by name, so that it travels to loader workers as one."""

    name: Literal["pillow", "simplejpeg"]

    def __str__(self) -> str:
        return f"{self.name} {version(self.name)}"

    def __call__(self, data: bytes, mode: str, shape: tuple[int, int], scale: int) -> Decoded:
        """The image in RGB, `scale` times smaller: `shape`, (width, height); None where it is damaged."""
        return _BY_NAME[self.name](data, mode, shape, scale)


@cache
def jpeg_decoder(setting: DecoderSetting = "auto") -> JpegDecoder:
    """The decoder that a setting names; auto is the fastest that is installed.

    Raises:
        InputError: it is not installed.
    """
    if setting == "pillow":
        return JpegDecoder("pillow")
    try:
        version("simplejpeg")
    except PackageNotFoundError as error:
        if setting == "auto":
            return JpegDecoder("pillow")
        raise InputError(
            "data.decoder=simplejpeg: it is not installed; pip install 'subspace-mining[jpeg]', or leave it at auto"
        ) from error
    return JpegDecoder("simplejpeg")


def plain_jpeg(
    data: bytes, input: ImageInput, box: Box | None, most_pixels: int, decode: JpegDecoder
) -> np.ndarray | None:
    """The pixels inside `box`, fitted to `input`: uint8[H, W, 3]; None where Pillow has to look.

    The decoder leaves out detail that would be scaled away, as `Image.draft` has it do.

    Raises:
        ValueError: the box lies outside the image.
    """
    found = _frame(data)
    if found is None:
        return None
    width, height, mode = found
    if not 0 < width * height <= most_pixels:
        return None
    part = None if box is None else clipped(box, width, height)
    wanted_w, wanted_h = detail_wanted(width, height, input, part)
    scale = next(s for s in (8, 4, 2, 1) if s == 1 or min(width // wanted_w, height // wanted_h) >= s)
    shape = (-(-width // scale), -(-height // scale))
    rgb = decode(data, mode, shape, scale)
    if rgb is None:
        return None
    return framed(rgb, input, part and scaled_box(part, (width, height), shape))


def _by_pillow(data: bytes, mode: str, shape: tuple[int, int], scale: int) -> Decoded:
    try:
        image = Image.frombytes(mode, shape, data, "jpeg", mode, "", scale, 0)
    except (ValueError, OSError):  # damaged: Pillow says how
        return None
    return image if mode == "RGB" else image.convert("RGB")


def _by_simplejpeg(data: bytes, mode: str, shape: tuple[int, int], scale: int) -> Decoded:
    import simplejpeg

    try:
        pixels = simplejpeg.decode_jpeg(data, min_width=shape[0], min_height=shape[1])
    except ValueError:
        return None
    # Few pixels can be had from a smaller scale than was asked for.
    return pixels if pixels.shape[1::-1] == shape else None


_BY_NAME: dict[str, Callable[[bytes, str, tuple[int, int], int], Decoded]] = {
    "pillow": _by_pillow,
    "simplejpeg": _by_simplejpeg,
}


def _frame(data: bytes) -> tuple[int, int, str] | None:
    """Width, height and mode; None unless everything before the frame's header is as usual."""
    if data[:2] != b"\xff\xd8":
        return None
    at, end = 2, len(data) - 10
    while at < end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            mode = _MODES.get(data[at + 9])
            if mode is None or data[at + 4] != 8:
                return None
            return data[at + 7] << 8 | data[at + 8], data[at + 5] << 8 | data[at + 6], mode
        if marker not in _SKIPPED:
            return None
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return None
