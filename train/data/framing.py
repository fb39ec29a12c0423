"""An image of any size and shape to the pixels that a network takes: cut to its box, resized, cropped or padded."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .image_input import ImageInput

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels of the upright image; right and bottom are exclusive, as in Pillow."""

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}
_REDUCING_GAP = 3.0
"""Pillow shrinks by whole numbers first while three times the wanted detail is left: faster, and hardly to be seen."""


def resized_shape(width: int, height: int, input: ImageInput) -> tuple[int, int]:
    """Width and height that an image is resized to, before it is cropped or padded.

    crop resizes the shorter side to size / crop and cuts the longer one off below a whole pixel, as torchvision's
    Resize does; letterbox rounds.

    >>> resized_shape(400, 200, ImageInput(224, resize="crop", crop=0.875))
    (512, 256)
    >>> resized_shape(400, 200, ImageInput(112, resize="letterbox"))
    (112, 56)
    """
    if input.resize == "stretch":
        return input.width, input.height
    if input.resize == "letterbox":
        scale = min(input.width / width, input.height / height)
        return max(1, round(width * scale)), max(1, round(height * scale))
    least_w, least_h = int(input.width / input.crop), int(input.height / input.crop)
    if least_w * height > least_h * width:  # the width is what has to grow most
        return least_w, max(least_h, int(least_w * height / width))
    return max(least_w, int(least_h * width / height)), least_h


def clipped(box: Box, width: int, height: int) -> Box:
    """The part of a box that lies inside the image.

    Raises:
        ValueError: none of it does.
    """
    left, top, right, bottom = max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3])
    if left >= right or top >= bottom:
        raise ValueError(f"the box {box} lies outside the image of {width} × {height} px")
    return left, top, right, bottom


def detail_wanted(width: int, height: int, input: ImageInput, box: Box | None) -> tuple[int, int]:
    """The smallest width and height of the whole image that still have all the detail that is asked for."""
    left, top, right, bottom = (0, 0, width, height) if box is None else box
    wanted_w, wanted_h = resized_shape(right - left, bottom - top, input)
    return -(-wanted_w * width // (right - left)), -(-wanted_h * height // (bottom - top))


def scaled_box(
    box: Box, whole: tuple[int, int], decoded: tuple[int, int]
) -> tuple[float, float, float, float]:
    """A box in an image that was decoded smaller than it is; both sizes are (width, height)."""
    x, y = decoded[0] / whole[0], decoded[1] / whole[1]
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def framed(
    rgb: Image.Image | np.ndarray, input: ImageInput, box: tuple[float, float, float, float] | None
) -> np.ndarray:
    """The pixels of an RGB image (uint8[h, w, 3]), inside `box` if there is one: uint8[H, W, 3], not to be written to."""
    if box is not None and all(side == int(side) for side in box):
        # Cut first, as others do: a filter over the whole image would see what lies beside the box.
        left, top, right, bottom = map(int, box)
        rgb, box = _image(rgb).crop((left, top, right, bottom)), None
    size = rgb.shape[1::-1] if isinstance(rgb, np.ndarray) else rgb.size
    left, top, right, bottom = (0.0, 0.0, *size) if box is None else box
    wanted = resized_shape(max(1, round(right - left)), max(1, round(bottom - top)), input)
    if input.resize == "crop" and wanted != (input.width, input.height):
        # Only what is kept is resized, as all of a long image would not fit in memory; pixels differ from those of resizing
        # all by rounding.
        x, y = (right - left) / wanted[0], (bottom - top) / wanted[1]
        left += round((wanted[0] - input.width) / 2) * x
        top += round((wanted[1] - input.height) / 2) * y
        wanted = (input.width, input.height)
        box = (left, top, min(left + wanted[0] * x, size[0]), min(top + wanted[1] * y, size[1]))
    if wanted != size or box is not None:
        gap = None if input.interpolation == "nearest" else _REDUCING_GAP
        rgb = _image(rgb).resize(wanted, _FILTERS[input.interpolation], box, reducing_gap=gap)
    pixels = np.asarray(rgb)
    if input.resize == "letterbox" and wanted != (input.width, input.height):
        canvas = np.zeros((input.height, input.width, 3), np.uint8)
        top, left = (input.height - wanted[1]) // 2, (input.width - wanted[0]) // 2
        canvas[top : top + wanted[1], left : left + wanted[0]] = pixels
        return canvas
    return pixels


def _image(rgb: Image.Image | np.ndarray) -> Image.Image:
    return Image.fromarray(rgb) if isinstance(rgb, np.ndarray) else rgb
