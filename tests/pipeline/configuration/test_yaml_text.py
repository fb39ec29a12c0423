"""YAML that would exhaust or fool whoever builds it is refused before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from subspace.mining import InputError
from subspace.pipeline.configuration.config_file import load_config
from subspace.pipeline.configuration.yaml_text import MOST_BYTES, check_yaml, read_yaml_text

LAUGHS = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {
    "flow": "[" * 100_000,
    "flow, closed": "a: " + "[" * 90_000 + "]" * 90_000,
    "blocks": "".join(" " * depth + "a:\n" for depth in range(300)),
    "billion laughs": LAUGHS,
    "itself": "a: &a [*a]",
    "python": "a: !!python/object/apply:os.system [ls]",
    "a tag of their own": "a: !theirs 1",
    "5,000 digits": "seed: " + "9" * 5_000,
    "a null character": 'manifest: "a\\0b"',
    "not closed": "a: [1",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_would_exhaust_its_builder_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_yaml(text)
    path = tmp_path / "subspace.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_config(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_anchors_merge_keys_and_deep_enough_settings_pass() -> None:
    check_yaml("a: &a {P: 16, K: 2}\nb: *a\nc: {<<: *a, K: 4}\nd: [[[[1]]]]\ne: !!str 3\n")


def test_large_and_foreign_files_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "subspace.yaml"
    path.write_bytes(b"\xef\xbb\xbfmanifest: m\n")
    assert read_yaml_text(path) == "manifest: m\n"
    for data in (b"# " + b"x" * MOST_BYTES, b"manifest: \xff"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"^it "):
            read_yaml_text(path)


@pytest.mark.parametrize(
    "override", ["plan.P=" + "[" * 9_999, "seed=" + "9" * 5_000, "=3", "plan..P=3", "[=3", "a b=3", "model=${model}",
                 "train.optimizer.clip_norm=.inf", "x" * 5_000 + "=1"]
)  # fmt: skip
def test_overrides_are_refused_in_one_line(tmp_path: Path, override: str) -> None:
    path = tmp_path / "subspace.yaml"
    path.write_text("manifest: m\n")
    with pytest.raises(InputError) as error:
        load_config(path, [override])
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600
