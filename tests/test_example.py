"""The example in `examples/` runs, learns, and stays short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import REPOSITORY

EXAMPLE = REPOSITORY / "examples" / "own_loop.py"


def test_example(small_manifest: Path) -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 60
    done = subprocess.run(
        [sys.executable, EXAMPLE, small_manifest, "41"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in done.stdout.splitlines()]
    assert len(losses) == 5
    assert min(losses[1:]) < losses[0]
