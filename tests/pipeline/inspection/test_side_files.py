"""The lock, the image index, event files, logs and scripts."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import subspace
from torch.utils.tensorboard import SummaryWriter

from subspace.mining import InputError
from subspace.mining.manifest import Manifest
from subspace.pipeline.inspection.side_files import (
    summarize_events,
    summarize_index,
    summarize_lock,
    summarize_plot,
    summarize_script,
    summarize_text_log,
)
from subspace.train.data.image_index import write_image_index


def test_the_lock_of_a_killed_command(tmp_path: Path) -> None:
    note = {"command": "train", "pid": 7, "host": "node3", "since": time.time() - 192}
    (tmp_path / ".lock").write_text(json.dumps(note))
    shown = [" ".join(line.split()) for line in summarize_lock(tmp_path / ".lock").lines()]
    assert "command subspace train" in shown
    assert "process 7 on node3" in shown
    assert "begun 3 min 12 s ago" in shown
    assert "state was stopped or killed; run it again to continue" in shown


def test_a_free_lock_and_a_damaged_one(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("")
    assert "no command is at work here" in "\n".join(summarize_lock(tmp_path / ".lock").lines())
    for text in ("{", "[1]", '{"command": "run"}'):
        (tmp_path / ".lock").write_text(text)
        with pytest.raises(InputError, match="damaged"):
            summarize_lock(tmp_path / ".lock")


def test_an_image_index(small_source: Path, tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(5)]
    table = pa.table({"identity": ["a", "a", "b", "b", "b"], "uri": names})
    for name, image in zip(names, pq.read_table(small_source)["image"].to_pylist(), strict=False):
        (tmp_path / name).write_bytes(image)
    pq.write_table(table, tmp_path / "source.parquet")
    assert subspace("ingest", tmp_path / "source.parquet", "--out", tmp_path / "m.parquet").returncode == 0
    manifest = Manifest.open(tmp_path / "m.parquet")
    write_image_index(tmp_path / "images.index", manifest)
    facts = summarize_index(tmp_path / "images.index").facts
    assert facts["images"] == 5
    assert facts["manifest"] == manifest.fingerprint
    (tmp_path / "images.index").write_bytes((tmp_path / "images.index").read_bytes()[:20])
    with pytest.raises(InputError, match="image index"):
        summarize_index(tmp_path / "images.index")


def test_an_event_file_and_one_cut_short(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(4):
            writer.add_scalar("loss", 1.0, step)
    (path,) = tmp_path.iterdir()
    summary = summarize_events(path)
    assert summary.facts["events"] == 5  # and one that says what the file is
    assert f"tensorboard --logdir {tmp_path}" in "\n".join(summary.lines())
    path.write_bytes(path.read_bytes()[:-3])
    cut = summarize_events(path)
    assert cut.facts["events"] == 4
    assert "cut short" in "\n".join(cut.lines())
    path.write_bytes(b"other bytes")
    with pytest.raises(InputError, match="TensorBoard"):
        summarize_events(path)


def test_a_log_shows_its_last_lines(tmp_path: Path) -> None:
    bar = "train:  10%\rtrain:  90%\r"
    text = "".join(f"line {number}\n" for number in range(100)) + f"{bar}\nsubspace: \x1b[31mdisk is full\n"
    (tmp_path / "job.log").write_text(text)
    summary = summarize_text_log(tmp_path / "job.log")
    assert summary.facts["lines"] == 102
    assert summary.facts["last_lines"][-2] == "train:  90%"
    lines = summary.lines()
    assert lines[-1].endswith("disk is full")
    assert "\x1b" not in lines[-1]
    assert not any(line.strip() == "line 91" for line in lines)


def test_a_script_of_slurm(tmp_path: Path) -> None:
    path = tmp_path / "round-000-train.sh"
    path.write_text("#!/bin/bash\n#SBATCH --time=10\ncd /runs\nrun subspace train /runs/a --round 0\n")
    summary = summarize_script(path)
    assert summary.facts["asks"] == ["--time=10"]
    assert summary.facts["runs"] == ["run subspace train /runs/a --round 0"]
    path.write_text("echo no\n")
    with pytest.raises(InputError, match="none of `subspace submit`"):
        summarize_script(path)
    with path.open("a") as file:
        file.write("run subspace train /runs/a\n")
        file.truncate(1 << 40)  # sparse: reading all of it would be a MemoryError
    with pytest.raises(InputError, match="none of `subspace submit`"):
        summarize_script(path)


def test_a_log_is_not_read_as_a_whole(tmp_path: Path) -> None:
    """One larger than memory was a MemoryError."""
    lines, path = 300_000, tmp_path / "job.log"
    path.write_text("".join(f"line {number:05d}, and more words\n" for number in range(lines)))
    size = path.stat().st_size
    tracemalloc.start()
    summary = summarize_text_log(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (summary.facts["lines"], summary.facts["bytes"]) == (lines, size)
    assert summary.facts["last_lines"][-1] == "line 299999, and more words"
    assert most < size / 2


def test_a_plot(tmp_path: Path) -> None:
    (tmp_path / "lr.svg").write_text("<svg/>")
    assert "any browser" in "\n".join(summarize_plot(tmp_path / "lr.svg").lines())
    for name, title in (
        ("lr.svg", "figure and loss over the learning rate"),
        ("curve.svg", "a loss that a search found, drawn"),
        ("mine.svg", "a plot"),
    ):
        (tmp_path / name).write_text("<svg/>")
        assert summarize_plot(tmp_path / name).title == title
    (tmp_path / "lr.svg").write_text("<html/>")
    with pytest.raises(InputError, match="no plot"):
        summarize_plot(tmp_path / "lr.svg")
