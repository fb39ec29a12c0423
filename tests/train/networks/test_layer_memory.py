"""Memory of layers whose results can be counted by hand."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn

from subspace.train import build_backbone
from subspace.train.data.image_input import ImageInput
from subspace.train.networks.backbone import Backbone
from subspace.train.networks.layer_memory import embedding_bytes, training_bytes


class Layers(nn.Module):
    """3 · 4 · 4 = 48 numbers to 100, to 10."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.middle, self.two = nn.Linear(48, 100), nn.Tanh(), nn.Linear(100, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.two(self.middle(self.one(images.flatten(1))))


def network() -> Backbone:
    return Backbone(Layers(), spec="layers", input=ImageInput(4), embedding_size=10)


def test_of_layers_counted_by_hand() -> None:
    # 48 come in, tanh keeps its result; unit length keeps the 10 and a little more
    least = 4 * (48 + 100 + 10)
    assert 1.5 * least <= training_bytes(network()) <= 1.5 * (least + 4 * 40)
    assert embedding_bytes(network()) == 2 * 4 * (100 + 100)  # tanh takes in and gives 100


def test_a_network_is_as_before() -> None:
    small, images = build_backbone("small", seed=0), torch.zeros((2, 3, 32, 32), dtype=torch.uint8)
    before = small.eval()(images)
    state = torch.get_rng_state()
    assert embedding_bytes(small) > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(small(images), before)


@pytest.mark.parametrize("count", [8, 64])
def test_no_less_than_what_autograd_holds(count: int) -> None:
    """Two images say what a batch of any size keeps."""
    small = build_backbone("small", seed=0).train()
    weights = {one.untyped_storage().data_ptr() for one in (*small.parameters(), *small.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda same: same):
        result = small(torch.zeros((count, 3, 32, 32), dtype=torch.uint8))
    assert 1 <= count * training_bytes(build_backbone("small", seed=0)) / sum(kept.values()) <= 1.6
    del result


def test_nothing_is_kept_of_a_measured_network() -> None:
    """Each round measures a copy; kept, they were 5 MB a round."""
    network = build_backbone("small", seed=0)
    weights = weakref.ref(next(network.parameters()))
    training_bytes(network)
    del network
    gc.collect()
    assert weights() is None
