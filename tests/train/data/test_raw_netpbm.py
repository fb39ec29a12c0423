"""Raw pixels of the network's size are what Pillow reads from them, and everything else is left to Pillow.

Covers train/data/images.py, too.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from subspace.train.data.image_input import ImageInput
from subspace.train.data.images import decode_pixels, raw_netpbm


def pixels_of(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, channels), np.uint8)


def saved(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PPM")
    return buffer.getvalue()


@given(height=st.integers(1, 40), width=st.integers(1, 40), channels=st.sampled_from([1, 3]))
def test_it_is_what_pillow_saved(height: int, width: int, channels: int) -> None:
    pixels = pixels_of(height, width, channels)
    found = raw_netpbm(saved(pixels), ImageInput((height, width)))
    assert found is not None
    assert np.array_equal(found, np.broadcast_to(pixels, (height, width, 3)))


@pytest.mark.parametrize(
    ("data", "input"),
    [
        (saved(pixels_of(4, 6, 3)), ImageInput((6, 4))),  # another size
        (saved(pixels_of(4, 6, 3)), ImageInput((4, 6), resize="crop", crop=0.5)),  # only a part of it
        (b"P5 # a comment\n2 1 255\n" + bytes(2), ImageInput((1, 2))),
        (b"P5 2 1 65535 " + bytes(4), ImageInput((1, 2))),
        (b"P2 2 1 255 0 7", ImageInput((1, 2))),  # in digits
        (saved(pixels_of(4, 6, 3))[:-1], ImageInput((4, 6))),  # a byte short
        (b"", ImageInput((4, 6))),
    ],
)
def test_whatever_is_not_plain_is_left_to_pillow(data: bytes, input: ImageInput) -> None:
    assert raw_netpbm(data, input) is None


def test_a_box_is_cut_out() -> None:
    pixels = pixels_of(4, 6, 3)
    assert np.array_equal(decode_pixels(saved(pixels), ImageInput((4, 3)), box=(0, 0, 3, 4)), pixels[:, :3])
