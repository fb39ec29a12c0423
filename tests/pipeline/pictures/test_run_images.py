"""Thumbnails of a manifest's images."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from subspace.mining import Manifest
from subspace.pipeline.pictures.run_images import RunImages, network_input, placeholder
from subspace.train import ImageInput


def png(color: str, width: int = 40, height: int = 40, mode: str = "RGB") -> bytes:
    with io.BytesIO() as file:
        Image.new(mode, (width, height), color).save(file, "PNG")
        return file.getvalue()


def manifest(images: list[bytes], **more: list[object]) -> Manifest:
    empty = [None] * len(images)
    rows = {"image": images, "uri": [""] * len(images), "offset": empty, "length": empty, **more}
    return Manifest(Path("images.parquet"), pa.table(rows), fingerprint="0")


def opened(uri: str) -> Image.Image:
    head, data = uri.split(",", 1)
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def test_colour_and_grey_come_as_they_are() -> None:
    images = RunImages(manifest([png("red"), png("white", mode="L")]), input=ImageInput(40))
    red, white = opened(images.webp_uri(0, 40)), opened(images.webp_uri(1, 40))
    assert np.abs(np.asarray(red)[20, 20].astype(int) - (255, 0, 0)).max() < 12
    assert np.asarray(white).min() > 250
    assert images.thumbnail(0, 40).getpixel((20, 20)) == (255, 0, 0)  # pyright: ignore[reportOptionalMemberAccess]


def test_boxes_are_cropped() -> None:
    picture = Image.new("RGB", (40, 40), "red")
    picture.paste("blue", (10, 10, 20, 20))
    picture.save(file := io.BytesIO(), "PNG")
    box = {"x_1": [10], "y_1": [10], "x_2": [20], "y_2": [20]}
    small = RunImages(manifest([file.getvalue()], **box), input=ImageInput(16)).thumbnail(0, 16)
    assert small is not None
    assert small.getcolors() == [(256, (0, 0, 255))]


def test_a_thumbnail_is_of_the_networks_shape_and_no_larger_than_it() -> None:
    images = RunImages(manifest([png("red", 90, 60)]), input=ImageInput((112, 96), channels="BGR"))
    assert opened(images.webp_uri(0, 56)).size == (48, 56)
    assert opened(images.webp_uri(0, 300)).size == (96, 112)
    assert np.asarray(opened(images.webp_uri(0, 56)))[20, 20, 0] > 240, "red, whatever the network's order"
    assert opened(RunImages(manifest([png("red", 90, 60)])).webp_uri(0, 300)).size == (300, 300)


def test_an_unreadable_image_is_counted_once_and_drawn_as_a_placeholder() -> None:
    images = RunImages(manifest([png("red"), b"", b"not an image"]), input=ImageInput(32))
    images.load([0, 1, 2, 2], 32)
    drawn = np.asarray(opened(images.webp_uri(2, 32))).astype(int)
    assert np.abs(drawn - np.asarray(placeholder(32, 32))).mean() < 8
    assert images.thumbnail(2, 32) is None
    assert images.unreadable == {1: "the file is empty", 2: "not an image of a known format"}


def test_an_image_is_decoded_once_for_a_size(monkeypatch) -> None:
    images = RunImages(manifest([png("red"), png("blue")]), input=ImageInput(32))
    calls: list[list[int]] = []
    decode = images._store.decode_into
    monkeypatch.setattr(
        images._store, "decode_into", lambda p, rows, i: calls.append(rows.tolist()) or decode(p, rows, i)
    )
    images.load([1, 0, 1], 32)
    first = images.webp_uri(1, 32)
    assert images.webp_uri(1, 32) == first
    assert calls == [[0, 1]]
    assert images.bytes == sum(len(images.webp(row, 32)) for row in (0, 1))


def test_the_input_of_a_checkpoint_is_taken_where_it_is_sound() -> None:
    assert network_input(ImageInput(48).to_json()) == ImageInput(48)
    assert network_input({"size": "wide"}) is None
    assert network_input({}) is None
