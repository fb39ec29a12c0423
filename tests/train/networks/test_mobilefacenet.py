"""MobileFaceNet: InsightFace's names, its arithmetic, and what it costs."""

from __future__ import annotations

import pytest
import torch
from counted_multiply_adds import counted_by_hooks
from published_networks import mobilefacenet, random_weights

from subspace.mining.errors import InputError
from subspace.train.networks.mobilefacenet import MobileFaceNet


def test_a_published_state_dict_gives_the_outputs_of_its_architecture() -> None:
    network = MobileFaceNet().eval()
    weights = random_weights(network.state_dict())
    network.load_state_dict(weights, strict=True)
    images = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    used: set[str] = set()

    class Watched(dict[str, torch.Tensor]):
        def __getitem__(self, name: str) -> torch.Tensor:
            used.add(name)
            return super().__getitem__(name)

    with torch.no_grad():
        assert (network(images) - mobilefacenet(Watched(weights), images)).abs().max() == 0.0
    left = {name for name in weights if name not in used and not name.endswith("num_batches_tracked")}
    assert not left  # every weight of ours has a name that the architecture reads


def test_it_costs_what_it_says() -> None:
    with torch.device("meta"):
        network = MobileFaceNet()
    assert sum(p.numel() for p in network.parameters()) == 2_059_520
    assert counted_by_hooks(network, 112, 112) == 437_520_896


def test_other_sizes() -> None:
    assert MobileFaceNet(24, input_size=(96, 64)).eval()(torch.zeros(2, 3, 96, 64)).shape == (2, 24)
    with pytest.raises(InputError, match=r"mobilefacenet takes multiples of 16 px"):
        MobileFaceNet(input_size=(100, 100))
