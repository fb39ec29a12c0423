"""Networks that come as a program in a file, and are used as they are: nothing trains them.

The body keeps the file's bytes, so that a checkpoint holds a copy and the file is not needed again. How images are
prepared is what the file says of itself (as `subspace export` writes it), with the settings of `preprocess` over it;
what neither says is asked for.

B images, H × W pixels, D numbers in an embedding.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...mining.errors import InputError
from ...mining.json_documents import parse_json
from ..data.image_input import ImageInput
from ..data.preprocess_config import PreprocessConfig
from .backbone import Backbone

DESCRIPTION = "description.json"
"""The file inside a TorchScript or .pt2 file that says what it is; ONNX has metadata for it."""
AS_THEY_ARE: dict[str, Any] = {"mean": 0.0, "std": 1 / 255}
"""Values 0..255 stay what they are."""


@dataclass(frozen=True)
class Signature:
    """What the program of a file takes."""

    dtype: torch.dtype
    """uint8, float16 or float32."""
    size: tuple[int, int] | None
    """Height and width; None: any, or it does not say."""
    batch: int | None = None
    """Images at a time; None: any number."""
    layout: Literal["BCHW", "BHWC"] = "BCHW"


class FrozenNetwork(nn.Module):
    """Normalised images [B, 3, H, W] -> float32 [B, D], by a program that is not ours.

    Batches of another size than a fixed one are cut, and the last part is filled with black. Computes in float32
    whatever the precision of the caller, unless the program itself has another.
    """

    def __init__(self, contents: bytes, signature: Signature, weights: int) -> None:
        super().__init__()
        self.contents, self.signature, self.weights = contents, signature, weights

    @abstractmethod
    def run(self, images: Tensor) -> Tensor:
        """Embed one batch as the program takes it."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        takes = self.signature
        if takes.dtype == torch.uint8:
            images_BCHW = images_BCHW.round().clamp(0, 255)
        images = images_BCHW.to(takes.dtype).contiguous()
        if takes.layout == "BHWC":
            images = images.permute(0, 2, 3, 1).contiguous()
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            if takes.batch is None:
                return self._flat(self.run(images))
            parts = [self._filled(part, takes.batch) for part in images.split(takes.batch)]
            return torch.cat([self._flat(self.run(part)) for part in parts])[: len(images)]

    def _filled(self, part: Tensor, batch: int) -> Tensor:
        return functional.pad(part, (0, 0) * (part.ndim - 1) + (0, batch - len(part)))

    def _flat(self, out: Tensor) -> Tensor:
        return out.float().flatten(1)


def frozen_backbone(
    body: FrozenNetwork,
    path: Path,
    said: Mapping[str, str],
    *,
    prefix: str,
    embedding_size: int | None,
    preprocess: PreprocessConfig,
) -> Backbone:
    """A `Backbone` around a program, once one black image has gone through it.

    Args:
        said: what the file says of itself, by key; see `subspace export`.

    Raises:
        InputError: it is not known how images are prepared, or the program does not give embeddings of that size.
    """
    image_input = _input(body.signature, path, said, preprocess)
    try:
        with torch.inference_mode():
            out = body(torch.zeros((1, 3, image_input.height, image_input.width)))
    except (RuntimeError, ValueError) as error:
        size = f"{image_input.height} × {image_input.width}"
        raise InputError(f"{path} cannot embed an image of {size} px: {one_line(error)}") from error
    if out.ndim != 2 or len(out) != 1:
        raise InputError(f"{path} makes {list(out.shape)} of one image, not [1, embedding_size]")
    found = out.shape[1]
    if embedding_size not in (None, found):
        raise InputError(f"embedding_size={embedding_size}, but {path} makes {found} numbers; leave it null")
    backbone = Backbone(body, spec=f"{prefix}{path.name}", input=image_input, embedding_size=found)
    backbone.remarks = (_in_words(body.signature, path, said),)
    return backbone


def _input(takes: Signature, path: Path, said: Mapping[str, str], preprocess: PreprocessConfig) -> ImageInput:
    given = preprocess.given
    inside = takes.dtype == torch.uint8
    if "input" in said:
        try:
            own = ImageInput.from_json(parse_json(said["input"]))
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: what it says of its images is not readable: {one_line(error)}"
            ) from error
        if inside:
            own = replace(own, channels="RGB", **AS_THEY_ARE)
    else:
        needed = (["channels"] if inside else ["mean", "std", "channels"]) + ["size"] * (takes.size is None)
        missing = [f"preprocess.{name}" for name in needed if name not in given]
        if missing:
            raise InputError(
                f"{path} does not say how its images are prepared; give {', '.join(missing)}"
                + ("" if inside else "; InsightFace's networks have mean 0.5, std 0.5 (of x / 255) and RGB")
            )
        height, width = takes.size or (0, 0)
        own = ImageInput(
            given["size"] if takes.size is None else height if height == width else (height, width),
            **(AS_THEY_ARE if inside else {}),
        )
    if inside and any(given.get(name, value) != value for name, value in AS_THEY_ARE.items()):
        raise InputError(
            f"{path} takes uint8 images and normalises them itself; leave preprocess.mean and .std null"
        )
    image_input = preprocess.applied_to(own)
    if takes.size is not None and image_input.height_and_width != takes.size:
        raise InputError(
            f"preprocess.size={image_input.size}, but {path} takes {list(takes.size)} (height, width) only"
        )
    return image_input


def _in_words(takes: Signature, path: Path, said: Mapping[str, str]) -> str:
    batch = "any number of" if takes.batch is None else f"{takes.batch}"
    dtype = str(takes.dtype).removeprefix("torch.")
    origin = "as the file says" if "input" in said else "as preprocess.* says, since the file does not"
    return f"{path.name} is frozen and takes {batch} {dtype} {takes.layout} images; prepared {origin}"


def read_bytes(path: Path) -> bytes:
    """The file's content.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def one_line(error: Exception) -> str:
    """An error's words in one line, cut to 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
