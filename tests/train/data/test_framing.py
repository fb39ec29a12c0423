"""Images become the pixels that the rule asks for: against slow geometry, and against Pillow step by step."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from subspace.mining.manifest import Manifest
from subspace.train.data.framing import resized_shape
from subspace.train.data.image_input import ImageInput
from subspace.train.data.images import BadImage, ImageStore, decode_pixels


def smooth(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards, by one a pixel."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack((x, y, np.full_like(x, 90)), axis=2).astype(np.uint8))


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    image.save(buffer := io.BytesIO(), format, **options)
    return buffer.getvalue()


def step_by_step(image: Image.Image, input: ImageInput) -> np.ndarray:
    """Resize and CenterCrop as torchvision defines them, for a square input."""
    assert isinstance(input.size, int)
    short = int(input.size / input.crop)
    if image.width <= image.height:
        shape = (short, int(short * image.height / image.width))
    else:
        shape = (int(short * image.width / image.height), short)
    resized = image.resize(shape, Image.Resampling.BICUBIC)
    left, top = round((shape[0] - input.size) / 2), round((shape[1] - input.size) / 2)
    return np.asarray(resized.crop((left, top, left + input.size, top + input.size)))


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (64, 64), (20, 90), (250, 251)])
@pytest.mark.parametrize("crop", [1.0, 0.875, 0.9])
def test_crop_is_torchvisions_resize_and_centre_crop(width: int, height: int, crop: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    input = ImageInput(64, resize="crop", crop=crop, interpolation="bicubic")
    found, expected = decode_pixels(encoded(image), input), step_by_step(image, input)
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 12  # where Pillow shrinks by a whole number first
    assert difference.mean() < 1
    if min(width, height) < 3 * 64:
        assert (
            difference.max() <= 3
        )  # Pillow may do height and width in another order, and rounds between them


def test_the_centre_of_a_very_long_image_needs_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it at 112 px would be 1.1 million pixels wide."""
    sizes: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def watched(self: Image.Image, size: tuple[int, int], *arguments: Any, **named: Any) -> Image.Image:
        sizes.append(size)
        return resize(self, size, *arguments, **named)

    long = Image.new("RGB", (100_000, 10), (9, 8, 7))
    long.paste((200, 100, 50), (49_980, 0, 50_020, 10))
    thin = encoded(Image.new("L", (1, 2_000_000), 7))
    monkeypatch.setattr(Image.Image, "resize", watched)
    found = decode_pixels(encoded(long), ImageInput(112, resize="crop"))
    assert found[50, 56].tolist() == [200, 100, 50]
    assert decode_pixels(thin, ImageInput(112, resize="crop")).tolist() == np.full((112, 112, 3), 7).tolist()
    assert set(sizes) == {(112, 112)}


@given(
    st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 300), st.integers(1, 300), st.floats(0.3, 1)
)
def test_a_crop_always_has_enough_and_a_letterbox_never_too_much(
    width: int, height: int, H: int, W: int, crop: float
) -> None:
    w, h = resized_shape(width, height, ImageInput((H, W), resize="crop", crop=crop))
    assert w >= W
    assert h >= H
    assert w == int(W / crop) or h == int(H / crop)
    w, h = resized_shape(width, height, ImageInput((H, W), resize="letterbox"))
    assert 1 <= w <= W
    assert 1 <= h <= H
    assert w == W or h == H


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_letterbox_keeps_the_shape_and_fills_with_black(format: str) -> None:
    found = decode_pixels(encoded(smooth(200, 100), format), ImageInput((60, 80), resize="letterbox"))
    assert found.shape == (60, 80, 3)
    assert not found[:9].any()
    assert not found[51:].any()
    assert found[11:49].any(axis=2).all()
    middle = found[30].astype(int)
    assert np.abs(middle[:, 0] - (np.arange(80) + 0.5) * 2.5).max() < 8


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "box", "nearest"])
def test_interpolation_is_pillows(interpolation: str) -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 30, 3), np.uint8))
    kind = getattr(Image.Resampling, interpolation.upper())
    found = decode_pixels(encoded(image), ImageInput((25, 20), interpolation=interpolation))  # pyright: ignore
    np.testing.assert_array_equal(found, np.asarray(image.resize((20, 25), kind)))


def store_of(tmp_path: Path, data: bytes, *boxes: tuple[int, int, int, int] | None) -> ImageStore:
    (tmp_path / "image").write_bytes(data)
    n = len(boxes)
    sides = [[box[i] if box else None for box in boxes] for i in range(4)]
    rows = {"uri": ["image"] * n, "offset": pa.nulls(n, pa.int64()), "length": pa.nulls(n, pa.int64())}
    rows |= {
        name: pa.array(side, pa.int32())
        for name, side in zip(("x_1", "y_1", "x_2", "y_2"), sides, strict=True)
    }
    return ImageStore(Manifest(tmp_path / "m.parquet", pa.table(rows), fingerprint="0"))


def test_a_box_is_cut_out_pixel_for_pixel(tmp_path: Path) -> None:
    image = smooth(100, 80)
    store = store_of(tmp_path, encoded(image), (10, 20, 42, 52), None, (80, 60, 130, 90))
    np.testing.assert_array_equal(
        store.decode(0, 32).transpose(1, 2, 0),
        np.asarray(image.crop((10, 20, 42, 52))),  # pyright: ignore
    )
    assert store.decode(1, ImageInput((80, 100)))[0, 0, -1] == 99  # pyright: ignore[reportIndexIssue]
    np.testing.assert_array_equal(
        store.decode(2, ImageInput((20, 20))).transpose(1, 2, 0),  # pyright: ignore
        np.asarray(image.crop((80, 60, 100, 80))),
    )


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_box_is_cut_before_it_is_resized(format: str, tmp_path: Path) -> None:
    """As Open Metric Learning does: no pixel beside the box reaches the result."""
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (60, 50, 3), np.uint8))
    data = encoded(noise, format)
    with Image.open(io.BytesIO(data)) as image:
        cut = (
            image.convert("RGB")
            .crop((7, 9, 40, 50))
            .resize((20, 20), Image.Resampling.BILINEAR, reducing_gap=3)
        )
    found = store_of(tmp_path, data, (7, 9, 40, 50)).decode(0, 20)
    np.testing.assert_array_equal(found.transpose(1, 2, 0), np.asarray(cut))  # pyright: ignore


def test_a_box_outside_its_image_is_a_bad_image(tmp_path: Path) -> None:
    for format in ("PNG", "JPEG"):
        store = store_of(tmp_path, encoded(smooth(100, 80), format), (100, 0, 120, 80), (0, 90, 5, 95))
        for image_id in (0, 1):
            bad = store.decode(image_id, 32)
            assert isinstance(bad, BadImage)
            assert "lies outside the image of 100 × 80 px" in bad.reason


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF"])
def test_boxes_count_in_the_upright_image_however_it_is_stored(
    orientation: int, format: str, tmp_path: Path
) -> None:
    """A large JPEG is decoded at a part of its size, and the box follows."""
    upright = smooth(240, 160)
    turn = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
            7: "TRANSVERSE", 8: "ROTATE_270"}.get(orientation)  # fmt: skip
    stored = upright.transpose(getattr(Image.Transpose, turn)) if turn else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, format, exif=exif, **({"quality": 98} if format == "JPEG" else {}))
    store = store_of(tmp_path, data, (40, 80, 200, 160))
    found = store.decode(0, ImageInput((20, 40)))
    assert isinstance(found, np.ndarray)
    assert np.abs(found[0].astype(int) - (40 + (np.arange(40) + 0.5) * 4 - 0.5)[None]).max() <= 4
    assert np.abs(found[1].astype(int) - (80 + (np.arange(20) + 0.5) * 4 - 0.5)[:, None]).max() <= 4
