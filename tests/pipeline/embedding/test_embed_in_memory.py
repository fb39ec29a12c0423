"""`embed(network, images)`: every kind of image gives the embedding that its file gives.

Covers pipeline/embedding/opened_network.py, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from subspace.mining import InputError, Manifest
from subspace.pipeline import embed
from subspace.train import Backbone, CheckpointMeta, build_backbone, load_network, save_checkpoint


@pytest.fixture(scope="module")
def network() -> Backbone:
    return build_backbone("small", embedding_size=8, seed=1)


@pytest.fixture
def pictures(tmp_path: Path) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    made = [random.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(3)]
    for number, pixels in enumerate(made):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return made


def test_paths_pictures_and_arrays_are_the_same(
    network: Backbone, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = network.eval()(batch).numpy()
        raw = (network.features(batch) + network.features(batch.flip(3))).numpy() / 2
    paths: list[Any] = [tmp_path / f"{number}.png" for number in range(3)]
    given: list[Any] = [paths, pictures, np.stack(pictures), [*map(Image.fromarray, pictures)]]
    given.append([str(paths[0]), pictures[1], Image.fromarray(pictures[2])])
    for images in given:
        assert np.allclose(embed(network, images, device="cpu", batch_size=2), expected, atol=1e-6)
    assert np.allclose(embed(network, paths[1]), expected[1:2], atol=1e-6)
    assert np.allclose(embed(network, paths, flip=True, normalize=False), raw, atol=1e-5)
    assert embed(network, []).shape == (0, 8)


def test_one_picture_is_one_embedding(network: Backbone, pictures: list[np.ndarray]) -> None:
    expected = embed(network, pictures[:1])
    for one in (pictures[0], Image.fromarray(pictures[0])):
        assert np.allclose(embed(network, one), expected, atol=1e-6)
    grey = pictures[0][..., 0]
    assert np.allclose(embed(network, grey), embed(network, [grey]), atol=1e-6)
    assert embed(network, np.stack([grey, grey])).shape == (2, 8)


@pytest.mark.parametrize(("suffix", "tags"), [(".pgm", {}), (".tif", {}), (".tif", {262: 0})])
def test_16_bits_are_the_same_opened_and_by_path(
    network: Backbone, tmp_path: Path, suffix: str, tags: dict[int, int]
) -> None:
    """262: 0 is a TIFF of which 0 is white."""
    path = tmp_path / f"grey{suffix}"
    Image.fromarray(np.arange(0, 65_536, 64, np.uint16).reshape(32, 32)).save(
        path, **({"tiffinfo": tags} if tags else {})
    )
    with Image.open(path) as opened:
        assert np.allclose(embed(network, [opened]), embed(network, [path]), atol=1e-6)


def test_a_picture_of_the_caller_keeps_its_size(network: Backbone, tmp_path: Path) -> None:
    """Of a large JPEG no more is decoded than a network needs."""
    Image.effect_noise((512, 512), 60).convert("RGB").save(tmp_path / "large.jpg")
    with Image.open(tmp_path / "large.jpg") as opened:
        embed(network, [opened])
        assert opened.size == (512, 512)


def test_the_network_of_the_caller_keeps_its_modes(pictures: list[np.ndarray]) -> None:
    network = build_backbone("small", embedding_size=8).train()
    frozen = next(module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d))
    frozen.eval()
    before = [module.training for module in network.modules()]
    embed(network, pictures)
    assert [module.training for module in network.modules()] == before
    with pytest.raises(InputError):
        embed(network, [*pictures, None], batch_size=1)
    assert [module.training for module in network.modules()] == before


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_has_an_image(network: Backbone, size: int) -> None:
    with pytest.raises(InputError, match=f"batch_size={size}: give 1 or more"):
        embed(network, [], batch_size=size)


def test_a_network_makes_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "short_net.py").write_text(
        "import torch\n"
        "def net():\n"
        "    made = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 64))\n"
        "    made.embedding_size, made.input_size = 128, 8\n"
        "    return made\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"makes \[1, 64\] of one image, not \[1, 128\]"):
        embed("python:short_net:net", [])


def test_a_manifest_and_the_path_of_a_checkpoint(
    network: Backbone, small_manifest: Path, tmp_path: Path
) -> None:
    save_checkpoint(
        tmp_path / "ck", network, CheckpointMeta("small", embedding_size=8, step=0, fingerprint="1")
    )
    one = embed(tmp_path / "ck", small_manifest, device="cpu")
    two = embed(load_network(f"checkpoint:{tmp_path / 'ck'}"), Manifest.open(small_manifest), device="cpu")
    assert one.shape == (len(Manifest.open(small_manifest)), 8)
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["nowhere.png"], "nowhere.png cannot be read: No such file"),
        ([np.zeros((4, 4, 3))], "image 0 is float64"),
        ([np.zeros((4, 4, 3), np.uint8), None], "image 1 is NoneType"),
    ],
)
def test_what_is_no_image_is_said(network: Backbone, images: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        embed(network, images)


def test_weights_are_never_random() -> None:
    with pytest.raises(InputError, match="drawn at random"):
        embed("iresnet18", [])
    with pytest.raises(InputError, match="pretrained"):
        embed("timm:resnet18", [])
