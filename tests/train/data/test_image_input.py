"""What a network says of its images: values checked, carried through JSON, applied as the formula has it. Covers train/data/preprocess_config.py, too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from subspace.mining.errors import DamagedFileError, InputError
from subspace.train.checkpoint import load_network, save_checkpoint
from subspace.train.checkpoint_meta import CheckpointMeta, read_meta
from subspace.train.data.image_input import ImageInput
from subspace.train.data.preprocess_config import PreprocessConfig
from subspace.train.networks.building import build_backbone

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.mark.parametrize(
    "input",
    [
        ImageInput(4, **IMAGENET),
        ImageInput(4, mean=127.5 / 255, std=128 / 255, channels="BGR"),
        ImageInput(4, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0), channels="BGR"),
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_are_those_of_the_formula(input: ImageInput, layout: torch.memory_format) -> None:
    images = torch.randint(0, 256, (3, 3, 4, 4), dtype=torch.uint8).contiguous(memory_format=layout)
    found = input.normalize(images)
    expected = np.empty(images.shape)
    for c in range(3):
        source = c if input.channels == "RGB" else 2 - c
        mean, std = (x[c] if isinstance(x, tuple) else x for x in (input.mean, input.std))
        expected[:, c] = (images[:, source].numpy() / 255 - mean) / std
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert found.is_contiguous(memory_format=layout)


def test_it_travels_through_json() -> None:
    input = ImageInput(
        (140, 116), **IMAGENET, resize="crop", crop=0.875, interpolation="bicubic", channels="BGR"
    )
    assert ImageInput.from_json(json.loads(json.dumps(input.to_json()))) == input
    for broken in ({}, {"size": 8, "colour": 1}):
        with pytest.raises(InputError, match="does not describe"):
            ImageInput.from_json(broken)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, "1 to 8,192 pixels"),
        ({"size": (3, -1)}, "1 to 8,192 pixels"),
        ({"size": 1_000_000}, "1 to 8,192 pixels"),
        ({"size": 8, "std": 0.0}, "must be positive"),
        ({"size": 8, "std": float("inf")}, "finite"),
        ({"size": 8, "std": float("nan")}, "finite"),
        ({"size": 8, "mean": (0.0, float("nan"), 0.0)}, "finite"),
        ({"size": 8, "std": (1.0, 1.0, 0.0)}, "must be positive"),
        ({"size": 8, "mean": (0.5, 0.5)}, "one for each of three"),
        ({"size": 8, "crop": 0.0}, "above 0"),
        ({"size": 8, "resize": "squeeze"}, "stretch, crop, letterbox"),
        ({"size": 8, "interpolation": "cubic"}, "bilinear, bicubic"),
        ({"size": 8, "channels": "GBR"}, "RGB, BGR"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImageInput(**values)  # pyright: ignore[reportArgumentType]


def test_settings_lie_over_what_the_network_says() -> None:
    config = PreprocessConfig(size=(48, 32), mean=(0.1, 0.2, 0.3))
    assert config.applied_to(ImageInput(32, std=0.25)) == ImageInput((48, 32), mean=(0.1, 0.2, 0.3), std=0.25)
    assert PreprocessConfig().applied_to(ImageInput(32)) == ImageInput(32)
    with pytest.raises(ValidationError):
        PreprocessConfig.model_validate({"channels": "GBR"})


def test_a_crop_counts_only_where_something_is_cropped() -> None:
    timms = ImageInput(224, resize="crop", crop=0.875)
    assert PreprocessConfig(resize="stretch").applied_to(timms) == ImageInput(224)
    assert PreprocessConfig(crop=0.9).applied_to(timms) == ImageInput(224, resize="crop", crop=0.9)
    with pytest.raises(InputError, match=r"preprocess\.crop=0\.5 counts with resize=crop only"):
        PreprocessConfig(crop=0.5).applied_to(ImageInput(32))


@pytest.mark.parametrize("size", [True, [32], [1, 2, 3], "large", 1.5])
def test_a_size_that_is_none_is_one_message(size: object) -> None:
    with pytest.raises(ValidationError) as caught:
        PreprocessConfig.model_validate({"size": size})
    assert len(caught.value.errors()) == 1
    assert "give pixels, such as 112" in str(caught.value)


def test_a_checkpoint_carries_it_and_settings_lie_over_that(tmp_path: Path) -> None:
    preprocess = PreprocessConfig(size=(48, 32), resize="letterbox", channels="BGR")
    network = build_backbone("small", embedding_size=8, preprocess=preprocess)
    save_checkpoint(tmp_path / "c", network, CheckpointMeta("small", 8, 0, "f"))
    expected = ImageInput((48, 32), resize="letterbox", channels="BGR")
    assert ImageInput.from_json(read_meta(tmp_path / "c").input) == expected
    opened = load_network(f"checkpoint:{tmp_path}/c")
    assert opened.input == expected
    images = torch.randint(0, 256, (2, 3, 48, 32), dtype=torch.uint8)
    assert torch.equal(opened.eval()(images), network.eval()(images))
    over = load_network(f"checkpoint:{tmp_path}/c", preprocess=PreprocessConfig(channels="RGB"))
    assert over.input == ImageInput((48, 32), resize="letterbox")


def test_checkpoints_from_before_say_nothing_and_mean_the_networks_own(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", build_backbone("small"), CheckpointMeta("small", 128, 0, "f"))
    path = tmp_path / "c" / "meta.json"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in meta.items() if key != "input"}))
    assert load_network(f"checkpoint:{tmp_path}/c").input == ImageInput(32)
    path.write_text(json.dumps({**meta, "input": {"size": "large"}}))
    with pytest.raises(DamagedFileError, match=r"meta\.json"):
        load_network(f"checkpoint:{tmp_path}/c")


def test_a_size_that_the_network_cannot_take_is_refused() -> None:
    with pytest.raises(InputError, match=r"an IResNet takes multiples of 16 px; \[96, 128\] is the nearest"):
        build_backbone("iresnet18", preprocess=PreprocessConfig(size=(100, 128)))
