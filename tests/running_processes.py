"""Commands that run while a test looks on, what they say, and a network slow enough to be caught at work."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SLOW_NETWORK = """
import time
from torch import nn

class Slow(nn.Module):
    input_size, embedding_size = 16, 8

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 8))

    def forward(self, images):
        time.sleep(0.2)
        if images.std() > 0:  # not those with which the time is estimated
            with open("embedded.txt", "a") as file:
                file.write("x" * len(images))
        return self.layers(images)
"""
"""`slow_network.py` in the current folder; its `embedded.txt` is as long as images were embedded."""

PATIENCE = 300.0
"""Seconds after which what has not happened is taken never to happen; a busy machine needs many."""

PROGRESS = re.compile(r"^[\w ,.-]+: [\d,]+(/[\d,]+)? \w+, [\d.,]+/s.*\n", re.MULTILINE)


def start(*arguments: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Begin `subspace ARGUMENTS`."""
    command = [sys.executable, "-m", "subspace.pipeline.cli", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def without_progress(errors: str) -> str:
    """Standard error without the lines that say every ten seconds how far a slow machine has got."""
    return PROGRESS.sub("", errors)


def errors_of(process: subprocess.Popen[str]) -> str:
    """What a process says on standard error until its end, without progress."""
    return without_progress(process.communicate(timeout=PATIENCE)[1])


def wait(until: Callable[[], object], every: float = 0.02) -> None:
    """Return once `until()` is true, which is looked at after every so many seconds."""
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(every)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in found.stdout.split()]


def is_alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
