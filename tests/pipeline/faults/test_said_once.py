"""Of several processes that end alike one says so."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import subspace
from running_processes import PATIENCE, wait
from torch.distributed import TCPStore

from subspace.mining.errors import InputError, LostContact, StoppedEarly
from subspace.pipeline.child_processes import PARENT
from subspace.pipeline.faults import said_once
from subspace.pipeline.stages.training_processes import free_port


def said_by(error: BaseException, patch: pytest.MonkeyPatch, port: int, ranks: tuple[int, ...]) -> list[int]:
    """The processes of four, two on each machine, that say an error when they end with it one after another."""
    speakers = []
    for rank in ranks:
        for name, value in {
            "RANK": rank, "LOCAL_RANK": rank % 2, "WORLD_SIZE": 4, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        }.items():  # fmt: skip
            patch.setenv(name, str(value))
        if said_once.is_mine_to_say(error):
            speakers.append(rank)
    return speakers


def test_equal_lines_are_said_once_and_others_too(monkeypatch: pytest.MonkeyPatch) -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=5))
    monkeypatch.setattr(said_once, "OTHERS_COME_WITHIN", 0.3)
    port = store.port
    assert said_by(StoppedEarly("stopped at step 3"), monkeypatch, port, (2, 0, 1, 3)) == [2]
    assert said_by(LostContact("process 1 lost contact"), monkeypatch, port, (1, 3)) == [1]
    assert said_by(LostContact("process 0 lost contact"), monkeypatch, port, (0,)) == []
    assert said_by(InputError("no such file on machine 2"), monkeypatch, port, (3,)) == [3]
    monkeypatch.setenv(PARENT, "1")
    assert said_by(StoppedEarly("stopped at step 3"), monkeypatch, port, (0, 1)) == [0, 1]


def test_where_nobody_can_be_asked_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(said_once, "REACHED_WITHIN", timedelta(seconds=0.2))
    nobody = free_port()
    assert said_by(InputError("wrong"), monkeypatch, nobody, (1,)) == [1]
    assert said_by(LostContact("process 1 lost contact"), monkeypatch, nobody, (1, 2, 3)) == [1, 2]
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert said_once.is_mine_to_say(LostContact("alone"))


@pytest.mark.slow
@pytest.mark.parametrize("accident", ["SIGTERM", "1 killed", "0 killed"])
def test_two_processes_of_a_launcher_end_in_one_line(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accident: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    assert subspace("plan", run, "--round", "0", "--force", "plan.steps=2000").returncode == 0
    log = run / "round-000" / "metrics.jsonl"
    log.unlink()
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    monkeypatch.setenv("WORLD_SIZE", "2")
    command = ["train", str(run), "--round", "0", "--force", "plan.steps=2000", "--quiet"]
    processes = []
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "subspace.pipeline.cli", *command], stderr=subprocess.PIPE, text=True
            )
        )
    wait(lambda: log.exists() and len(log.read_text().splitlines()) > 2)
    if accident == "SIGTERM":
        for process in processes:
            process.send_signal(signal.SIGTERM)
    else:
        processes[int(accident[0])].kill()
    ended = time.monotonic()
    words = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    assert time.monotonic() - ended < 60
    lines = [line for text in words for line in text.splitlines() if line.startswith("subspace:")]
    assert len(lines) == 1, words
    assert "Traceback" not in "".join(words)
    if accident == "SIGTERM":
        assert "stopped by" in lines[0]
        assert [process.returncode for process in processes] == [4, 4]
    else:
        alive = 1 - int(accident[0])
        assert f"process {alive} lost contact" in lines[0]
        assert processes[alive].returncode == 4
