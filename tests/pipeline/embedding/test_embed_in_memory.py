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
