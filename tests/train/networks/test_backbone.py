"""Backbones: uint8 in, unit vectors out; weights by seed.

Covers train/networks/building.py and train/networks/small.py too.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from subspace.mining.errors import InputError
from subspace.train.networks.backbone import Backbone, ImageInput
from subspace.train.networks.building import build_backbone
from subspace.train.networks.small import SmallNetwork


def random_images(size: int, n: int = 4) -> torch.Tensor:
    return torch.randint(
        0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


@pytest.mark.parametrize(("spec", "size", "embedding_size"), [("small", 32, 128), ("iresnet18", 112, 512)])
@pytest.mark.parametrize("training", [True, False])
def test_embeddings_have_unit_length(spec: str, size: int, embedding_size: int, training: bool) -> None:
    network = build_backbone(spec).train(training)
    with torch.no_grad():
        embeddings = network(random_images(size))
    assert (network.spec, network.input, network.embedding_size) == (spec, ImageInput(size), embedding_size)
    assert embeddings.shape == (4, embedding_size)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("spec", ["iresnet34", "iresnet50", "iresnet100"])
def test_deep_networks_are_known(spec: str) -> None:
    with torch.device("meta"):
        network = build_backbone(spec, embedding_size=256).eval()
        assert network(torch.zeros((1, 3, 112, 112), dtype=torch.uint8)).shape == (1, 256)


def test_embedding_size_is_obeyed() -> None:
    network = build_backbone("small", embedding_size=40)
    assert network.embedding_size == 40
    assert network(random_images(32)).shape == (4, 40)


def test_normalize_is_its_formula_and_leaves_its_input_alone() -> None:
    images = random_images(8)
    expected = (images.double() / 255 - 0.25) / 0.5
    for given in (images, images.float()):
        before = given.clone()
        normalized = ImageInput(8, mean=0.25, std=0.5).normalize(given)
        assert normalized.dtype == torch.float32
        torch.testing.assert_close(normalized.double(), expected, rtol=0, atol=1e-6)
        assert torch.equal(given, before)
    extremes = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    torch.testing.assert_close(ImageInput(1).normalize(extremes).flatten(), torch.tensor([-1.0, 1.0]))


def test_uint8_and_normalised_floats_give_the_same_embeddings() -> None:
    network = build_backbone("small").eval()
    images = random_images(32)
    with torch.no_grad():
        assert torch.equal(network(images), network(network.input.normalize(images)))
        channels_last = images.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(network(channels_last), network(images), rtol=0, atol=1e-5)


def test_weights_are_a_function_of_the_seed_and_global_generator_is_untouched() -> None:
    state = torch.get_rng_state()
    first, again, other = (build_backbone("small", seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["body.fc.weight"], other["body.fc.weight"])
    torch.manual_seed(99)
    assert torch.equal(build_backbone("small", seed=3).body.fc.weight, first["body.fc.weight"])


@pytest.mark.parametrize("spec", ["small", pytest.param("iresnet18", marks=pytest.mark.slow)])
def test_bfloat16_autocast_gives_float32_unit_vectors(spec: str) -> None:
    network = build_backbone(spec).eval()
    images = random_images(network.input.size)
    with torch.no_grad():
        exact = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = network(images)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))
    assert ((embeddings * exact).sum(1) > 0.99).all()


def test_an_all_zero_embedding_has_finite_gradients() -> None:
    body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 5))
    nn.init.zeros_(body[1].weight)
    nn.init.zeros_(body[1].bias)
    embeddings = Backbone(body, spec="zeros", input=ImageInput(4), embedding_size=5)(random_images(4))
    assert torch.equal(embeddings, torch.zeros(4, 5))
    embeddings.sum().backward()
    assert torch.isfinite(body[1].weight.grad).all()


@pytest.mark.parametrize("shape", [(2, 3, 112, 112), (2, 1, 32, 32), (3, 32, 32)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"small takes images of shape \[B, 3, 32, 32\], got"):
        build_backbone("small")(torch.zeros(shape, dtype=torch.uint8))


def test_small_network_costs_what_it_says() -> None:
    network, macs = SmallNetwork().eval(), 0

    def count(module: nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal macs
        assert isinstance(module, (nn.Conv2d, nn.Linear))
        macs += out.numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, 32, 32))
    assert macs == 5_685_248
    assert sum(parameter.numel() for parameter in network.parameters()) == 585_232


def test_embedding_size_must_be_positive() -> None:
    with pytest.raises(InputError, match="embedding_size is 0"):
        build_backbone("small", embedding_size=0)
