"""One Slurm for all tests of this folder, which all carry the marker `slurm`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm.mini_slurm import SYSTEM_PATH, MiniSlurm


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("slurm")


@pytest.fixture(scope="session")
def can_run_slurm() -> None:
    """Skips where a Slurm cannot be started."""
    missing = [name for name in ("slurmctld", "munged") if not shutil.which(name, path=SYSTEM_PATH)]
    if missing or os.geteuid() != 0:
        lacking = " and ".join([*missing, *(["root's rights"] if os.geteuid() else [])])
        pytest.skip(f"no Slurm without {lacking}: run `make slurm-test` as root")


@pytest.fixture(scope="session")
def slurm(can_run_slurm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniSlurm]:
    """A started Slurm; a test that kills something of it starts it again."""
    with MiniSlurm(tmp_path_factory.mktemp("slurm") / "s") as started:
        yield started
