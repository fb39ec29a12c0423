"""Settings of how images are decoded, and of how training images change at random; without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...mining.settings import Settings

DecoderSetting = Literal["auto", "pillow", "simplejpeg"]
"""What decodes JPEGs."""


class AugmentConfig(Settings):
    """Random changes of training images, a function of (seed, step, place in the batch)."""

    flip: float = Field(
        default=0.0, ge=0, le=1, description="probability of mirroring left to right (faces: 0.5; text: 0)"
    )
    shift: int = Field(
        default=0, ge=0, description="largest random shift in pixels, each way, edges repeated"
    )

    @property
    def active(self) -> bool:
        """Whether anything changes at all."""
        return self.flip > 0 or self.shift > 0
