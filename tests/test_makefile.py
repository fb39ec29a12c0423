"""The Makefile, as far as it says what it would do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make")
NOT_OURS = ("EXTRA", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
"""What `make test` leaves in the environment, or a user."""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the Makefile looks at, and an environment for the CPU."""
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".installed-cpu").touch()
    return tmp_path


def make(clone: Path, *words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    command = ["make", "--directory", clone, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("words", [("install", "EXTRA=gpu"), ("gpu-check",)])
def test_another_faiss_is_installed_where_one_is_there(clone: Path, words: tuple[str, ...]) -> None:
    """The stamp of an environment did not say which FAISS it has."""
    said = make(clone, "--dry-run", *words)
    assert "-e '.[gpu,dev]'" in said
    assert said.index("uninstall") < said.index("-e '.[gpu,dev]'")


@pytest.mark.parametrize("extra", ["cpu", "gpu", "cpu,timm"])
def test_what_is_installed_stays_as_it_is(clone: Path, extra: str) -> None:
    stamps = clone / ".venv"
    (stamps / ".installed-cpu").rename(stamps / f".installed-{extra}")
    for target in ("install", "demo", "test", "check"):
        assert "pip" not in make(clone, "--dry-run", target)
    (stamps / f".installed-{extra}").unlink()
    assert "-e '.[cpu,dev]'" in make(clone, "--dry-run", "test")


def test_only_what_make_made_is_cleaned_away(clone: Path) -> None:
    """README has users keep their runs in runs/."""
    for name in ("photos", "demo-subspace", "demo"):
        (clone / "runs" / name).mkdir(parents=True)
    make(clone, "clean")
    assert sorted(path.name for path in (clone / "runs").iterdir()) == ["demo", "photos"]
    assert not (clone / ".venv").exists()
