"""Loader processes that are killed or stopped under a command: it ends in one line, saved, and goes on when started again."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from conftest import QUICK, subspace
from running_processes import children, errors_of, is_alive, start, wait

SETTINGS = (
    "pretrain.steps=100000", "pretrain.num_workers=1", "pretrain.log_every=1", "pretrain.save_every=100000",
    "pretrain.trackers=[]",
)  # fmt: skip


def loaders(pid: int, processes: int) -> list[int]:
    """The loader processes of a command."""
    trainers = [pid] if processes == 1 else children(pid)
    return [loader for trainer in trainers for loader in children(trainer)]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("accident", ["killed", "stopped"])
def test_a_command_ends_saved(small_manifest: Path, tmp_path: Path, processes: int, accident: str) -> None:
    run = tmp_path / "run"
    done = subspace("init", run, "--manifest", small_manifest, *QUICK)
    assert done.returncode == 0, done.stderr
    together = ("--processes", str(processes)) if processes > 1 else ()
    process = start("pretrain", run, *together, *SETTINGS)
    metrics = run / "start" / "metrics.jsonl"
    wait(lambda: metrics.exists() and metrics.read_text().count("\n") > 3)
    victims = loaders(process.pid, processes)
    assert len(victims) == processes
    os.kill(victims[-1], signal.SIGKILL if accident == "killed" else signal.SIGSTOP)
    if accident == "stopped":
        time.sleep(2)  # what it made ahead is used up
        process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    errors = errors_of(process)
    assert time.monotonic() - began < 30
    assert process.returncode == 4, errors
    said = [line for line in errors.splitlines() if line.startswith("subspace: ")]
    assert len(said) == 1, errors
    assert ("was killed (SIGKILL), perhaps" if accident == "killed" else "stopped") in said[0]
    assert "Traceback" not in errors
    wait(lambda: not any(map(is_alive, victims)))
    assert list((run / "start" / "resume").glob("step-*"))
    taken = int(next((run / "start" / "resume").glob("step-*")).name[5:])
    lines = metrics.read_text().splitlines()[:taken]
    again = start("pretrain", run, *together, *SETTINGS)
    wait(lambda: len(metrics.read_text().splitlines()) > taken + 1)
    assert metrics.read_text().splitlines()[:taken] == lines  # with the seconds that each took: it went on
    again.terminate()
    assert "saved" in errors_of(again)
