"""InsightFace's weights by their file alone: `insightface:FILE.pth`. Depth and sizes are read from its tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ...mining.errors import InputError
from ..data.image_input import ImageInput
from ..data.preprocess_config import PreprocessConfig
from .backbone import Backbone
from .iresnet import IRESNET_BLOCKS, build_iresnet
from .mobilefacenet import MobileFaceNet
from .registry import path_and_part
from .weights_file import load_weights, prefixes, read_tensors

MOBILE = "conv_sep.layers.0.weight"
"""Only MobileFaceNet has it."""


def build_insightface(file: str, *, embedding_size: int | None, preprocess: PreprocessConfig) -> Backbone:
    """The network that the file holds, an IResNet or MobileFaceNet, with its weights; its spec is that network's.

    Raises:
        InputError: weights of another network, or another size than they have is asked for.
    """
    path, part = path_and_part(file)
    tensors = read_tensors(Path(path))
    name, embedding, size = _found(tensors, path, part)
    if embedding_size not in (None, embedding):
        raise InputError(
            f"embedding_size={embedding_size}, but the weights in {path} make {embedding} numbers; leave it null"
        )
    image_input = preprocess.applied_to(ImageInput(size))
    if image_input.height_and_width != (size, size):
        raise InputError(
            f"preprocess.size={image_input.size}, but the weights in {path} are for {size} px; leave it null"
        )
    shape = (size, size)
    mobile = name == "mobilefacenet"
    body = (
        MobileFaceNet(embedding, input_size=shape)
        if mobile
        else build_iresnet(name, embedding, input_size=shape)
    )
    backbone = Backbone(body, spec=name, input=image_input, embedding_size=embedding)
    backbone.remarks = (f"{name}, by the layers in the file", str(load_weights(body, file)))
    return backbone


def _found(tensors: Mapping[str, Tensor], path: str, part: str) -> tuple[str, int, int]:
    """The network's name, its embedding size, and its input size in pixels."""
    start = part and f"{part.rstrip('.')}."
    inside = {name: tensor for name, tensor in tensors.items() if name.startswith(start)}
    for last, places in (("fc.weight", 512), (MOBILE, 0)):
        for prefix in prefixes(inside, {last}):
            own = {n.removeprefix(prefix): t for n, t in inside.items() if n.startswith(prefix)}
            if last == MOBILE and "features.layers.2.weight" in own:
                kernel = own["features.layers.0.layers.0.weight"].shape[-1]
                return "mobilefacenet", len(own["features.layers.2.weight"]), 16 * kernel
            blocks = tuple(_blocks(own, stage) for stage in range(1, 5))
            known = next((name for name, counts in IRESNET_BLOCKS.items() if counts == blocks), None)
            weight = own[last]
            if known is not None and weight.ndim == 2 and weight.shape[1] % places == 0:
                return known, weight.shape[0], 16 * math.isqrt(weight.shape[1] // places)
    raise InputError(
        f"{path} holds no IResNet of {', '.join(n.removeprefix('iresnet') for n in IRESNET_BLOCKS)} layers and no "
        "MobileFaceNet; name the network that it is of: --model iresnet50 --weights FILE"
    )


def _blocks(names: Mapping[str, Tensor], stage: int) -> int:
    numbers = (re.match(rf"layer{stage}\.(\d+)\.", name) for name in names)
    return max((int(found[1]) + 1 for found in numbers if found), default=0)
