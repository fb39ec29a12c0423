"""The way of most images: a plain JPEG straight to the decoder, past the reading of headers that it does itself.

Pillow reads the segments of a JPEG in Python before libjpeg reads them again; for small images that takes as long as
the pixels. Here only the size is looked up. Whatever is not plain (turned by EXIF, CMYK, odd, damaged) is left to Pillow.
"""

from __future__ import annotations

from PIL import Image

_SKIPPED = frozenset((0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0))) - {0xE1, 0xEE}
"""Tables, restart intervals, comments and application data, but for EXIF and Adobe's: they change no pixel."""
_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
"""Baseline, extended and progressive, with Huffman codes."""
_MODES = {1: "L", 3: "RGB"}


def plain_jpeg(data: bytes, size: int, most_pixels: int) -> Image.Image | None:
    """The image, in RGB or grey, not much larger than `size` × `size`; None where Pillow has to look.

    The JPEG decoder leaves out detail that would be scaled away, as `Image.draft` has it do.
    """
    found = _frame(data)
    if found is None:
        return None
    width, height, mode = found
    if not 0 < width * height <= most_pixels:
        return None
    scale = next(s for s in (8, 4, 2, 1) if s == 1 or min(width // size, height // size) >= s)
    shape = (-(-width // scale), -(-height // scale))
    try:
        return Image.frombytes(mode, shape, data, "jpeg", mode, "", scale, 0)
    except (ValueError, OSError):  # damaged: Pillow says how
        return None


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
