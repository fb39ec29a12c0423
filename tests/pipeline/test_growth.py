"""What a long command holds does not grow: 1,000 steps with loader processes, and 50 rounds in one process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import QUICK, subspace

MOST_BYTES = 40_000_000
"""Of resident memory between the two looks: allocators settle, and no image or table is so large."""
MOST_FILES = MOST_THREADS = 2


class Held(NamedTuple):
    """What a process holds."""

    memory: int
    """Bytes, resident."""
    files: int
    threads: int
    children: int
    shared: int
    """Files in /dev/shm that it made or that are of its children."""
    temporary: int
    """Files in its temporary folder."""


def held_by(process: int, temporary: Path) -> Held:
    """Look at a process that is alive."""
    proc = Path(f"/proc/{process}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    children = [one for task in (proc / "task").iterdir() for one in (task / "children").read_text().split()]
    mapped = {line.split()[-1] for line in (proc / "maps").read_text().splitlines() if "/dev/shm/" in line}
    return Held(
        int(status["VmRSS"].split()[0]) * 1024, len(os.listdir(proc / "fd")), int(status["Threads"]), len(children),
        len(mapped), len(files_in(temporary)),
    )  # fmt: skip


def files_in(folder: Path) -> list[Path]:
    """All files below; torch leaves an empty folder of its own."""
    return [path for path in folder.rglob("*") if not path.is_dir()]


def looks(
    arguments: list[str], temporary: Path, early: Callable[[], bool], late: Callable[[], bool]
) -> tuple[Held, Held]:
    """Run a command, and look at it as soon as it is so far, twice."""
    temporary.mkdir()
    command = subprocess.Popen(
        [sys.executable, "-m", "subspace.pipeline.cli", *arguments, "--quiet"],
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    found = []
    for is_so_far in (early, late):
        while not is_so_far():
            assert command.poll() is None, f"ended with {command.returncode} before it was so far"
            time.sleep(0.02)
        found.append(held_by(command.pid, temporary))
    assert command.wait(600) == 0
    assert not files_in(temporary)
    return found[0], found[1]


def assert_steady(early: Held, late: Held) -> None:
    """Refuse growth."""
    print(early, late)
    assert late.memory <= early.memory + MOST_BYTES
    assert late.files <= early.files + MOST_FILES
    assert late.threads <= early.threads + MOST_THREADS
    assert late.children <= early.children
    assert late.shared <= early.shared
    assert late.temporary <= early.temporary


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at a process by /proc")
def test_a_thousand_steps(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = [
        "rounds=1",
        "plan.steps=1050",
        "train.num_workers=2",
        "train.log_every=10",
        "train.save_every=50",
    ]
    assert subspace("init", run, "--manifest", small_manifest, *QUICK, *settings).returncode == 0
    for stage in ("pretrain", "extract", "cluster", "plan"):
        assert subspace(stage, run).returncode == 0
    log = run / "round-000" / "metrics.jsonl"

    def lines(count: int) -> bool:
        return log.exists() and log.read_bytes().count(b"\n") >= count

    assert_steady(*looks(["train", str(run)], tmp_path / "tmp", lambda: lines(10), lambda: lines(100)))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at a process by /proc")
def test_fifty_rounds(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ["rounds=51", "plan.steps=3", "train.num_workers=1", "extract.num_workers=1"]
    assert subspace("init", run, "--manifest", small_manifest, *QUICK, *settings).returncode == 0

    def rounds(count: int) -> bool:
        return (run / f"round-{count:03}" / "identities.parquet").exists()

    assert_steady(*looks(["run", str(run)], tmp_path / "tmp", lambda: rounds(5), lambda: rounds(50)))
