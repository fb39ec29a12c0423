"""IResNet: published parameter counts and names, shapes, and the unit's arithmetic."""

from __future__ import annotations

import pytest
import torch
from published_networks import IRESNET_DEPTHS, iresnet, random_weights
from torch import nn

from subspace.train.networks.iresnet import IRESNET_BLOCKS, IBasicBlock, IResNet, build_iresnet

PARAMETERS = {  # InsightFace's networks at 112 px and 512-d
    "iresnet18": 24_025_600,
    "iresnet34": 34_139_328,
    "iresnet50": 43_590_848,
    "iresnet100": 65_156_160,
    "iresnet200": 118_833_920,
}


def batchnorm(name: str) -> set[str]:
    return {
        f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }


def on_meta(name: str) -> IResNet:
    with torch.device("meta"):
        return build_iresnet(name)


def counted_by_hand(blocks: tuple[int, ...]) -> int:
    total = 3 * 64 * 9 + 2 * 64 + 64  # stem: convolution, BN, PReLU
    in_channels = 64
    for channels, n in zip((64, 128, 256, 512), blocks, strict=True):
        for i in range(n):
            total += 2 * in_channels + in_channels * channels * 9 + 2 * channels + channels
            total += channels * channels * 9 + 2 * channels
            if i == 0:
                total += in_channels * channels + 2 * channels
            in_channels = channels
    return total + 2 * 512 + (512 * 7 * 7 + 1) * 512 + 2 * 512


@pytest.mark.parametrize("name", IRESNET_BLOCKS)
def test_parameter_count_is_the_published_one(name: str) -> None:
    count = sum(parameter.numel() for parameter in on_meta(name).parameters())
    assert count == PARAMETERS[name] == counted_by_hand(IRESNET_BLOCKS[name])


@pytest.mark.parametrize("name", IRESNET_BLOCKS)
def test_state_dict_has_insightface_names(name: str) -> None:
    expected = {"conv1.weight", "prelu.weight", "fc.weight", "fc.bias"}
    expected |= batchnorm("bn1") | batchnorm("bn2") | batchnorm("features")
    for stage, n in enumerate(IRESNET_BLOCKS[name], start=1):
        for block in range(n):
            at = f"layer{stage}.{block}"
            expected |= {f"{at}.conv1.weight", f"{at}.conv2.weight", f"{at}.prelu.weight"}
            expected |= batchnorm(f"{at}.bn1") | batchnorm(f"{at}.bn2") | batchnorm(f"{at}.bn3")
        expected |= {f"layer{stage}.0.downsample.0.weight"} | batchnorm(f"layer{stage}.0.downsample.1")
    assert set(on_meta(name).state_dict()) == expected


@pytest.mark.parametrize("name", IRESNET_BLOCKS)
def test_112_px_give_512_numbers(name: str) -> None:
    network = on_meta(name).eval()
    with torch.device("meta"):
        images = torch.zeros(2, 3, 112, 112)
    maps = network.prelu(network.bn1(network.conv1(images)))
    sides = []
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
        maps = layer(maps)
        sides.append((maps.shape[1], maps.shape[2]))
    assert sides == [(64, 56), (128, 28), (256, 14), (512, 7)]
    assert network(images).shape == (2, 512)


def test_other_input_and_embedding_sizes() -> None:
    network = IResNet((1, 1, 1, 1), 24, input_size=32)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 24)


def test_every_batchnorm_has_eps_1e5_and_the_last_one_a_fixed_scale() -> None:
    network = on_meta("iresnet18")
    assert {m.eps for m in network.modules() if isinstance(m, (nn.BatchNorm2d, nn.BatchNorm1d))} == {1e-5}
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert frozen == ["features.weight"]
    assert torch.equal(IResNet((1, 1, 1, 1), 8, input_size=16).features.weight, torch.ones(8))


@pytest.mark.parametrize(("in_channels", "stride"), [(4, 2), (6, 1), (4, 1)])
def test_block_is_its_definition(in_channels: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(1)
    block = IBasicBlock(in_channels, 6, stride).eval()
    for value in block.state_dict().values():  # running statistics and scales away from 0 and 1
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    x = torch.rand((2, in_channels, 8, 8), generator=generator)

    def norm(bn: nn.BatchNorm2d, v: torch.Tensor) -> torch.Tensor:
        scale = bn.weight / (bn.running_var + bn.eps).sqrt()
        return (v - bn.running_mean[:, None, None]) * scale[:, None, None] + bn.bias[:, None, None]

    def convolve(v: torch.Tensor, weight: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
        return torch.conv2d(v, weight, stride=stride, padding=padding)

    inner = norm(block.bn2, convolve(norm(block.bn1, x), block.conv1.weight, 1, 1))
    inner = torch.where(inner > 0, inner, inner * block.prelu.weight[:, None, None])
    expected = norm(block.bn3, convolve(inner, block.conv2.weight, stride, 1))
    if in_channels == 6 and stride == 1:
        assert block.downsample is None
        expected = expected + x
    else:
        assert block.downsample is not None
        shortcut, bn = block.downsample
        expected = expected + norm(bn, convolve(x, shortcut.weight, stride, 0))
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "depth",
    [depth if depth < 100 else pytest.param(depth, marks=pytest.mark.slow) for depth in IRESNET_DEPTHS],
)
def test_a_published_state_dict_gives_the_outputs_of_its_architecture(depth: int) -> None:
    network = build_iresnet(f"iresnet{depth}").eval()
    weights = random_weights(network.state_dict())
    network.load_state_dict(weights, strict=True)
    images = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        outputs = network(images)
        assert (outputs - iresnet(weights, images, depth)).abs().max() == 0.0
    assert torch.isfinite(outputs).all()
