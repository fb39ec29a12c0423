"""What a network expects of its images: size, how they are fitted to it, and what their values become; no torch.

Shapes: B images, C = 3 channels, H × W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, get_args

from ...mining.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

ResizeRule = Literal["stretch", "crop", "letterbox"]
Interpolation = Literal["bilinear", "bicubic", "lanczos", "box", "nearest"]
ChannelOrder = Literal["RGB", "BGR"]
MOST_PIXELS_A_SIDE = 8_192
"""Larger is a slip: a batch of such images would not fit anywhere."""
PerChannel = float | tuple[float, float, float]


@dataclass(frozen=True)
class ImageInput:
    """How a decoded image becomes what a network takes; its checkpoints carry it.

    The defaults stretch RGB images and map 0..255 to -1..1, as InsightFace's networks have it.

    Raises:
        InputError: a value out of range.

    Example:
        >>> import torch
        >>> from subspace.train import ImageInput
        >>> black = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
        >>> ImageInput(2).normalize(black).unique()
        tensor([-1.])
        >>> ImageInput((140, 116), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize="letterbox").in_words()
        'fitted into 140 × 116 px with black bars, bilinear; RGB, (x / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)'
    """

    size: int | tuple[int, int]
    """Pixels: of both sides, or height and width."""
    mean: PerChannel = 0.5
    """Subtracted from x / 255: in all channels, or in each in the network's order."""
    std: PerChannel = 0.5
    """Divides what is left; positive."""
    resize: ResizeRule = "stretch"
    """stretch: to the size, whatever the shape; crop: the shorter side, then the centre; letterbox: the longer side, then bars."""
    crop: float = 1.0
    """With resize=crop: the share of the resized image that is kept, on each side; timm calls it crop_pct."""
    interpolation: Interpolation = "bilinear"
    channels: ChannelOrder = "RGB"

    def __post_init__(self) -> None:
        # Lists, as JSON and YAML have them, become tuples, so that equal inputs are equal.
        for name in ("size", "mean", "std"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        height, width = self.height_and_width
        if min(height, width) < 1 or max(height, width) > MOST_PIXELS_A_SIDE:
            raise InputError(
                f"image size {self.size}: give 1 to {MOST_PIXELS_A_SIDE:,} pixels, such as 112, or [140,116] for height and width"
            )
        for name in ("mean", "std"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != 3:
                raise InputError(
                    f"image {name} {list(value)}: give one number, or one for each of three channels"
                )
        if not all(map(isfinite, (*_three(self.mean), *_three(self.std)))):
            raise InputError(f"image mean {self.mean} and std {self.std}: give finite numbers")
        if min(_three(self.std)) <= 0:
            raise InputError(f"image std {self.std}: it divides the pixel values and must be positive")
        if not 0 < self.crop <= 1:
            raise InputError(f"image crop {self.crop}: give a share above 0 and up to 1, such as 0.875")
        for name, known in (
            ("resize", ResizeRule),
            ("interpolation", Interpolation),
            ("channels", ChannelOrder),
        ):
            if getattr(self, name) not in get_args(known):
                raise InputError(f"image {name} {getattr(self, name)!r}: give {', '.join(get_args(known))}")

    @classmethod
    def of(cls, size: int | tuple[int, int] | ImageInput) -> ImageInput:
        """`size` itself where it is an input already, else the default one of that size."""
        return size if isinstance(size, ImageInput) else cls(size)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ImageInput:
        """What `to_json` gave.

        Raises:
            InputError: a value is missing, unknown or out of range.
        """
        known = {field.name for field in fields(cls)}
        if "size" not in values or not set(values) <= known:
            raise InputError(
                f"{dict(values)} does not describe the images of a network ({', '.join(sorted(known))})"
            )
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """All of it, for `meta.json`."""
        return asdict(self)

    @property
    def height_and_width(self) -> tuple[int, int]:
        """Pixels."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    @property
    def height(self) -> int:
        """Pixels."""
        return self.height_and_width[0]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.height_and_width[1]

    @property
    def scale_and_offset(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What multiplies a channel's values 0..255, and what is subtracted then: (x / 255 - mean) / std."""
        pairs = list(zip(_three(self.mean), _three(self.std), strict=True))
        return tuple(1 / (255 * std) for _, std in pairs), tuple(mean / std for mean, std in pairs)

    def normalize(self, images_BCHW: Tensor) -> Tensor:
        """uint8 RGB images -> float32 images of the same shape, memory format and device, in the network's order."""
        if self.channels == "BGR":
            images_BCHW = images_BCHW.flip(1)
        scale, offset = self.scale_and_offset
        images_BCHW = images_BCHW.float()
        if len(set(zip(scale, offset, strict=True))) == 1:
            return images_BCHW.mul(scale[0]).sub_(offset[0])
        return images_BCHW.mul(_column(scale, images_BCHW)).sub_(_column(offset, images_BCHW))

    def in_words(self) -> str:
        """One line for a person."""
        size = f"{self.height} × {self.width} px"
        kept = f" of {self.crop:g} of it" if self.crop < 1 else ""
        fitted = {
            "stretch": f"stretched to {size}",
            "crop": f"shorter side resized and the centre{kept} cropped to {size}",
            "letterbox": f"fitted into {size} with black bars",
        }[self.resize]
        mean, std = (
            f"({', '.join(f'{v:g}' for v in x)})" if isinstance(x, tuple) else f"{x:g}"
            for x in (self.mean, self.std)
        )
        return f"{fitted}, {self.interpolation}; {self.channels}, (x / 255 - {mean}) / {std}"


def _three(value: PerChannel) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value, value, value)


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    """[1, 3, 1, 1], filled on the device of `like`, which nothing waits for."""
    column = like.new_empty((1, len(values), 1, 1))
    for channel, value in enumerate(values):
        column[:, channel].fill_(value)
    return column
