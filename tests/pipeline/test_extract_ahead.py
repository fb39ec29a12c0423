"""Extracting while the round before is evaluated: the same bytes, and nothing is left running."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK, subspace
from running_processes import SLOW_NETWORK, children, errors_of, is_alive, wait

from subspace.pipeline import extract_ahead
from subspace.pipeline.config import RunConfig
from subspace.pipeline.console import Console
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.stages.stage import Options


def begin(run: Path, manifest: Path, *settings: str, cwd: Path | None = None) -> None:
    done = subspace("init", run, "--manifest", manifest, *QUICK, *settings, cwd=cwd)
    assert done.returncode == 0, done.stderr


def results(run: Path) -> dict[str, bytes]:
    """All but `meta.json`, which holds the setting itself."""
    names = ("model.safetensors", "optimizer.safetensors", "evaluation.json", "validation.json")
    wanted = [path for path in run.rglob("*") if path.name in names or path.suffix == ".parquet"]
    return {str(path.relative_to(run)): path.read_bytes() for path in wanted}


def test_the_same_bytes_from_a_folder_with_modules_of_the_same_names(
    finished_run: Path, small_manifest: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    begin(run, small_manifest)
    (tmp_path / "subspace" / "pipeline").mkdir(parents=True)
    for name in ("train", "mining", "json", "subspace/pipeline/__init__", "subspace/pipeline/extract_ahead"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a module of the user')\n")
    command = Path(sys.executable).parent / "subspace"
    done = subprocess.run(
        [command, "run", "run", "overlap=on"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for index in (0, 1):
        assert f"round-{index:03d}/extract: begins on cpu while the evaluation runs" in done.stdout
        marker = json.loads((run / f"round-{index:03d}" / "done" / "extract.json").read_text())
        assert marker["summary"]["images_per_second"] is None  # every part was there already
    assert "round-002" not in done.stdout
    assert "ended with" not in done.stdout
    assert results(run) == results(finished_run)
    assert not list(run.rglob("identities.parts"))
    assert "begins" not in subspace("run", run, "overlap=on").stdout


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_signal_leaves_it_running(small_manifest: Path, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "slow_network.py").write_text(SLOW_NETWORK)
    run = tmp_path / "run"
    model = (
        "model=python:slow_network:Slow",
        "pretrain.steps=0",
        "extract.batch_size=8",
        "rounds=1",
        "eval.distractors=0",
    )
    begin(run, small_manifest, *model, cwd=tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "subspace.pipeline.cli", "run", str(run), "overlap=on", "--quiet"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    parts = run / "round-000" / "identities.parts"
    wait(lambda: list(parts.glob("means-*")) or process.poll() is not None)
    (child,) = children(process.pid)
    process.send_signal(number)
    errors = errors_of(process)
    if number is signal.SIGTERM:
        assert process.returncode == 4, errors
        assert "stopped by SIGTERM" in errors
        assert not is_alive(child)
    wait(lambda: not is_alive(child))
    assert 0 < len(list(parts.glob("means-*"))) < 3  # it was stopped half-way
    if number is signal.SIGKILL:  # which leaves nobody time to tidy up
        done = subspace("run", run, "overlap=on", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        alone = tmp_path / "alone"
        begin(alone, small_manifest, *model, "overlap=off", cwd=tmp_path)
        assert subspace("run", alone, cwd=tmp_path).returncode == 0
        assert results(run) == results(alone)


def test_where_it_fails_the_extraction_says_why(small_manifest: Path, tmp_path: Path) -> None:
    """The other process ends without a word; the run goes on, meets the same and says it in one line."""
    run = tmp_path / "run"
    begin(run, small_manifest, "rounds=1", "pretrain.steps=1")
    (run / "round-000").mkdir()
    (run / "round-000" / "identities.parts").write_text("a file where a folder should be")
    refused = subspace("run", run, "overlap=on")
    assert refused.returncode == 2
    assert "round-000/extract: ended with exit code 2 ahead of its turn" in refused.stdout
    assert refused.stderr.count("\n") == 1
    (run / "round-000" / "identities.parts").unlink()
    assert subspace("run", run, "overlap=on").returncode == 0


@pytest.mark.parametrize(
    ("overlap", "device", "count", "expected"),
    [
        ("off", "cuda", 8, None),
        ("auto", "cpu", 8, None),
        ("auto", "cuda", 1, None),
        ("auto", "cuda", 2, "cuda:1"),
        ("auto", "cuda:1", 2, "cuda:0"),
        ("on", "cuda", 1, "cuda"),
        ("on", "cpu", 0, "cpu"),
    ],
)
def test_which_device(
    monkeypatch: pytest.MonkeyPatch, overlap: str, device: str, count: int, expected: str | None
) -> None:
    monkeypatch.setattr(extract_ahead, "pick_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    config = RunConfig.model_validate({"manifest": "m", "overlap": overlap})
    assert extract_ahead.device_ahead(config, device) == expected


@pytest.mark.parametrize(("device", "begins"), [("cuda:1", True), ("cpu", False)])
def test_several_processes_take_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, begins: bool
) -> None:
    """They need not wait for it; on a CPU it does not begin, as they have fewer threads each."""
    started: list[subprocess.Popen[str]] = []

    def popen(command: list[str], **options: Any) -> subprocess.Popen[str]:
        started.append(begin_process([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        return started[-1]

    begin_process = subprocess.Popen
    monkeypatch.setattr(extract_ahead, "device_ahead", lambda *_: device)
    monkeypatch.setattr(subprocess, "Popen", popen)
    config, options = RunConfig(manifest="m"), Options(Console(quiet=True), processes=2)
    with extract_ahead.extracting_ahead(RunDirectory(tmp_path), config, options, round_index=0):
        assert len(started) == begins
        assert all(process.poll() is None for process in started)
    assert all(process.returncode == -signal.SIGTERM for process in started)


def test_yaml_reads_on_and_off_as_booleans() -> None:
    for value, word in ((True, "on"), (False, "off"), ("auto", "auto")):
        assert RunConfig.model_validate({"manifest": "m", "overlap": value}).overlap == word
