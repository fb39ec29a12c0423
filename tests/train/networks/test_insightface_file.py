"""insightface:FILE finds out by itself which network the weights are of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from published_networks import iresnet, mobilefacenet, random_weights

from subspace.mining.errors import InputError
from subspace.train.data.preprocess_config import PreprocessConfig
from subspace.train.networks.building import build_backbone
from subspace.train.networks.iresnet import build_iresnet
from subspace.train.networks.mobilefacenet import MobileFaceNet

IMAGES = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))


def written(path: Path, network: torch.nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    weights = random_weights(network.state_dict())
    torch.save({f"{prefix}{name}": tensor for name, tensor in weights.items()}, path)
    return weights


@pytest.mark.parametrize(("depth", "prefix"), [(18, ""), (34, "module."), (50, "")])
def test_depth_and_embedding_size_are_found(depth: int, prefix: str, tmp_path: Path) -> None:
    weights = written(tmp_path / "b.pth", build_iresnet(f"iresnet{depth}", 64), prefix)
    network = build_backbone(f"insightface:{tmp_path}/b.pth").eval()
    assert (network.spec, network.embedding_size, network.input.size) == (f"iresnet{depth}", 64, 112)
    with torch.no_grad():
        assert (network.body(IMAGES) - iresnet(weights, IMAGES, depth)).abs().max() == 0.0


def test_mobilefacenet_is_found(tmp_path: Path) -> None:
    weights = written(tmp_path / "b.pth", MobileFaceNet())
    network = build_backbone(f"insightface:{tmp_path}/b.pth").eval()
    assert (network.spec, network.embedding_size) == ("mobilefacenet", 512)
    with torch.no_grad():
        assert (network.body(IMAGES) - mobilefacenet(weights, IMAGES)).abs().max() == 0.0


def test_another_size_of_image_is_found(tmp_path: Path) -> None:
    written(tmp_path / "b.pth", build_iresnet("iresnet18", 32, input_size=(64, 64)))
    assert build_backbone(f"insightface:{tmp_path}/b.pth").input.size == 64


def test_other_sizes_than_the_files_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "b.pth", build_iresnet("iresnet18", 32))
    spec = f"insightface:{tmp_path}/b.pth"
    with pytest.raises(InputError, match=r"embedding_size=64, but the weights in .*b.pth make 32 numbers"):
        build_backbone(spec, embedding_size=64)
    with pytest.raises(InputError, match=r"preprocess.size=64, but the weights in .*b.pth are for 112 px"):
        build_backbone(spec, preprocess=PreprocessConfig(size=64))
    with pytest.raises(InputError, match=r"brings weights of its own"):
        build_backbone(spec, weights="other.pth")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 512)}, tmp_path / "b.pth")
    with pytest.raises(InputError, match=r"no IResNet of 18, 34, 50, 100, 200 layers and no MobileFaceNet"):
        build_backbone(f"insightface:{tmp_path}/b.pth")
