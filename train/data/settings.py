"""Settings of how images are decoded, and of how training images change at random; without torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ...mining.settings import Settings

DecoderSetting = Literal["auto", "pillow", "simplejpeg"]
"""What decodes JPEGs."""
Share = Annotated[float, Field(gt=0, le=1)]
Ratio = Annotated[float, Field(gt=0.01, lt=100)]
Sigma = Annotated[float, Field(gt=0, le=20)]


class AugmentConfig(Settings):
    """Random changes of training images, a function of (seed, step, place in the batch)."""

    flip: float = Field(
        default=0.0, ge=0, le=1, description="probability of mirroring left to right (faces: 0.5; text: 0)"
    )
    shift: int = Field(
        default=0, ge=0, description="largest random shift in pixels, each way, edges repeated"
    )
    crop: tuple[Share, Share] | None = Field(
        default=None,
        description="crop to a random share of the area between these two and resize back, e.g. [0.6, 1]; null: no crop",
    )
    crop_ratio: tuple[Ratio, Ratio] = Field(
        default=(0.75, 1.33),
        description="width over height of the crop, beside that of the image, from the first to the second",
    )
    brightness: float = Field(
        default=0.0, ge=0, le=1, description="brightness times 1 - this to 1 + this, as ColorJitter's"
    )
    contrast: float = Field(
        default=0.0, ge=0, le=1, description="contrast times 1 - this to 1 + this, as ColorJitter's"
    )
    saturation: float = Field(
        default=0.0, ge=0, le=1, description="saturation times 1 - this to 1 + this, as ColorJitter's"
    )
    hue: float = Field(
        default=0.0, ge=0, le=0.5, description="hue turned by up to this share of the circle (needs kornia)"
    )
    grey: float = Field(default=0.0, ge=0, le=1, description="probability of a grey image")
    blur: float = Field(default=0.0, ge=0, le=1, description="probability of a Gaussian blur (needs kornia)")
    blur_sigma: tuple[Sigma, Sigma] = Field(
        default=(0.1, 2.0), description="sigma of the blur in pixels, from the first to the second"
    )
    low_resolution: float = Field(
        default=0.0, ge=0, le=1, description="probability of shrinking and enlarging again (faces: 0.2)"
    )
    low_resolution_to: tuple[Share, Share] = Field(
        default=(0.25, 0.75),
        description="sides of the shrunk image, as a share, from the first to the second",
    )
    erase: float = Field(
        default=0.0, ge=0, le=1, description="probability of a grey rectangle somewhere (random erasing)"
    )
    erase_area: tuple[Share, Share] = Field(
        default=(0.02, 0.33), description="its share of the area, from the first to the second"
    )
    functions: tuple[str, ...] = Field(
        default=(), description="python:module:function, ...: changes of your own, after all others"
    )

    @property
    def active(self) -> bool:
        """Whether anything changes at all."""
        return self.while_loading or self.on_device

    @property
    def while_loading(self) -> bool:
        """Whether loader processes change images."""
        return self.flip > 0 or self.shift > 0

    @property
    def jitters(self) -> bool:
        """Whether colours change, hue apart."""
        return max(self.brightness, self.contrast, self.saturation) > 0

    @property
    def on_device(self) -> bool:
        """Whether images change on the training's device."""
        chances = (self.hue, self.grey, self.blur, self.low_resolution, self.erase)
        return self.crop is not None or self.jitters or max(chances) > 0 or bool(self.functions)

    def fingerprint_fields(self) -> dict[str, Any]:
        """What a trained network depends on: `flip` and `shift`, and of the settings that came later those in use.

        So runs made before there were more stay valid.

        >>> AugmentConfig(flip=0.5, grey=0.1).fingerprint_fields()
        {'flip': 0.5, 'shift': 0, 'grey': 0.1}
        """
        unused = {
            name
            for name, field in type(self).model_fields.items()
            if name not in ("flip", "shift") and getattr(self, name) == field.default
        }
        return self.model_dump(exclude=unused)

    @field_validator("functions")
    @classmethod
    def _functions_are_named(cls, functions: tuple[str, ...]) -> tuple[str, ...]:
        for spec in functions:
            head, *names = spec.split(":")
            if head != "python" or len(names) != 2 or not all(names) or spec.startswith("python:."):
                raise ValueError(
                    f"{spec!r} is no function; write python:module:function, e.g. python:my_changes:noise"
                )
        return functions

    @model_validator(mode="after")
    def _ranges_go_up(self) -> AugmentConfig:
        for name in ("crop", "crop_ratio", "blur_sigma", "low_resolution_to", "erase_area"):
            low, high = getattr(self, name) or (0, 0)
            if low > high:
                raise ValueError(f"{name}=[{low:g},{high:g}] goes down; write the smaller number first")
        low, high = self.crop_ratio
        if not low <= 1 <= high:
            raise ValueError(f"crop_ratio=[{low:g},{high:g}] has to hold 1, the image's own")
        return self
