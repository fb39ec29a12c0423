"""The log of a training: first, last, lowest and highest of each figure, against plain loops over its lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from subspace.mining import InputError, StaleArtifactError
from subspace.pipeline.inspection.training_log import summarize_log


def test_figures_of_a_real_training(finished_run: Path) -> None:
    path = finished_run / "round-001" / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    summary = summarize_log(path)
    assert summary.facts["steps"] == 8
    losses = [line["loss"] for line in lines if line["loss"] is not None]
    assert summary.facts["loss"] == {
        "first": losses[0], "last": losses[-1], "lowest": min(losses), "highest": max(losses)
    }  # fmt: skip
    assert sum(summary.facts["phases"].values()) == pytest.approx(lines[-1]["seconds"], rel=1e-3)
    text = "\n".join(summary.lines())
    for raw in ("active_fraction", "d_ap", "images_per_second", "seconds_"):
        assert raw not in text


def test_words_and_units(tmp_path: Path) -> None:
    lines = [
        {"step": 1, "loss": 2.5, "active_fraction": None, "lr": 0.016, "seconds": 40.0, "seconds_data": 30.0, "unreadable": 1},
        {"step": 3, "loss": 0.5, "active_fraction": None, "lr": 0.001, "seconds": 192.0, "seconds_data": 66.0, "unreadable": 2},
        {"step": 5, "loss": None, "active_fraction": None, "lr": 0.001, "seconds": 192.0, "unreadable": 0},
    ]  # fmt: skip
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 7, "lo')
    shown = [" ".join(line.split()) for line in summarize_log(path).lines()]
    assert "training steps 6" in shown
    assert "time 3 min 12 s" in shown
    assert "unreadable images 3" in shown
    assert "loss 2.500 0.500 0.500 4 2.500 2" in shown
    assert "loading 1 min 36 s 50 %" in shown
    assert "other 1 min 36 s 50 %" in shown
    assert not any("active" in line for line in shown)  # never known


def test_an_empty_log(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("")
    assert summarize_log(tmp_path / "metrics.jsonl").facts == {"lines": 0}


@pytest.mark.parametrize("text", ["no\n", "[]\n", "{}\n", '{"step": "one"}\n', '{"step": 1, "loss": []}\n'])
def test_other_lines_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n' + text)
    with pytest.raises(StaleArtifactError, match=r"line 2: .*remove that line"):
        summarize_log(tmp_path / "metrics.jsonl")


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        summarize_log(tmp_path / "metrics.jsonl")
