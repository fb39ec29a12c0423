"""The short way of plain JPEGs gives what Pillow's own gives, and leaves everything else to it."""

from __future__ import annotations

import io
from importlib.metadata import PackageNotFoundError as NoPackage
from typing import Any

import numpy as np
import pytest
from PIL import Image

from subspace.mining.errors import InputError
from subspace.train.data.image_input import ImageInput
from subspace.train.data.jpeg import JpegDecoder, jpeg_decoder, plain_jpeg

MANY = 10**8
DECODERS = [jpeg_decoder("pillow"), jpeg_decoder("simplejpeg")]


def plain(data: bytes, size: int, most: int = MANY, decoder: JpegDecoder = DECODERS[0]) -> np.ndarray | None:
    return plain_jpeg(data, ImageInput(size), None, most, decoder)


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    small = np.random.default_rng(width).integers(0, 256, (9, 9, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def by_pillow(data: bytes, size: int) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (size, size))
    rgb = image.convert("RGB")
    if rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(rgb)


@pytest.mark.parametrize("decoder", DECODERS, ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    ("width", "height"), [(8, 8), (32, 32), (113, 90), (224, 250), (700, 1000), (9, 700)]
)
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30, "subsampling": 0}, {"optimize": True, "comment": b"x" * 300}])  # fmt: skip
def test_pixels_are_those_of_pillow(
    mode: str, width: int, height: int, options: dict[str, Any], decoder: JpegDecoder
) -> None:
    data = jpeg(picture(width, height, mode), **options)
    for size in (8, 32, 112):
        found = plain(data, size, decoder=decoder)
        assert found is not None
        np.testing.assert_array_equal(found, by_pillow(data, size))


def test_the_fastest_decoder_that_is_installed_is_taken_unless_another_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert jpeg_decoder().name == "simplejpeg"
    assert jpeg_decoder("pillow").name == "pillow"
    assert str(jpeg_decoder()).startswith("simplejpeg 1.")
    monkeypatch.setattr("subspace.train.data.jpeg.version", lambda name: (_ for _ in ()).throw(NoPackage))
    jpeg_decoder.cache_clear()
    assert jpeg_decoder().name == "pillow"
    with pytest.raises(InputError, match=r"subspace-mining\[jpeg\]"):
        jpeg_decoder("simplejpeg")
    jpeg_decoder.cache_clear()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(picture(20, 30), exif=exif)


def png() -> bytes:
    picture(20, 20).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


WHOLE = jpeg(picture(40, 40))


@pytest.mark.parametrize("data", [
    turned(), png(), jpeg(picture(20, 20, "CMYK")), b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff", WHOLE[:100], WHOLE[:-200],
    WHOLE[:2] + b"\x00" + WHOLE[2:], WHOLE[:2] + b"\xff\xff\xff\xff" + WHOLE[2:],
])  # fmt: skip
@pytest.mark.parametrize("decoder", DECODERS, ids=str)
def test_what_is_not_plain_is_left_to_pillow(data: bytes, decoder: JpegDecoder) -> None:
    assert plain(data, 16, decoder=decoder) is None


def test_a_size_is_refused_before_anything_is_decoded() -> None:
    assert plain(WHOLE, 16, 40 * 40) is not None
    assert plain(WHOLE, 16, 40 * 40 - 1) is None
    at = WHOLE.index(b"\xff\xc0") + 5
    for shape in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x28", b"\x00\x28\x00\x00"):
        assert plain(WHOLE[:at] + shape + WHOLE[at + 4 :], 16, 50_000_000) is None


def test_a_frame_that_lies_about_its_size_gives_nothing_or_what_pillow_gives() -> None:
    at = WHOLE.index(b"\xff\xc0") + 5
    for height, width in ((41, 40), (400, 400), (8, 8), (40, 9)):
        lying = WHOLE[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + WHOLE[at + 4 :]
        for decoder in DECODERS:
            found = plain(lying, 16, decoder=decoder)
            if found is not None:
                np.testing.assert_array_equal(found, by_pillow(lying, 16))


def test_bytes_at_random_break_nothing() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(WHOLE)
        for at in random.integers(2, len(data), 3):
            data[at] = random.integers(256)
        for decoder in DECODERS:
            found = plain(bytes(data), 16, 50_000_000, decoder)
            assert found is None or found.shape == (16, 16, 3)
