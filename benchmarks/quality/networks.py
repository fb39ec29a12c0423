"""The networks of the comparison: the product's smallest, one of four times its multiply-adds, and FaceNet's NNS2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NETWORKS = {"small": "small", "double": "python:networks:double", "nns2": "nns2"}
"""What `subspace init --model` is told, by name; run where this file lies."""


class DoubleNetwork(nn.Module):
    """[B, 3, 32, 32] normalised images -> [B, 128] embeddings: `small` with twice the channels, and residuals.

    Against a network that cannot fit the hardest pairs, which hides what choosing them is worth.
    """

    input_size = 32
    embedding_size = 128

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_convolution(3, 32),  # 32 px
            nn.MaxPool2d(2),
            *_convolution(32, 64),  # 16 px
            *_convolution(64, 128, stride=2),  # 8 px
            _Residual(128),
        )
        self.fc = nn.Linear(128 * 8 * 8, self.embedding_size, bias=False)
        self.features = nn.BatchNorm1d(self.embedding_size)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        maps_BCHW = self.convolutions(images_BCHW.to(memory_format=torch.channels_last))
        return self.features(self.fc(maps_BCHW.flatten(1)).float())


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Sequential(*_convolution(channels, channels))

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        return maps_BCHW + self.convolution(maps_BCHW)


def _convolution(in_channels: int, channels: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)


def double() -> nn.Module:
    """The larger network; called by `subspace` itself."""
    return DoubleNetwork()
