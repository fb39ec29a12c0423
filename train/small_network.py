"""A network for 32 px images that two CPU cores train in minutes.

B batch, C channels, H height, W width, F flattened features, D embedding size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMALL_INPUT_SIZE = 32
SMALL_EMBEDDING_SIZE = 128

_LAYERS = ((32, 2), (64, 1), (64, 2), (96, 1), (128, 2))


class SmallNetwork(nn.Module):
    """[B, 3, 32, 32] normalised images -> [B, D] float32 embeddings, not yet of unit length."""

    def __init__(self, embedding_size: int = SMALL_EMBEDDING_SIZE) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels, side = 3, SMALL_INPUT_SIZE
        for channels, stride in _LAYERS:
            layers += [
                nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            in_channels, side = channels, side // stride
        self.body = nn.Sequential(*layers)
        self.fc = nn.Linear(in_channels * side * side, embedding_size, bias=False)
        self.features = nn.BatchNorm1d(embedding_size)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images_BCHW: Tensor) -> Tensor:
        maps_BCHW = self.body(images_BCHW.contiguous(memory_format=torch.channels_last))
        return self.features(self.fc(maps_BCHW.flatten(1)).float())
