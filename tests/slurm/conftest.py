"""A Slurm of three nodes for the tests of this folder."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent))  # last: `conftest` is that of all tests
from mini_slurm import SYSTEM_PATH, MiniSlurm


@pytest.fixture(scope="session")
def slurm() -> Iterator[MiniSlurm]:
    """For all tests; an array may have two tasks, so that most have to be split."""
    missing = [
        name for name in ("munged", "slurmctld", "slurmd") if shutil.which(name, path=SYSTEM_PATH) is None
    ]
    if missing or os.geteuid():
        pytest.skip(
            f"{', '.join(missing) or 'a user who is not root'}: `make slurm-test` installs Slurm and needs root"
        )
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        MiniSlurm(Path(folder) / "s", kill_wait=15, max_array_size=2) as running,
    ):
        yield running
