"""FaceNet's networks: NN1, NN2, NN3, NN4, NNS1 and NNS2, 128 numbers an image.

Source: Schroff, Kalenichenko, Philbin, "FaceNet" (CVPR 2015): table 1 is NN1 (Zeiler and Fergus with 1x1
convolutions), table 2 is NN2 (Inception), section 3.3 says what the others are. FLOPs there are multiply-adds.

    NN1    220 px         140M parameters, 1.6G multiply-adds
    NN2    224 px         7.5M, 1.6G
    NN3    160 px         NN2
    NN4    96 px          NN2 without 5x5 convolutions in the higher layers, 285M
    NNS1   165 px         26M, 220M
    NNS2   140 x 116 px   4.3M, 20M

What the paper does not say is chosen here. Batch norm follows every convolution of the Inception networks, in place
of `norm`. NN1 keeps `rnorm` as local response normalisation over 5 channels. NN4 leaves out the 5x5 branch where maps
are smaller than the kernel, in 5a and 5b. The tables of NNS1 and NNS2 were never published: each is a short Inception
network with one hidden layer, which has most of the parameters. 140 x 116 is height x width.

B batch, C channels, H height, W width, D embedding size.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

FACENET_INPUT_SIZES: dict[str, tuple[int, int]] = {
    "nn1": (220, 220),
    "nn2": (224, 224),
    "nn3": (160, 160),
    "nn4": (96, 96),
    "nns1": (165, 165),
    "nns2": (140, 116),
}
"""Height and width in pixels."""


class Branches(NamedTuple):
    """A row of table 2: the channels of an Inception module's branches, 0 where a branch is missing."""

    one: int
    reduce3: int
    three: int
    reduce5: int
    five: int
    pool: str
    """max or L2."""
    project: int
    """Channels of the 1x1 convolution after the pool; 0: the pool passes all on."""
    stride: int = 1
    """2: the 3x3 and 5x5 convolutions and the pool halve height and width."""

    def channels(self, before: int) -> int:
        """How many channels come out of `before`."""
        return self.one + self.three + self.five + (self.project or before)


NN2 = (
    Branches(64, 96, 128, 16, 32, "max", 32),  # 3a
    Branches(64, 96, 128, 32, 64, "L2", 64),
    Branches(0, 128, 256, 32, 64, "max", 0, stride=2),
    Branches(256, 96, 192, 32, 64, "L2", 128),  # 4a
    Branches(224, 112, 224, 32, 64, "L2", 128),
    Branches(192, 128, 256, 32, 64, "L2", 128),
    Branches(160, 144, 288, 32, 64, "L2", 128),
    Branches(0, 160, 256, 64, 128, "max", 0, stride=2),
    Branches(384, 192, 384, 48, 128, "L2", 128),  # 5a
    Branches(384, 192, 384, 48, 128, "max", 128),
)
NN4 = (*NN2[:-2], *(branches._replace(reduce5=0, five=0) for branches in NN2[-2:]))
NNS1 = (
    Branches(64, 64, 96, 16, 32, "max", 32),
    Branches(0, 64, 128, 16, 32, "max", 0, stride=2),
    Branches(128, 64, 128, 32, 64, "L2", 64),
    Branches(0, 96, 160, 32, 64, "max", 0, stride=2),
    Branches(192, 96, 192, 32, 64, "max", 64),
)
NNS2 = (
    Branches(16, 16, 32, 4, 8, "max", 8),
    Branches(0, 24, 48, 8, 16, "max", 0, stride=2),
    Branches(48, 24, 64, 8, 16, "L2", 16),
    Branches(0, 32, 96, 16, 32, "max", 0, stride=2),
    Branches(64, 48, 128, 16, 32, "max", 32),
)


class NN1(nn.Module):
    """[B, 3, 220, 220] normalised images -> [B, D] float32 embeddings, not yet of unit length.

    Eleven convolutions, each 3x3 after a 1x1, then two layers of 4,096 maxout units over 2 inputs each.
    """

    def __init__(self, embedding_size: int = 128, *, input_size: tuple[int, int] = (220, 220)) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3),  # 110 px
            nn.ReLU(inplace=True),
            _halving_pool(),  # 55 px
            nn.LocalResponseNorm(5),
            *_one_then_three(64, 192),
            nn.LocalResponseNorm(5),
            _halving_pool(),  # 28 px
            *_one_then_three(192, 384),
            _halving_pool(),  # 14 px
            *_one_then_three(384, 256),
            *_one_then_three(256, 256),
            *_one_then_three(256, 256),
            _halving_pool(),  # 7 px
        )
        self.fc1 = nn.Linear(256 * _places(input_size, halvings=5), 2 * 4096)
        self.fc2 = nn.Linear(4096, 2 * 4096)
        self.fc = nn.Linear(4096, embedding_size)
        _draw_weights(self)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        flat_BF = self.convolutions(images_BCHW).flatten(1)
        return self.fc(_maxout(self.fc2(_maxout(self.fc1(flat_BF))))).float()


class Inception(nn.Module):
    """Four branches side by side: 1x1, 3x3 and 5x5 convolutions, and a 3x3 pool; table 2 of FaceNet."""

    def __init__(self, in_channels: int, branches: Branches) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pool, project, stride = branches
        self.branches = nn.ModuleList()
        if one:
            self.branches.append(_convolution(in_channels, one, 1))
        for reduce, channels, kernel in ((reduce3, three, 3), (reduce5, five, 5)):
            if channels:
                self.branches.append(
                    nn.Sequential(
                        _convolution(in_channels, reduce, 1),
                        _convolution(reduce, channels, kernel, stride=stride),
                    )
                )
        pooled: list[nn.Module] = [
            L2Pool() if pool == "L2" else nn.MaxPool2d(3, stride, padding=1),
            *([_convolution(in_channels, project, 1)] if project else []),
        ]
        self.branches.append(nn.Sequential(*pooled))

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        return torch.cat([branch(maps_BCHW) for branch in self.branches], dim=1)


class L2Pool(nn.Module):
    """The length of each 3x3 neighbourhood, at stride 1."""

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        squares_BCHW = functional.avg_pool2d(maps_BCHW.float().square(), 3, stride=1, padding=1) * 9
        # The root has no slope at 0, where whole neighbourhoods lie behind a ReLU.
        return (squares_BCHW + 1e-6).sqrt().to(maps_BCHW.dtype)


class InceptionNetwork(nn.Module):
    """[B, 3, H, W] normalised images -> [B, D] float32 embeddings, not yet of unit length.

    Args:
        rows: the Inception modules, from the first to the last.
        stem: channels of the 7x7 convolution, and of the 1x1 and the 3x3 convolution after the first pool.
        hidden: units of a layer over all places of the last maps; 0: their average over all places instead.
    """

    def __init__(
        self,
        rows: tuple[Branches, ...],
        embedding_size: int = 128,
        *,
        input_size: tuple[int, int],
        stem: tuple[int, int, int] = (64, 64, 192),
        hidden: int = 0,
    ) -> None:
        super().__init__()
        first, reduce, channels = stem
        layers: list[nn.Module] = [
            _convolution(3, first, 7, stride=2),
            _halving_pool(),
            _convolution(first, reduce, 1),
            _convolution(reduce, channels, 3),
            _halving_pool(),
        ]
        for row in rows:
            layers.append(Inception(channels, row))
            channels = row.channels(channels)
        self.convolutions = nn.Sequential(*layers)
        places = _places(input_size, 3 + sum(row.stride == 2 for row in rows))
        self.hidden = _hidden(channels * places, hidden) if hidden else nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(hidden or channels, embedding_size)
        _draw_weights(self)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.fc(self.hidden(self.convolutions(images_BCHW)).flatten(1)).float()


def build_facenet(
    name: str, embedding_size: int = 128, input_size: tuple[int, int] | None = None
) -> nn.Module:
    """The network called `name`, a key of `FACENET_INPUT_SIZES`, for images of the paper's size unless one is given.

    Example:
        >>> from subspace.train.networks.facenet import build_facenet
        >>> sum(parameter.numel() for parameter in build_facenet("nn2").parameters()) / 1e6 > 7.4
        True
    """
    size = input_size or FACENET_INPUT_SIZES[name]
    if name == "nn1":
        return NN1(embedding_size, input_size=size)
    if name == "nns1":
        return InceptionNetwork(NNS1, embedding_size, input_size=size, stem=(32, 32, 96), hidden=1344)
    if name == "nns2":
        return InceptionNetwork(NNS2, embedding_size, input_size=size, stem=(8, 8, 24), hidden=768)
    return InceptionNetwork(NN4 if name == "nn4" else NN2, embedding_size, input_size=size)


def _convolution(in_channels: int, channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


def _hidden(inputs: int, units: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, units, bias=False), nn.BatchNorm1d(units), nn.ReLU(inplace=True)
    )


def _one_then_three(in_channels: int, channels: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(in_channels, in_channels, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(in_channels, channels, 3, padding=1),
        nn.ReLU(inplace=True),
    )


def _places(input_size: tuple[int, int], halvings: int) -> int:
    """Pixels of a map after so many layers that halve height and width, and round them up."""
    return math.prod(-(-side // 2**halvings) for side in input_size)


def _halving_pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, padding=1)


def _maxout(units_BF: Tensor) -> Tensor:
    """The larger of each two neighbours."""
    return units_BF.unflatten(1, (-1, 2)).amax(2)


def _draw_weights(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
