"""What counts as a network's head: by default, by name, and what is wrong with a name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from subspace.mining import InputError
from subspace.train.networks.building import build_backbone
from subspace.train.networks.head import head_parameters


class Wrapped(nn.Module):
    """A linear layer in the middle, the head's at the end, and a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 4))
        self.first = nn.Linear(4, 4)
        self.fc = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.fc2 = nn.Linear(4, 2)
        self.bn = nn.BatchNorm1d(2)


@pytest.mark.parametrize(
    ("name", "below"), [("small", {"convolutions"}), ("iresnet18", {"conv1", "bn1", "prelu", "bn2", "layer"})]
)
def test_the_head_is_the_last_linear_layer_and_what_follows(name: str, below: set[str]) -> None:
    network = build_backbone(name)
    head = head_parameters(network)
    assert {part.split(".")[1] for part in head} == {"fc", "features"}
    rest = {n.split(".")[1].rstrip("1234") for n, _ in network.named_parameters() if n not in head}
    assert rest == {part if part == "convolutions" else part.rstrip("1234") for part in below}


def test_of_several_linear_layers_the_last_counts() -> None:
    assert head_parameters(Wrapped()) == {"fc2.weight", "fc2.bias", "bn.weight", "bn.bias"}


@pytest.mark.parametrize(
    ("prefixes", "head"),
    [
        (["fc2"], {"fc2.weight", "fc2.bias"}),
        (["fc.1", "bn"], {"fc.1.weight", "fc.1.bias", "bn.weight", "bn.bias"}),
        (["token", "fc2.weight"], {"token", "fc2.weight"}),
    ],
)
def test_names_take_whole_modules(prefixes: list[str], head: set[str]) -> None:
    assert head_parameters(Wrapped(), prefixes) == head


def test_names_of_a_backbone_need_no_body() -> None:
    network = build_backbone("small")
    assert head_parameters(network, ["features"]) == head_parameters(network, ["body.features"])
    assert head_parameters(network, ["fc", "features"]) == head_parameters(network)


def test_mistakes_name_what_there_is() -> None:
    with pytest.raises(InputError, match=r"no parameters in 'f'; it has token, first, fc, fc2, bn"):
        head_parameters(Wrapped(), ["fc", "f"])
    with pytest.raises(InputError, match=r"no linear layer.*out of 0"):
        head_parameters(nn.Sequential(nn.Conv2d(3, 4, 3)))
    with pytest.raises(InputError, match=r"no parameter that trains.*out of convolutions, fc, features"):
        head_parameters(build_backbone("small").requires_grad_(False))
