"""InsightFace's networks once more, as plain functions of a state dict: by the names that its published files have.

Written from the architectures alone, without a module of ours: what a file of weights means is what these compute.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

Weights = Mapping[str, Tensor]

IRESNET_DEPTHS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
    200: (6, 26, 60, 6),
}


def iresnet(w: Weights, x: Tensor, depth: int) -> Tensor:
    """Embeddings of normalised images by InsightFace's `iresnet{depth}` in evaluation."""
    x = F.prelu(_norm(w, "bn1", F.conv2d(x, w["conv1.weight"], padding=1)), w["prelu.weight"])
    for stage, blocks in enumerate(IRESNET_DEPTHS[depth], start=1):
        for block in range(blocks):
            at, stride, shortcut = f"layer{stage}.{block}", 1 if block else 2, x
            if f"{at}.downsample.0.weight" in w:
                shortcut = F.conv2d(x, w[f"{at}.downsample.0.weight"], stride=stride)
                shortcut = _norm(w, f"{at}.downsample.1", shortcut)
            x = F.conv2d(_norm(w, f"{at}.bn1", x), w[f"{at}.conv1.weight"], padding=1)
            x = F.prelu(_norm(w, f"{at}.bn2", x), w[f"{at}.prelu.weight"])
            x = F.conv2d(x, w[f"{at}.conv2.weight"], stride=stride, padding=1)
            x = _norm(w, f"{at}.bn3", x) + shortcut
    x = _norm(w, "bn2", x).flatten(1)
    return _norm(w, "features", F.linear(x, w["fc.weight"], w["fc.bias"]))


def mobilefacenet(w: Weights, x: Tensor) -> Tensor:
    """Embeddings of normalised images by InsightFace's `mbf` in evaluation."""
    x = _activated(w, "layers.0.layers", x, stride=2, padding=1)
    x = _activated(w, "layers.1.layers", x, padding=1, groups=64)
    for place, repeats in ((2, 4), (4, 6), (6, 2)):
        x = _depthwise(w, f"layers.{place}.layers", x, stride=2)
        for number in range(repeats):
            x = x + _depthwise(w, f"layers.{place + 1}.layers.{number}.layers", x, stride=1)
    x = _activated(w, "conv_sep.layers", x)
    x = F.conv2d(x, w["features.layers.0.layers.0.weight"], groups=512)
    x = _norm(w, "features.layers.0.layers.1", x).flatten(1)
    return _norm(w, "features.layers.3", F.linear(x, w["features.layers.2.weight"]))


def random_weights(shapes: Weights, seed: int = 0) -> dict[str, Tensor]:
    """Weights and statistics away from 0 and 1, of a size that keeps deep networks finite."""
    generator, drawn = torch.Generator().manual_seed(seed), {}
    for name, tensor in shapes.items():
        if name.endswith("num_batches_tracked"):
            drawn[name] = torch.tensor(7)
        elif tensor.ndim > 1:
            drawn[name] = torch.randn(tensor.shape, generator=generator) * (2 / tensor[0].numel()) ** 0.5
        else:
            drawn[name] = torch.rand(tensor.shape, generator=generator) * 0.5 + (
                0.1 if "bn3" in name else 0.5
            )
    return drawn


def _norm(w: Weights, name: str, x: Tensor) -> Tensor:
    mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    return F.batch_norm(x, mean, variance, w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-5)


def _activated(w: Weights, name: str, x: Tensor, **options: int) -> Tensor:
    x = _norm(w, f"{name}.1", F.conv2d(x, w[f"{name}.0.weight"], **options))
    return F.prelu(x, w[f"{name}.2.weight"])


def _depthwise(w: Weights, name: str, x: Tensor, stride: int) -> Tensor:
    x = _activated(w, f"{name}.0.layers", x)
    x = _activated(w, f"{name}.1.layers", x, stride=stride, padding=1, groups=x.shape[1])
    return _norm(w, f"{name}.2.layers.1", F.conv2d(x, w[f"{name}.2.layers.0.weight"]))
