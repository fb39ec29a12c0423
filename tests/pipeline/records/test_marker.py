"""The small files of a run are checked in full. Covers pipeline/records/examination.py and
pipeline/records/lock_note.py, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from subspace.mining.errors import StaleArtifactError
from subspace.pipeline.records.examination import read_examination
from subspace.pipeline.records.lock_note import parse_lock_note
from subspace.pipeline.records.marker import read_marker

MARKER: dict[str, Any] = {
    "stage": "train", "fingerprint": "f" * 32, "seconds": 0.2, "finished": "2026-11-27 06:30:24 UTC",
    "summary": {"steps": 8, "loss": None, "device": "cpu"}, "fields": {"seed": 0},
}  # fmt: skip
FIGURE = {"value": 0.5, "low": None, "high": None}


def written(folder: Path, value: Any) -> Path:
    (folder / "a.json").write_text(json.dumps(value))
    return folder / "a.json"


def test_a_marker_is_what_was_written(tmp_path: Path) -> None:
    assert read_marker(written(tmp_path, MARKER), "train", "remake it") == MARKER
    of_ours = {**MARKER, "stage": "census", "summary": {"anything": [1]}}
    assert read_marker(written(tmp_path, of_ours), "census", "remake it") == of_ours


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"stage": "plan"}, "it is of plan"),
        ({"fingerprint": None}, "fingerprint is null"),
        ({"seconds": -1}, "seconds is -1"),
        ({"summary": {"steps": "8"}}, 'summary.steps is "8"'),
        ({"summary": {}}, "it has no summary.steps"),
        ({"summary": {"steps": 8, "loss": "low"}}, "summary.loss is"),
        ({"fields": []}, "fields is a list"),
    ],
)
def test_a_marker_with_other_values_is_damaged(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    with pytest.raises(StaleArtifactError) as error:
        read_marker(written(tmp_path, {**MARKER, **change}), "train", "remake it")
    assert f"a.json is damaged: {why}" in str(error.value)
    assert str(error.value).endswith("; remake it")


def test_figures_of_a_marker_are_numbers(tmp_path: Path) -> None:
    marker = {**MARKER, "stage": "eval", "summary": {"Rank-1": 0.5, "TAR@FAR=1e-4": None}}
    assert read_marker(written(tmp_path, marker), "eval", "")["summary"]["Rank-1"] == 0.5
    marker["summary"]["Rank-1"] = "good"
    with pytest.raises(StaleArtifactError, match=r"summary\.Rank-1 is"):
        read_marker(written(tmp_path, marker), "eval", "")


def test_an_examination(tmp_path: Path) -> None:
    value = {"fingerprint": "f", "metrics": {"Rank-1": FIGURE}, "identities": 3}
    assert read_examination(written(tmp_path, value), "") == value
    for change in ({"metrics": {}}, {"metrics": {"Rank-1": {}}}, {"identities": -1}, {"fingerprint": ""}):
        with pytest.raises(StaleArtifactError):
            read_examination(written(tmp_path, {**value, **change}), "")


def test_a_lock_note() -> None:
    note = {"command": "train", "pid": 7, "host": "node3", "since": 1.0}
    assert parse_lock_note(json.dumps(note)) == note
    assert parse_lock_note("") is None
    for change in ({"pid": "7"}, {"pid": 0}, {"since": -1}, {"host": None}):
        with pytest.raises(ValueError, match=next(iter(change))):
            parse_lock_note(json.dumps({**note, **change}))
