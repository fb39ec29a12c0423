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
    return _levels((images - mean).mul_(_each(factors)).add_(mean))


def saturate(images: Tensor, factors: Tensor) -> Tensor:
    """Distances to the grey image times a factor, float32[b], as Pillow's ImageEnhance.Color."""
    shades = grey(images)
    return _levels((images - shades).mul_(_each(factors)).add_(shades))


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of each image by a share of the colour circle, float32[b]; kornia's `adjust_hue`."""
    return _levels(kornia_for("hue").enhance.adjust_hue(images / 255, turns * (2 * math.pi)).mul_(255))


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
    filter2d = kornia_for("blur").filters.filter2d
    for kernel in (taps[:, None, :], taps[:, :, None]):
        images = filter2d(images, kernel, border_type="replicate").round_()
    return images


def low_resolution(images: Tensor, sides: Tensor) -> Tensor:
    """Shrink each image to a share of its sides, by averages over areas, and enlarge it again, bilinearly.

    Args:
        sides: float32[b] in (0, 1]; the shrunk image has at least one pixel.
    """
    down, across = (
        shrunk_and_enlarged((sides * side).round_().clamp_(min=1), side)[:, None] for side in images.shape[2:]
    )
    return _levels(_levels(down @ images) @ across.mT)


def shrunk_and_enlarged(small: Tensor, side: int) -> Tensor:
    """Weights [b, side, side] with which `side` pixels become small[b] means of equal lengths, and these `side` pixels again.

    Multiples of 2^-16.
    """
    small = small[:, None, None]
    length = side / small
    i = torch.arange(side, device=small.device, dtype=small.dtype)[:, None]
    j = torch.arange(side, device=small.device, dtype=small.dtype)

    def mean(k: Tensor) -> Tensor:  # pixel j's part in the k-th of the means
        return (torch.minimum((k + 1) * length, j + 1) - torch.maximum(k * length, j)).clamp_(min=0)

    between = torch.minimum(((i + 0.5) / length - 0.5).clamp_(min=0), small - 1)
    first = between.floor()
    second = torch.minimum(first + 1, small - 1)
    weights = (mean(first) * (1 - (between - first)) + mean(second) * (between - first)) / length
    return weights.mul_(2**16).round_().mul_(2**-16)


def erase(images: Tensor, boxes: Tensor) -> Tensor:
    """Fill a box of each image with mid grey; a pixel is in it if its centre is.

    Args:
        boxes: float32[b, 4]: top, left, height, width, as shares of the image's.
    """
    top, left, height, width = boxes[:, :, None].unbind(1)
    y, x = ((torch.arange(n, device=images.device) + 0.5) / n for n in images.shape[2:])
    rows, columns = (y >= top) & (y < top + height), (x >= left) & (x < left + width)
    inside = (rows[:, :, None] & columns[:, None, :])[:, None].to(images.dtype)
    return images + (ERASED - images) * inside


def _each(factors: Tensor) -> Tensor:
    return factors[:, None, None, None]


def _levels(images: Tensor) -> Tensor:
    return images.round_().clamp_(0, 255)


def kornia_for(setting: str) -> ModuleType:
    """kornia, imported here since that takes a while.

    Raises:
        InputError: it cannot be imported.
    """
    try:
        import kornia
    except ImportError as error:
        raise InputError(
            f"augment.{setting} needs kornia, which cannot be imported ({error}): pip install 'subspace-mining[augment]', or leave "
            f"{setting} out"
        ) from error
    return kornia
