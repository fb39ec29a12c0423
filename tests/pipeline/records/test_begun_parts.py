"""The note beside unfinished parts of an embedding: parts of other settings are refused by the name of the setting."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from subspace.mining.errors import StaleArtifactError
from subspace.pipeline.records.begun_parts import BEGUN, BegunParts

FIELDS = {"data.train_splits": ["train"], "extract.max_images": 2, "extract.flip": True, "code": "0.1.0"}


def begun(folder: Path, **other: Any) -> BegunParts:
    changed = {f"extract.{name}" if name != "code" else name: value for name, value in other.items()}
    return BegunParts(folder / "parts", {**FIELDS, **changed}, "AGAIN")


def make_part(folder: Path) -> None:
    (folder / "parts").mkdir(exist_ok=True)
    (folder / "parts" / "means-00000-of-00002.parquet").touch()


def test_the_same_settings_go_on(tmp_path: Path) -> None:
    begun(tmp_path).refuse_others()  # nothing is there
    assert not (tmp_path / "parts").exists()
    begun(tmp_path).begin()
    assert os.listdir(tmp_path / "parts") == [BEGUN]
    assert json.loads((tmp_path / "parts" / BEGUN).read_text()) == FIELDS
    make_part(tmp_path)
    begun(tmp_path).begin()
    begun(tmp_path).refuse_others()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"max_images": 4}, "extract.max_images=2, now it is 4"),
        ({"max_images": None}, "extract.max_images=2, now it is null"),
        ({"batch_size": 8}, "extract.batch_size=not set, now it is 8"),
        ({"code": "0.2.0", "new": 1}, "subspace-mining 0.1.0, now it is 0.2.0"),
    ],
)
def test_others_are_refused_by_name(tmp_path: Path, other: dict[str, Any], words: str) -> None:
    begun(tmp_path).begin()
    make_part(tmp_path)
    message = f"{tmp_path}/parts was begun with {words}; finish it as it was, or begin again: AGAIN"
    for find in (begun(tmp_path, **other).begin, begun(tmp_path, **other).refuse_others):
        with pytest.raises(StaleArtifactError, match=re.escape(message)) as refused:
            find()
        assert refused.value.change == f"begun with {words}"
    assert json.loads((tmp_path / "parts" / BEGUN).read_text()) == FIELDS


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_damaged_note_is_refused(tmp_path: Path, text: str) -> None:
    make_part(tmp_path)
    (tmp_path / "parts" / BEGUN).write_text(text)
    with pytest.raises(StaleArtifactError, match="begin again: AGAIN"):
        begun(tmp_path).begin()


def test_a_note_without_parts_binds_nobody(tmp_path: Path) -> None:
    """What ended before its first part, such as by an unreadable image, refused the setting that its message advised."""
    begun(tmp_path).begin()
    begun(tmp_path, max_images=4).refuse_others()
    begun(tmp_path, max_images=4).begin()
    assert json.loads((tmp_path / "parts" / BEGUN).read_text())["extract.max_images"] == 4
    assert os.listdir(tmp_path / "parts") == [BEGUN]


def test_parts_of_a_version_that_noted_nothing_get_a_note(tmp_path: Path) -> None:
    make_part(tmp_path)
    begun(tmp_path).begin()
    assert json.loads((tmp_path / "parts" / BEGUN).read_text()) == FIELDS
