"""Commands that run while a test looks on, their child processes, and a network slow enough to be caught at work."""

from __future__ import annotations

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


def start(*arguments: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Begin `subspace ARGUMENTS`."""
    command = [sys.executable, "-m", "subspace.pipeline.cli", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def wait(until: Callable[[], object], seconds: float = 90) -> None:
    """Return once `until()` is true."""
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


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
