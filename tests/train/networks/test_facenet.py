"""FaceNet's networks: the paper's parameters and multiply-adds, its rows one by one, and a few steps of training."""

from __future__ import annotations

import math

import pytest
import torch
from counted_multiply_adds import counted_by_hooks
from few_steps import losses_of
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from subspace.train.networks.building import build_backbone
from subspace.train.networks.facenet import (
    FACENET_INPUT_SIZES,
    NN2,
    Inception,
    InceptionNetwork,
    L2Pool,
    _maxout,
    build_facenet,
)
from subspace.train.networks.registry import NETWORKS

PUBLISHED = {  # parameters (None: not published) and multiply-adds, which the paper calls FLOPs
    "nn1": (140e6, 1.6e9),
    "nn2": (7.5e6, 1.6e9),
    "nn3": (7.5e6, 1.6e9 * (160 / 224) ** 2),
    "nn4": (None, 285e6),
    "nns1": (26e6, 220e6),
    "nns2": (4.3e6, 20e6),
}
ROWS = [  # table 2: channels and side before and after, parameters, multiply-adds
    ("3a", 192, 28, 256, 28, 164e3, 128e6),
    ("3b", 256, 28, 320, 28, 228e3, 179e6),
    ("3c", 320, 28, 640, 14, 398e3, 108e6),
    ("4a", 640, 14, 640, 14, 545e3, 107e6),
    ("4b", 640, 14, 640, 14, 595e3, 117e6),
    ("4c", 640, 14, 640, 14, 654e3, 128e6),
    ("4d", 640, 14, 640, 14, 722e3, 142e6),
    ("4e", 640, 14, 1024, 7, 717e3, 56e6),
    ("5a", 1024, 7, 1024, 7, 1.6e6, 78e6),
    ("5b", 1024, 7, 1024, 7, 1.6e6, 78e6),
]


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return build_facenet(name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_multiply_adds_are_within_5_percent_of_the_published(name: str) -> None:
    parameters, multiply_adds = PUBLISHED[name]
    network, (height, width) = on_meta(name), FACENET_INPUT_SIZES[name]
    if parameters is not None:
        assert sum(p.numel() for p in network.parameters()) == pytest.approx(parameters, rel=0.05)
    counted = counted_by_hooks(network, height, width)
    assert counted == pytest.approx(multiply_adds, rel=0.05)
    with FlopCounterMode(display=False) as flops:
        network.eval()(torch.zeros(1, 3, height, width, device="meta"))
    assert flops.get_total_flops() == 2 * counted  # torch counts additions too


@pytest.mark.parametrize(("place", "row"), list(enumerate(ROWS)), ids=[row[0] for row in ROWS])
def test_every_row_of_table_2_costs_what_it_says(
    place: int, row: tuple[str, int, int, int, int, float, float]
) -> None:
    _, channels, side, channels_out, side_out, parameters, multiply_adds = row
    with torch.device("meta"):
        module = Inception(channels, NN2[place]).eval()
        out = module(torch.zeros(1, channels, side, side))
        with FlopCounterMode(display=False) as flops:
            module(torch.zeros(1, channels, side, side))
    assert out.shape == (1, channels_out, side_out, side_out)
    assert NN2[place].channels(channels) == channels_out
    weights = sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Conv2d))
    assert weights == pytest.approx(parameters, rel=0.03)  # the table has two to three digits
    assert flops.get_total_flops() / 2 == pytest.approx(multiply_adds, rel=0.03)


def test_nn4_has_no_5x5_convolution_in_the_higher_layers() -> None:
    modules = [m for m in on_meta("nn4").modules() if isinstance(m, Inception)]
    kernels = [{m.kernel_size for m in module.modules() if isinstance(m, nn.Conv2d)} for module in modules]
    assert [(5, 5) in sizes for sizes in kernels] == [True] * 8 + [False] * 2


def test_l2_pool_is_the_length_of_each_neighbourhood() -> None:
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    padded = functional.pad(maps, (1, 1, 1, 1))
    pooled = L2Pool()(maps)
    for row in range(4):
        for column in range(5):
            length = padded[:, :, row : row + 3, column : column + 3].square().sum((2, 3)).sqrt()
            torch.testing.assert_close(pooled[:, :, row, column], length, rtol=1e-4, atol=1e-4)
    zeros = torch.zeros(1, 1, 3, 3, requires_grad=True)
    L2Pool()(zeros).sum().backward()
    assert zeros.grad is not None
    assert torch.isfinite(zeros.grad).all()


def test_maxout_takes_the_larger_of_two() -> None:
    assert _maxout(torch.tensor([[1.0, 3.0, 5.0, -2.0]])).tolist() == [[3.0, 5.0]]


@pytest.mark.parametrize("name", ["nn2", "nn4", "nns1", "nns2"])  # the others train in a slow test
def test_output_is_128_numbers_of_unit_length(name: str) -> None:
    network = build_backbone(name).eval()
    assert network.input == NETWORKS[name].input
    with torch.no_grad():
        images = torch.randint(0, 256, (2, 3, network.input.height, network.input.width), dtype=torch.uint8)
        embeddings = network(images)
    assert embeddings.shape == (2, 128)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))


def test_other_sizes_make_other_hidden_layers() -> None:
    with torch.device("meta"):
        for name, size in (("nns2", (64, 64)), ("nn1", (96, 112))):
            network = build_facenet(name, 64, input_size=size).eval()
            assert network(torch.zeros(1, 3, *size)).shape == (1, 64)
        assert isinstance(build_facenet("nn2", 64, input_size=(96, 64)), InceptionNetwork)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_few_steps_lower_the_loss(name: str) -> None:
    network = build_backbone(name, seed=1).train()
    steps, lr = (6, 0.01) if name == "nn1" else (12, 0.02)
    losses = losses_of(network, torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9), steps)
    assert all(map(math.isfinite, losses))
    assert min(losses[-2:]) < 0.9 * losses[0], losses
