"""IResNet-18/34/50/100/200: the residual networks that face-recognition weights are published for.

Source: the "improved residual" unit and the E head of Deng et al., "ArcFace" (CVPR 2019), section 3.1,
over He et al., "Identity Mappings in Deep Residual Networks" (ECCV 2016). Parameter names are those of
InsightFace's `arcface_torch`, so a state dict published there loads with `load_state_dict(strict=True)`.

Shapes, for 112 px and any depth: [B, 3, 112, 112] -> stem [B, 64, 112, 112] -> stages of 64, 128, 256 and
512 channels at 56, 28, 14 and 7 px -> flattened [B, 25088] -> [B, embedding_size].

B batch, C channels, H height, W width, D embedding size.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .sizes import multiples_of

IRESNET_INPUT_SIZE = 112
IRESNET_BLOCKS: dict[str, tuple[int, int, int, int]] = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
    "iresnet200": (6, 26, 60, 6),
}

_STAGE_CHANNELS = (64, 128, 256, 512)
_TOTAL_STRIDE = 16
_BN_EPS = 1e-5


class IBasicBlock(nn.Module):
    """BN, 3x3, BN, PReLU, 3x3 (carrying the stride), BN; nothing follows the addition.

    The shortcut is the identity, or a 1x1 convolution with BN where shape changes.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels, eps=_BN_EPS)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels, eps=_BN_EPS)
        self.prelu = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels, eps=_BN_EPS)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels, eps=_BN_EPS),
            )

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        shortcut_BCHW = maps_BCHW if self.downsample is None else self.downsample(maps_BCHW)
        residual_BCHW = self.prelu(self.bn2(self.conv1(self.bn1(maps_BCHW))))
        return self.bn3(self.conv2(residual_BCHW)) + shortcut_BCHW


class IResNet(nn.Module):
    """[B, 3, S, S] normalised images -> [B, D] float32 embeddings, not yet of unit length.

    S must be a multiple of 16; the weights published by InsightFace need S = 112. At 112 px and D = 512,
    parameters and multiply-adds are 24.0M / 2.6G (18), 34.1M / 4.5G (34), 43.6M / 6.3G (50),
    65.2M / 12.1G (100) and 118.8M / 23.4G (200).
    """

    def __init__(
        self,
        blocks: tuple[int, int, int, int],
        embedding_size: int = 512,
        *,
        input_size: int | tuple[int, int] = IRESNET_INPUT_SIZE,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        height, width = multiples_of(_TOTAL_STRIDE, input_size, "an IResNet")
        stem = _STAGE_CHANNELS[0]
        self.conv1 = nn.Conv2d(3, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem, eps=_BN_EPS)
        self.prelu = nn.PReLU(stem)
        self.layer1 = _stage(stem, _STAGE_CHANNELS[0], blocks[0])
        self.layer2 = _stage(_STAGE_CHANNELS[0], _STAGE_CHANNELS[1], blocks[1])
        self.layer3 = _stage(_STAGE_CHANNELS[1], _STAGE_CHANNELS[2], blocks[2])
        self.layer4 = _stage(_STAGE_CHANNELS[2], _STAGE_CHANNELS[3], blocks[3])
        self.bn2 = nn.BatchNorm2d(_STAGE_CHANNELS[3], eps=_BN_EPS)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(
            _STAGE_CHANNELS[3] * (height // _TOTAL_STRIDE) * (width // _TOTAL_STRIDE), embedding_size
        )
        self.features = nn.BatchNorm1d(embedding_size, eps=_BN_EPS)
        # The length is divided out later: a learned scale per dimension would only let dimensions die.
        self.features.weight.requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.1)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        maps_BCHW = self.prelu(self.bn1(self.conv1(images_BCHW)))
        maps_BCHW = self.layer4(self.layer3(self.layer2(self.layer1(maps_BCHW))))
        flat_BF = self.dropout(self.bn2(maps_BCHW).flatten(1))
        # The last normalisation stays in float32 under autocast: embeddings are compared, not fed on.
        return self.features(self.fc(flat_BF).float())


def build_iresnet(name: str, embedding_size: int = 512, **settings: Any) -> IResNet:
    """The network called `name`, a key of `IRESNET_BLOCKS`, for 112 px images unless `input_size` is given."""
    return IResNet(IRESNET_BLOCKS[name], embedding_size, **settings)


def _stage(in_channels: int, channels: int, blocks: int) -> nn.Sequential:
    """Blocks of one resolution; the first halves height and width."""
    first = IBasicBlock(in_channels, channels, stride=2)
    return nn.Sequential(first, *(IBasicBlock(channels, channels, stride=1) for _ in range(blocks - 1)))
