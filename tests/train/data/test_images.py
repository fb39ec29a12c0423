"""Every common kind of image file becomes the same uint8 array; damage is a reason, never a crash."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from subspace.mining.errors import InputError, StoppedEarly
from subspace.mining.manifest import Manifest
from subspace.train.data.images import MAX_PIXELS, BadImage, ImageStore, decode_image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "WEBP": {"lossless": True}, "BMP": {}, "TIFF": {}}


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def decoded(image: Image.Image, format: str = "PNG", size: int = 8, **options: Any) -> np.ndarray:
    return decode_image(encoded(image, format, **options), size)


def random_image(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def smooth_image(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack((x, y, np.full_like(x, 90)), axis=2).astype(np.uint8))


def plane(colour: tuple[int, ...], size: int = 8) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (3, size, size))


# --- pixels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", LOSSLESS)
def test_lossless_files_of_the_wanted_size_give_their_pixels(format: str) -> None:
    image = random_image(8, 8)
    found = decoded(image, format, **LOSSLESS[format])
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, np.asarray(image).transpose(2, 0, 1))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (5, 40), (64, 64), (301, 150), (900, 700)])
def test_any_format_and_size_is_stretched_to_the_square(format: str, width: int, height: int) -> None:
    found = decoded(smooth_image(width, height), format, size=16).astype(int)
    assert found.shape == (3, 16, 16)
    if min(width, height) >= 40:
        centre = (np.arange(16) + 0.5) / 16 * 255
        colours = 40 if format == "GIF" else 12
        assert np.abs(found[0] - centre[None, :]).max() < colours
        assert np.abs(found[1] - centre[:, None]).max() < colours


GREY_200 = (200, 200, 200)
HALF_RED = (255, 127, 127)  # red at half opacity on white


def two_colour_palette(**info: Any) -> Image.Image:
    """Palette image of colour 1, (0, 80, 160); colour 0 is red."""
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 80, 160])
    image.info.update(info)
    return image


@pytest.mark.parametrize(
    ("image", "format", "colour"),
    [
        (Image.new("L", (8, 8), 200), "PNG", GREY_200),
        (Image.new("L", (8, 8), 200), "JPEG", GREY_200),
        (Image.new("L", (8, 8), 200), "TIFF", GREY_200),
        (Image.new("1", (8, 8), 1), "PNG", (255, 255, 255)),
        (Image.new("RGB", (8, 8), (10, 100, 250)), "JPEG", (10, 100, 250)),
        (Image.new("RGB", (8, 8), (10, 100, 250)), "GIF", (10, 100, 250)),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "PNG", HALF_RED),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "WEBP", HALF_RED),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "TIFF", HALF_RED),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 0)), "PNG", (255, 255, 255)),
        (Image.new("LA", (8, 8), (0, 55)), "PNG", GREY_200),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", (255, 0, 0)),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF", (255, 0, 0)),
        (two_colour_palette(), "PNG", (0, 80, 160)),
        (two_colour_palette(), "GIF", (0, 80, 160)),
        (two_colour_palette(), "BMP", (0, 80, 160)),
        (two_colour_palette(transparency=0), "PNG", (0, 80, 160)),
        (two_colour_palette(transparency=1), "PNG", (255, 255, 255)),
        (two_colour_palette(transparency=1), "GIF", (255, 255, 255)),
        (two_colour_palette(transparency=b"\xff\x80"), "PNG", (127, 167, 207)),
    ],
    ids=lambda value: getattr(value, "mode", value) if not isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("size", [8, 5])
def test_every_mode_becomes_rgb_on_a_white_ground(
    image: Image.Image, format: str, colour: tuple[int, ...], size: int
) -> None:
    found = decoded(image, format, size=size, **LOSSLESS.get(format, {}))
    assert np.abs(found.astype(int) - plane(colour, size)).max() <= (3 if format in ("JPEG", "WEBP") else 1)


@pytest.mark.parametrize("transparent", [{"L": 7}, {"RGB": (1, 2, 3)}, {"1": 0}])
def test_a_transparent_colour_is_white(transparent: dict[str, Any]) -> None:
    ((mode, colour),) = transparent.items()
    image = Image.new(mode, (8, 8), colour)
    np.testing.assert_array_equal(decoded(image, transparency=colour), plane((255, 255, 255)))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_high_byte(format: str) -> None:
    values = np.random.default_rng(0).integers(0, 1 << 16, (8, 8), np.uint16)
    found = decoded(Image.fromarray(values), format)
    np.testing.assert_array_equal(found, np.broadcast_to(values >> 8, (3, 8, 8)))


def test_big_endian_sixteen_bit_tiff_keeps_its_high_byte() -> None:
    short, long, pixels_at = 3, 4, 122
    entries = [
        *((256, short, 8), (257, short, 8), (258, short, 16), (259, short, 1), (262, short, 1)),
        *((273, long, pixels_at), (278, short, 8), (279, long, 128)),
    ]
    data = struct.pack(">2sHIH", b"MM", 42, 8, len(entries))
    for tag, kind, value in entries:
        data += struct.pack(">HHI", tag, kind, 1) + struct.pack(">I", value << 16 if kind == short else value)
    values = np.random.default_rng(0).integers(0, 1 << 16, (8, 8)).astype(">u2")
    data = data.ljust(pixels_at, b"\0") + values.tobytes()
    np.testing.assert_array_equal(decode_image(data, 8), np.broadcast_to(values >> 8, (3, 8, 8)))


@pytest.mark.parametrize("pixels", [np.full((8, 8), 0.5, np.float32), np.full((8, 8), 200, np.int32)])
def test_numbers_of_unknown_range_are_no_black_image(pixels: np.ndarray) -> None:
    """A float TIFF in 0..1, or a 32-bit one in 0..255."""
    with pytest.raises(ValueError, match="save it with 8 or 16 bits"):
        decoded(Image.fromarray(pixels), "TIFF")


def turned_for(orientation: int, upright: np.ndarray) -> np.ndarray:
    """The stored pixels that EXIF `orientation` turns into `upright`, from the table of the EXIF standard."""
    height, width = upright.shape[:2]
    stored = np.empty((width, height, 3) if orientation >= 5 else upright.shape, np.uint8)
    for top in range(height):
        for left in range(width):
            right, bottom = width - 1 - left, height - 1 - top
            # "2: the 0th row is at the top, the 0th column at the right": the pixel's (row, column) as stored
            row_column = {1: (top, left), 2: (top, right), 3: (bottom, right), 4: (bottom, left)}
            row_column |= {5: (left, top), 6: (right, top), 7: (right, bottom), 8: (left, bottom)}
            stored[row_column[orientation]] = upright[top, left]
    return stored


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_exif_says_how_to_stand_upright(orientation: int, format: str) -> None:
    upright = np.asarray(smooth_image(48, 32))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(turned_for(orientation, upright))
    options = {"quality": 95} if format == "JPEG" else LOSSLESS[format]
    found = decoded(stored, format, size=16, exif=exif, **options)
    expected = decoded(Image.fromarray(upright), "PNG", size=16)
    assert np.abs(found.astype(int) - expected).max() <= 8


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for format in ("GIF", "WEBP", "PNG", "TIFF"):
        found = decoded(
            frames[0], format, save_all=True, append_images=frames[1:], **LOSSLESS.get(format, {})
        )
        np.testing.assert_array_equal(found, plane((255, 0, 0)))


# --- damage ----------------------------------------------------------------------------------------------


def store_of(folder: Path, *images: bytes | None, **columns: Any) -> ImageStore:
    n = max(len(images), *(len(values) for values in columns.values()), 0) if columns else len(images)
    table = {
        "uri": pa.array(columns.get("uri", [""] * n), pa.string()).dictionary_encode(),
        "offset": pa.array(columns.get("offset", [None] * n), pa.int64()),
        "length": pa.array(columns.get("length", [None] * n), pa.int64()),
    }
    if images:
        table["image"] = pa.array(images, pa.binary())
    return ImageStore(Manifest(folder / "manifest.parquet", pa.table(table), "f"))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about damaged EXIF
@pytest.mark.parametrize("format", FORMATS)
def test_truncated_images_are_bad_at_any_length(format: str, tmp_path: Path) -> None:
    whole = encoded(smooth_image(40, 30), format)
    step = max(1, len(whole) // 40)
    pieces = [whole[:length] for length in range(0, len(whole) - 20, step)]
    store = store_of(tmp_path, *pieces)
    for image_id in range(len(pieces)):
        bad = store.decode(image_id, 16)
        assert isinstance(bad, BadImage)
        assert bad.image_id == image_id
        assert bad.reason
        with pytest.raises((OSError, ValueError)):
            decode_image(pieces[image_id], 16)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("format", FORMATS)
def test_damaged_images_are_bad_or_decode(format: str, tmp_path: Path) -> None:
    whole = encoded(smooth_image(40, 30), format)
    rng = np.random.default_rng(0)
    pieces = []
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = rng.integers(256)
        pieces.append(bytes(damaged))
    store = store_of(tmp_path, *pieces)
    for image_id in range(len(pieces)):
        found = store.decode(image_id, 16)
        assert isinstance(found, BadImage) or found.shape == (3, 16, 16)


@pytest.mark.parametrize(
    "data", [b"", b"not an image", bytes(1000), b"\x89PNG\r\n\x1a\n", b"<svg/>", b"%PDF-1.4"]
)
def test_what_is_no_image_is_bad(data: bytes, tmp_path: Path) -> None:
    bad = store_of(tmp_path, data).decode(0, 8)
    assert isinstance(bad, BadImage)
    assert bad.reason
    assert (bad.reason == "the file is empty") == (data == b"")
    with pytest.raises((OSError, ValueError)):
        decode_image(data, 8)


def test_the_same_damage_has_the_same_reason(tmp_path: Path) -> None:
    store = store_of(tmp_path, b"not an image")
    held = [store.decode(0, 8), bytearray(1 << 12), store.decode(0, 8)]
    assert held[0] == held[2]
    assert "0x" not in str(held[0])


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_claimed_sizes_are_refused_before_decoding(tmp_path: Path) -> None:
    side = int(MAX_PIXELS**0.5)
    claims = [
        (side + 1, side + 1),
        (10_000, 10_000),
        (20_000, 20_000),
        (2**31 - 1, 2**31 - 1),
        (MAX_PIXELS + 1, 1),
    ]
    store = store_of(tmp_path, *(png_header(*claim) for claim in claims))
    for image_id in range(len(claims)):
        bad = store.decode(image_id, 8)
        assert isinstance(bad, BadImage)
        assert "pixels" in bad.reason
    with pytest.raises(OSError, match="truncated"):
        decode_image(png_header(100, 100), 8)  # small enough to be decoded, and then the pixels end


def test_huge_claims_are_value_errors_as_documented() -> None:
    with pytest.raises(ValueError, match="pixels"):
        decode_image(png_header(20_000, 20_000), 8)


def test_large_claims_make_no_noise() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="more than"):
            decode_image(png_header(10_000, 10_000), 8)


# --- places ----------------------------------------------------------------------------------------------


def test_images_come_from_the_manifest_files_and_byte_ranges(tmp_path: Path) -> None:
    first, second = encoded(random_image(8, 8, 1)), encoded(random_image(8, 8, 2))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "zoë 1.png").write_bytes(first)
    (tmp_path / "shard.tar").write_bytes(b"header" + first + second + b"trailer")
    rows = [
        ("pictures/zoë 1.png", None, None, None, first),
        (str(tmp_path / "pictures" / "zoë 1.png"), None, None, None, first),
        (f"file://{tmp_path}/shard.tar", 6, len(first), None, first),
        ("shard.tar", 6 + len(first), len(second), None, second),
        ("shard.tar", None, 6, None, b"header"),
        ("shard.tar", 6 + len(first) + len(second), None, None, b"trailer"),
        ("shard.tar", 6, 0, None, b""),
        ("inline wins over this", None, None, second, second),
    ]
    uri, offset, length, inline, expected = (list(column) for column in zip(*rows, strict=True))
    store = store_of(tmp_path, *inline, uri=uri, offset=offset, length=length)
    assert [store.read(image_id) for image_id in range(len(rows))] == expected
    found = store.decode(3, 8)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, decode_image(second, 8))
    without_column = store_of(tmp_path, uri=["shard.tar"], offset=[0], length=[6])
    assert without_column.read(0) == b"header"


def test_uris_are_relative_to_the_manifest_and_not_to_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "a.png").write_bytes(b"wrong")
    (tmp_path / "data" / "a.png").write_bytes(b"right")
    monkeypatch.chdir(tmp_path)
    store = store_of(Path("data"), uri=["a.png"])
    monkeypatch.chdir(tmp_path.parent)
    assert store.read(0) == b"right"


def test_file_uris_as_python_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "a b.png"
    path.write_bytes(b"pixels")
    assert store_of(tmp_path, uri=[path.as_uri()]).read(0) == b"pixels"


def test_files_that_are_missing_or_too_short_are_bad(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(encoded(random_image(8, 8)))
    size = (tmp_path / "short").stat().st_size
    store = store_of(
        tmp_path,
        uri=["none.png", "short", "short", "short", "."],
        offset=[None, 0, 10, size + 5, None],
        length=[None, size + 1, size, 1, None],
    )
    for image_id, message in enumerate(
        [
            "No such file",
            f"ends before byte {size + 1}",
            f"ends before byte {size + 10}",
            f"byte {size + 6}",
            "directory",
        ]
    ):
        with pytest.raises(OSError, match=message):
            store.read(image_id)
        bad = store.decode(image_id, 8)
        assert isinstance(bad, BadImage)
        assert message in bad.reason


@pytest.mark.parametrize("uri", ["a\0.png", "file://[a/b.png"])
def test_a_uri_that_can_be_no_file_is_a_bad_image(uri: str, tmp_path: Path) -> None:
    bad = store_of(tmp_path, uri=[uri]).decode(0, 8)
    assert isinstance(bad, BadImage)
    assert uri.replace("\0", "\\x00") in bad.reason


@pytest.mark.parametrize("uri", ["ftp://bucket/a.png", "github://org/a.png"])
def test_remote_files_are_refused_as_wrong_input(uri: str, tmp_path: Path) -> None:
    store = store_of(tmp_path, uri=[uri])
    for read in (lambda: store.read(0), lambda: store.decode(0, 8)):
        with pytest.raises(InputError, match="remote files are read from") as error:
            read()
        assert uri in str(error.value)
        assert "\n" not in str(error.value)


def test_a_signal_while_decoding_is_no_bad_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: object) -> None:
        raise StoppedEarly("stopped by SIGTERM")

    monkeypatch.setattr("subspace.train.data.images.decode_pixels", stopped)
    with pytest.raises(StoppedEarly):
        store_of(tmp_path, b"pixels").decode(0, 8)
