"""12-bit data in 16-bit files is refused, never black; what says its range is scaled by it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from subspace.train.data.deep_pixels import samples_of
from subspace.train.data.images import decode_image

RAMP = np.linspace(0, 1, 64).reshape(8, 8)
BYTES = np.broadcast_to((RAMP * 65535).astype(np.int64) >> 8, (3, 8, 8))


def grey(top: int, format: str) -> bytes:
    Image.fromarray((RAMP * top).astype(np.uint16)).save(file := io.BytesIO(), format)
    return file.getvalue()


def png(top: int, channels: int, colour_type: int) -> bytes:
    """A 16-bit PNG, which Pillow does not write in colour."""
    pixels = np.repeat((RAMP * top).astype(">u2")[..., None], channels, 2)
    header = struct.pack(">IIBBBBB", 8, 8, 16, colour_type, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data


def tiff(pixels: bytes, bits: int, photometric: int = 1) -> bytes:
    tags = [(256, 8), (257, 8), (258, bits), (259, 1), (262, photometric), (273, 122), (277, 1), (278, 8), (279, len(pixels))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags)
    return (b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)).ljust(122, b"\0") + pixels


@pytest.mark.parametrize(
    "data",
    [
        grey(4095, "TIFF"), grey(4095, "PNG"), grey(1023, "TIFF"), grey(255, "PNG"),
        png(4095, 3, 2), png(4095, 2, 4), png(4095, 4, 6), png(255, 3, 2),
    ],
)  # fmt: skip
def test_what_may_be_12_bit_data_is_no_black_image(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"all below 4,096, .*scale it to 16 bits, or save it with 8"):
        decode_image(data, 8)


def test_what_is_dark_or_black_beyond_doubt_stays() -> None:
    assert decode_image(grey(4096, "PNG"), 8).max() == 16
    assert decode_image(grey(0, "PNG"), 8).max() == 0
    assert decode_image(png(65535, 3, 2), 8).max() == 255


def test_a_range_that_the_file_says_is_used() -> None:
    values = (RAMP * 4095).astype(int).ravel()
    packed = bytes(np.stack((values[::2] >> 4, (values[::2] & 15) << 4 | values[1::2] >> 8, values[1::2] & 255), 1).astype(np.uint8).ravel())  # fmt: skip
    np.testing.assert_allclose(decode_image(tiff(packed, 12), 8), BYTES, atol=1)
    for top in (4095, 65535):
        body = b"P5 8 8 %d\n" % top + (RAMP * top).astype(">u2").tobytes()
        np.testing.assert_allclose(decode_image(body, 8), BYTES, atol=1)
    white_is_zero = decode_image(tiff((RAMP * 65535).astype("<u2").tobytes(), 16, photometric=0), 8)
    np.testing.assert_array_equal(white_is_zero, 255 - BYTES)


@pytest.mark.parametrize("bits", [8, 16])
def test_samples_are_known_before_the_pixels_are(bits: int) -> None:
    data = png(65535, 3, 2) if bits == 16 else b"P5 1 1 255\n\0"
    assert samples_of(Image.open(io.BytesIO(data))).bits == bits
