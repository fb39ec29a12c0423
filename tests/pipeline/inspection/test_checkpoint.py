"""A checkpoint: its meta.json in words, its weights counted, damage among its files said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from subspace.mining.errors import DamagedFileError
from subspace.pipeline.inspection.checkpoint import summarize_checkpoint, summarize_meta


def test_a_checkpoint_in_words(finished_run: Path) -> None:
    folder = finished_run / "round-001" / "checkpoint"
    summary = summarize_checkpoint(folder)
    meta = json.loads((folder / "meta.json").read_text())
    assert summary.facts["step"] == meta["step"] == 8
    assert summary.facts["files"]["model.safetensors"] == (folder / "model.safetensors").stat().st_size
    text = "\n".join(summary.lines())
    for raw in ("embedding_size", "created_by", "collapse", "level", "losses"):
        assert raw not in text
    assert "training steps taken 8" in " ".join(text.split())


def test_the_guards_are_shown_where_they_acted(finished_run: Path, tmp_path: Path) -> None:
    meta = json.loads((finished_run / "start" / "checkpoint" / "meta.json").read_text())
    state = {"level": 2, "peak": 2.012, "losses": [], "distances": []}
    meta |= {"collapse": state, "scaler": {"scale": 65536.0}}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    summary = summarize_meta(tmp_path / "meta.json")
    shown = [" ".join(line.split()) for line in summary.lines()]
    assert "softened against collapse 2 times" in shown
    assert "largest mean squared distance 2.012 of all pairs of a batch, 0 to 4" in shown
    assert "fp16 loss scale 65,536" in shown
    assert summary.facts["collapse"] == state


def test_a_damaged_file_is_marked_among_the_others(finished_run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished_run / "round-001" / "checkpoint", tmp_path / "checkpoint")
    (copy / "optimizer.safetensors").write_bytes(b"no")
    lines = summarize_checkpoint(copy).lines()
    (line,) = (line for line in lines if "optimizer.safetensors" in line)
    assert line.split()[1:] == ["damaged", "2", "B"]


@pytest.mark.parametrize("change", [{"step": "eight"}, {"collapse": 3}, {"scaler": None}, {"other": 1}])
def test_a_meta_that_is_not_ours_is_refused(
    finished_run: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    meta = json.loads((finished_run / "start" / "checkpoint" / "meta.json").read_text())
    (tmp_path / "meta.json").write_text(json.dumps(meta | change))
    with pytest.raises(DamagedFileError, match=r"meta\.json is damaged"):
        summarize_meta(tmp_path / "meta.json")
