"""What is drawn for the images of a batch: crops, colours, blurs and more, as numbers for each place, on the host.

Every process draws for the whole planned batch and takes the rows of its own places. So nothing depends on how many
processes load or train. Each kind of change has a generator of its own: switching one on leaves the others as they were.

Shapes: n images planned, b of them here, k of those changed by something, R the radius of a blur in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...mining.randomness import generator
from .settings import AugmentConfig

ERASE_RATIO = (0.3, 3.3)
"""Width over height of an erased rectangle, beside that of the image (Zhong et al. 2017, "Random Erasing")."""


@dataclass(frozen=True)
class Some:
    """A change of some of the images."""

    rows: np.ndarray
    """int64[k], which."""
    values: np.ndarray
    """float32[k, ...], what is drawn for each."""


@dataclass(frozen=True)
class DrawnChanges:
    """Numbers for the images that are here; None: no such change."""

    crop: np.ndarray | None = None
    """float32[b, 4]: top, left, height, width, as shares of the image's."""
    brightness: np.ndarray | None = None
    """float32[b], a factor; so are the next two."""
    contrast: np.ndarray | None = None
    saturation: np.ndarray | None = None
    hue: np.ndarray | None = None
    """float32[b], shares of the colour circle."""
    grey: Some | None = None
    """Only whom."""
    blur: Some | None = None
    """[k, 2R+1], a Gaussian in multiples of 2^-16."""
    low_resolution: Some | None = None
    """[k], sides of the shrunk image as a share."""
    erase: Some | None = None
    """[k, 4], boxes as in `crop`."""


def draw_changes(
    config: AugmentConfig, seed: tuple[int, ...], step: int, places: np.ndarray, planned: int
) -> DrawnChanges:
    """Draw for a batch of `planned` images; the answer has those at `places`, int64[b].

    >>> config = AugmentConfig(crop=(0.5, 1), grey=0.5)
    >>> whole = draw_changes(config, (7,), step=3, places=np.arange(8), planned=8)
    >>> part = draw_changes(config, (7,), step=3, places=np.array([2, 5]), planned=8)
    >>> bool((part.crop == whole.crop[[2, 5]]).all()), part.grey.rows.tolist()
    (True, [0])
    """
    n = planned

    def each(
        kind: str, wanted: object, draw: Callable[[np.random.Generator], np.ndarray]
    ) -> np.ndarray | None:
        if not wanted:
            return None
        return draw(generator(*seed, "augment", step, kind))[places].astype(np.float32)

    def some(kind: str, chance: float, draw: Callable[[np.random.Generator], np.ndarray]) -> Some | None:
        if not chance:
            return None
        random = generator(*seed, "augment", step, kind)
        hit = (random.random(n) < chance)[places]
        return Some(np.flatnonzero(hit), draw(random)[places][hit].astype(np.float32))

    def factor(kind: str, spread: float) -> np.ndarray | None:
        return each(kind, spread, lambda random: random.uniform(1 - spread, 1 + spread, n))

    return DrawnChanges(
        crop=each(
            "crop",
            config.crop,
            lambda random: draw_boxes(random, config.crop or (1, 1), config.crop_ratio, n),
        ),
        brightness=factor("brightness", config.brightness),
        contrast=factor("contrast", config.contrast),
        saturation=factor("saturation", config.saturation),
        hue=each("hue", config.hue, lambda random: random.uniform(-config.hue, config.hue, n)),
        grey=some("grey", config.grey, lambda _: np.zeros(n)),
        blur=some(
            "blur",
            config.blur,
            lambda random: gaussian_taps(random.uniform(*config.blur_sigma, n), config.blur_sigma[1]),
        ),
        low_resolution=some(
            "low resolution",
            config.low_resolution,
            lambda random: random.uniform(*config.low_resolution_to, n),
        ),
        erase=some(
            "erase", config.erase, lambda random: draw_boxes(random, config.erase_area, ERASE_RATIO, n)
        ),
    )


def draw_boxes(
    random: np.random.Generator, areas: tuple[float, float], ratios: tuple[float, float], n: int
) -> np.ndarray:
    """Boxes inside the unit square, float32[n, 4]: top, left, height, width.

    The area is uniform, and so is the logarithm of width over height, between those of `ratios` that fit the area.
    (torchvision's RandomResizedCrop and RandomErasing draw both freely and again where the box does not fit, so that
    large areas are rarer there.)
    """
    area = random.uniform(*areas, n)
    fits = np.abs(np.log(area))  # no side is longer than the image's
    ratio = np.exp(random.uniform(np.maximum(np.log(ratios[0]), -fits), np.minimum(np.log(ratios[1]), fits)))
    height, width = np.minimum(np.sqrt(area / ratio), 1), np.minimum(np.sqrt(area * ratio), 1)
    top, left = random.random((2, n)) * (1 - np.stack([height, width]))
    return np.stack([top, left, height, width], axis=1).astype(np.float32)


def gaussian_taps(sigmas: np.ndarray, largest: float) -> np.ndarray:
    """Gaussians cut at three times the largest sigma, float32[k, 2R+1], rounded to multiples of 2^-16; they sum to 1.

    The rounding makes sums over pixels of whole levels exact in float32, so no order of adding gives other images.
    """
    radius = int(np.ceil(3 * largest))
    at = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (at / sigmas[:, None]) ** 2)
    whole = np.round(taps / taps.sum(axis=1, keepdims=True) * 2**16)
    whole[:, radius] += 2**16 - whole.sum(axis=1)
    return (whole / 2**16).astype(np.float32)
