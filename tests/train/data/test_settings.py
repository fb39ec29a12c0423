"""Settings of changes at random: written as users of other tools guess, refused in a line, silent in old fingerprints."""

from __future__ import annotations

from pathlib import Path

import pytest

from subspace.mining import InputError
from subspace.pipeline.configuration.config_file import load_config, parse_config, write_config
from subspace.train.data.settings import AugmentConfig

GIVEN = [
    "train.augment.crop=[0.6,1]", "train.augment.crop_ratio=[0.8,1.25]", "train.augment.hue=0.05",
    "train.augment.grey=0.1", "train.augment.blur=0.1", "train.augment.blur_sigma=[0.5,1]",
    "train.augment.functions=[python:mine:noise,python:mine.more:fog]", "pretrain.augment.erase=0.25",
]  # fmt: skip


def test_overrides_reach_every_form_and_files_keep_them(tmp_path: Path) -> None:
    config = parse_config({"manifest": "m.parquet"}, GIVEN, "test")
    augment = config.train.augment
    assert (augment.crop, augment.crop_ratio, augment.blur_sigma) == ((0.6, 1), (0.8, 1.25), (0.5, 1))
    assert augment.functions == ("python:mine:noise", "python:mine.more:fog")
    assert config.pretrain.augment == AugmentConfig(erase=0.25)
    write_config(tmp_path / "subspace.yaml", config)
    assert load_config(tmp_path / "subspace.yaml") == config


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("crop=[0.9,0.5]", "crop=[0.9,0.5] goes down; write the smaller number first (train.augment, "),
        ("crop=0.5", "write a list as [a,b]"),
        ("crop=[0,1]", "train.augment.crop.0=0"),
        ("crop_ratio=[1.5,2]", "crop_ratio=[1.5,2] has to hold 1"),
        ("grey=1.5", "train.augment.grey=1.5"),
        ("gray=0.1", "did you mean 'train.augment.grey'"),
        ("functions=[noise]", "'noise' is no function; write python:module:function"),
        ("functions=[python:.mine:noise]", "is no function"),
        ("functions=[python:mine]", "is no function"),
    ],
)
def test_mistakes_are_told_in_a_line(given: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_config({"manifest": "m.parquet"}, [f"train.augment.{given}"], "test")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_active() -> None:
    for given in (
        {"crop": (0.5, 1)},
        {"hue": 0.1},
        {"erase": 1},
        {"saturation": 0.1},
        {"functions": ("python:a:b",)},
    ):
        config = AugmentConfig.model_validate(given)
        assert config.active
        assert config.on_device
        assert not config.while_loading
    for given in ({"flip": 0.5}, {"shift": 2}):
        config = AugmentConfig.model_validate(given)
        assert config.active
        assert config.while_loading
        assert not config.on_device
    assert not AugmentConfig(blur_sigma=(1, 1), crop_ratio=(1, 1)).active


def test_fingerprints_name_what_is_set() -> None:
    assert AugmentConfig().fingerprint_fields() == {"flip": 0.0, "shift": 0}
    config = AugmentConfig(crop=(0.5, 1), blur=0.1, functions=("python:a:b",))
    assert config.fingerprint_fields() == {
        "flip": 0.0, "shift": 0, "crop": (0.5, 1), "blur": 0.1, "functions": ("python:a:b",)
    }  # fmt: skip
