"""Settings of what images become before a network sees them; without torch, so that settings are read quickly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import Field, field_validator

from ...mining.errors import InputError
from ...mining.settings import Settings
from .image_input import ChannelOrder, ImageInput, Interpolation, ResizeRule


class PreprocessConfig(Settings):
    """What images become before the network sees them; null: what the network says of itself. Its checkpoints carry it."""

    size: int | tuple[int, int] | None = Field(
        default=None, description="pixels, or [height,width]; a network of fixed size refuses another"
    )
    resize: ResizeRule | None = Field(
        default=None,
        description="stretch; crop: shorter side, then the centre; letterbox: longer side, then black bars",
    )
    crop: float | None = Field(
        default=None, gt=0, le=1, description="with resize=crop, the share kept on each side: timm's crop_pct"
    )
    interpolation: Interpolation | None = Field(
        default=None, description="bilinear, bicubic, lanczos, box or nearest"
    )
    channels: ChannelOrder | None = Field(
        default=None, description="RGB or BGR: the order that the network takes"
    )
    mean: float | tuple[float, float, float] | None = Field(
        default=None, description="subtracted from x / 255: one number, or one a channel"
    )
    std: float | tuple[float, float, float] | None = Field(default=None, description="divides what is left")

    @property
    def given(self) -> dict[str, Any]:
        """The settings that are not null."""
        return {name: value for name, value in self if value is not None}

    def applied_to(self, own: ImageInput) -> ImageInput:
        """A network's own input with these settings over it.

        Raises:
            InputError: a value is out of range.
        """
        given = self.given
        if given.get("resize", own.resize) != "crop":
            if given.get("crop", 1.0) < 1:
                raise InputError(
                    f"preprocess.crop={self.crop} counts with resize=crop only; add preprocess.resize=crop, or leave it out"
                )
            given["crop"] = 1.0
        return replace(own, **given)

    @field_validator("size", mode="before")
    @classmethod
    def _is_pixels(cls, size: Any) -> Any:
        """One message for what is neither, in place of one for each of the types."""
        sides = list(size) if isinstance(size, (list, tuple)) else [size, size]
        if size is not None and not (len(sides) == 2 and all(type(side) is int for side in sides)):
            raise ValueError(
                f"preprocess.size={size}: give pixels, such as 112, or [140,116] for height and width"
            )
        return size
