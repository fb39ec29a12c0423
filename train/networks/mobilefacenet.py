"""MobileFaceNet: a small network for 112 px faces, with the names of InsightFace's published weights.

Source: Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices"
(CCBR 2018), table 1: inverted residual bottlenecks, and a depthwise convolution over all places in place of average
pooling. Channels are twice the paper's, as in InsightFace's `mbf`, whose state dict loads with
`load_state_dict(strict=True)`.

Shapes: [B, 3, 112, 112] -> [B, 128, 56, 56] -> stages of 128, 256 and 256 channels at 28, 14 and 7 px ->
[B, 512, 7, 7] -> [B, 512] -> [B, embedding_size].

B batch, C channels, H height, W width, D embedding size.
"""

from __future__ import annotations

from torch import Tensor, nn

from .sizes import multiples_of

STAGES = ((128, 128, 128, 4), (256, 256, 256, 6), (256, 512, 256, 2))
"""Channels, width of the halving bottleneck, width of the others, and how many others there are."""


class MobileFaceNet(nn.Module):
    """[B, 3, 112, 112] normalised images -> [B, D] float32 embeddings, not yet of unit length.

    At D = 512: 2.1M parameters and 0.44G multiply-adds.
    """

    def __init__(self, embedding_size: int = 512, *, input_size: tuple[int, int] = (112, 112)) -> None:
        super().__init__()
        height, width = multiples_of(16, input_size, "mobilefacenet")
        channels = STAGES[0][0]
        layers: list[nn.Module] = [
            _Layers(*_convolution(3, channels, 3, stride=2), nn.PReLU(channels)),
            # 64 groups of 2 channels: the paper's depthwise convolution, whose groups stayed when channels doubled.
            _Layers(*_convolution(channels, channels, 3, groups=64), nn.PReLU(channels)),
        ]
        for out, halving, wide, repeats in STAGES:
            layers.append(_Bottleneck(channels, out, halving, stride=2))
            layers.append(_Layers(*(_Bottleneck(out, out, wide, stride=1) for _ in range(repeats))))
            channels = out
        self.layers = nn.ModuleList(layers)
        self.conv_sep = _Layers(*_convolution(channels, 512, 1), nn.PReLU(512))
        self.features = _Layers(
            _Layers(
                nn.Conv2d(512, 512, (height // 16, width // 16), groups=512, bias=False), nn.BatchNorm2d(512)
            ),
            nn.Flatten(),
            nn.Linear(512, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size),
        )
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images_BCHW: Tensor) -> Tensor:
        maps_BCHW = images_BCHW
        for layer in self.layers:
            maps_BCHW = layer(maps_BCHW)
        return self.features(self.conv_sep(maps_BCHW)).float()


class _Layers(nn.Module):
    """Layers one after another, under the name `layers`, as published weights have them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        return self.layers(maps_BCHW)


class _Bottleneck(_Layers):
    """1x1 to `width` channels, depthwise 3x3, 1x1 back without an activation; at stride 1 the input is added."""

    def __init__(self, in_channels: int, channels: int, width: int, stride: int) -> None:
        super().__init__(
            _Layers(*_convolution(in_channels, width, 1), nn.PReLU(width)),
            _Layers(*_convolution(width, width, 3, stride=stride, groups=width), nn.PReLU(width)),
            _Layers(*_convolution(width, channels, 1)),
        )
        self.adds = stride == 1

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        out_BCHW = self.layers(maps_BCHW)
        return maps_BCHW + out_BCHW if self.adds else out_BCHW


def _convolution(
    in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    return (
        nn.Conv2d(
            in_channels, channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(channels),
    )
