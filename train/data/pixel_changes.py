"""Changes of pixels on any device: crop, colour, grey, blur, low resolution, rectangles.

Images are float32[b, 3, H, W] of whole levels 0..255, going in and coming out, as if each change had written an 8-bit
image, like Pillow's. Nothing here waits for a device: what there is to decide is decided on the host, and no shape depends on
a pixel. Sums over pixels are of whole levels times multiples of 2^-16, below 2^24, so float32 has them exactly: images
do not depend on how many others are beside them, nor on threads.

kornia does hue and blur. Its blur by sigma looks at the sigmas, which waits for a GPU, so it is given the taps. Its crops go
through projections whose pixel grid is not that of `resize`; torch's own grid sampling is.
"""

from __future__ import annotations

import math
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

from ...mining.errors import InputError

GREY = (19595 / 2**16, 38470 / 2**16, 7471 / 2**16)
"""Shares of red, green and blue in grey (ITU-R BT.601), as Pillow rounds them."""
ERASED = 128.0
"""Level of erased pixels, about 0 for a network."""


def crop_and_resize(images: Tensor, boxes: Tensor) -> Tensor:
    """Each image's box, enlarged to the image: bilinear, edges repeated.

    Args:
        boxes: float32[b, 4]: top, left, height, width, as shares of the image's.
    """
    top, left, height, width = boxes[:, :, None].unbind(1)
    # In the -1..1 of grid_sample, whose ends are the outer edges of the pixels.
    y, x = ((2 * torch.arange(n, device=images.device) + 1) / n - 1 for n in images.shape[2:])
    down, across = y * height + (2 * top + height - 1), x * width + (2 * left + width - 1)
    size = (len(images), *images.shape[2:])
    grid = torch.stack([across[:, None, :].expand(size), down[:, :, None].expand(size)], dim=3)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False).round_()


def brighten(images: Tensor, factors: Tensor) -> Tensor:
    """Levels times a factor, float32[b], as Pillow's ImageEnhance.Brightness."""
    return _levels(images * _each(factors))


def change_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Distances to the image's mean grey times a factor, float32[b], as Pillow's ImageEnhance.Contrast."""
    height, width = images.shape[2:]
    total = grey(images)[:, 0].to(torch.int32).sum(dim=(1, 2))  # of whole numbers, so exact
    mean = _each((total / (height * width)).add_(0.5).floor_())
    return _levels(mean + (images - mean) * _each(factors))


def saturate(images: Tensor, factors: Tensor) -> Tensor:
    """Distances to the grey image times a factor, float32[b], as Pillow's ImageEnhance.Color."""
    shades = grey(images)
    return _levels(shades + (images - shades) * _each(factors))


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of each image by a share of the colour circle, float32[b]; kornia's `adjust_hue`."""
    return _levels(_kornia("hue").enhance.adjust_hue(images / 255, turns * (2 * math.pi)) * 255)


def grey(images: Tensor) -> Tensor:
    """Grey images with three equal channels."""
    red, green, blue = images.unbind(1)
    shades = (red * GREY[0] + green * GREY[1] + blue * GREY[2]).add_(0.5).floor_()
    return shades[:, None].expand_as(images)


def blur(images: Tensor, taps: Tensor) -> Tensor:
    """Blur each image by its taps along both axes, edges repeated; kornia's `filter2d`.

    Args:
        taps: float32[b, 2R+1], multiples of 2^-16.
    """
    filter2d = _kornia("blur").filters.filter2d
    for kernel in (taps[:, None, :], taps[:, :, None]):
        images = filter2d(images, kernel, border_type="replicate").round_()
    return images


def low_resolution(images: Tensor, sides: Tensor) -> Tensor:
    """Shrink each image to a share of its sides, by averages over areas, and enlarge it again, bilinearly.

    Args:
        sides: float32[b] in (0, 1]; the shrunk image has at least one pixel.
    """
    height, width = images.shape[2:]
    for side in (
        height,
        width,
    ):  # rows, then columns: a product from the left and one more after turning the image
        small = (sides * side).round_().clamp_(min=1)
        images = _along_rows(shrinking(small, side), images).transpose(2, 3)
    for side in (height, width):
        small = (sides * side).round_().clamp_(min=1)
        images = _along_rows(enlarging(small, side), images).transpose(2, 3)
    return images.contiguous()


def shrinking(small: Tensor, side: int) -> Tensor:
    """Weights [b, side, side] of averages over areas: row i < small[b] of the shrunk, column j of the image; else 0."""
    length = (side / small)[:, None, None]
    i = torch.arange(side, device=small.device, dtype=small.dtype)[:, None]
    j = torch.arange(side, device=small.device, dtype=small.dtype)
    shared = torch.minimum((i + 1) * length, j + 1) - torch.maximum(i * length, j)
    return _exact(shared.clamp_(min=0) / length)


def enlarging(small: Tensor, side: int) -> Tensor:
    """Weights [b, side, side] of bilinear interpolation: row i of the image, column j < small[b] of the shrunk; else 0."""
    small = small[:, None, None]
    i = torch.arange(side, device=small.device, dtype=small.dtype)[:, None]
    j = torch.arange(side, device=small.device, dtype=small.dtype)
    at = ((i + 0.5) * small / side - 0.5).clamp_(min=0)
    at = torch.minimum(at, small - 1)
    return _exact((1 - (at - j).abs()).clamp_(min=0))


def erase(images: Tensor, boxes: Tensor) -> Tensor:
    """Fill a box of each image with mid grey; a pixel is in it if its centre is.

    Args:
        boxes: float32[b, 4]: top, left, height, width, as shares of the image's.
    """
    top, left, height, width = boxes[:, :, None].unbind(1)
    y, x = ((torch.arange(n, device=images.device) + 0.5) / n for n in images.shape[2:])
    rows, columns = (y >= top) & (y < top + height), (x >= left) & (x < left + width)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], ERASED)


def _along_rows(weights: Tensor, images: Tensor) -> Tensor:
    """weights[b, H, H] @ images[b, 3, H, W], the same weights for all channels."""
    b, channels, rows, columns = images.shape
    side_by_side = images.transpose(1, 2).reshape(b, rows, channels * columns)
    return torch.bmm(weights, side_by_side).round_().view(b, rows, channels, columns).transpose(1, 2)


def _exact(weights: Tensor) -> Tensor:
    return (weights * 2**16).round_() / 2**16


def _each(factors: Tensor) -> Tensor:
    return factors[:, None, None, None]


def _levels(images: Tensor) -> Tensor:
    return images.round_().clamp_(0, 255)


def _kornia(setting: str) -> ModuleType:
    """kornia, imported here since that takes a while."""
    try:
        import kornia
    except ImportError as error:
        raise InputError(
            f"augment.{setting} needs kornia, which cannot be imported ({error}): pip install 'subspace-mining[augment]', or leave "
            f"{setting} out"
        ) from error
    return kornia
