"""Every damaged document of a run ends its command in one line, with its exit code and the way on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import subspace
from damaged.documents import CASES, Case

FEWEST = 100
QUICK = {case.name.partition(":")[0]: case for case in reversed(CASES)}
"""The first case of each kind of file: the unmarked test."""


def names(case: Case) -> str:
    return f"{case.name}, {case.command[0]}"


def drive(case: Case, finished: Path, folder: Path) -> None:
    run = folder / "run"
    shutil.copytree(finished, run, symlinks=True)
    case.damage(run / case.file)
    done = subspace(*(word.replace("RUN", str(run)) for word in case.command))
    assert done.returncode == case.exit_code, done.stderr[-2000:]
    said = done.stderr.replace(str(run), "RUN")
    assert "Traceback" not in said
    assert said.rstrip("\n").rpartition("\n")[2].startswith("subspace: ")
    assert case.line in said
    assert len(said) < 4_000


@pytest.mark.parametrize("case", QUICK.values(), ids=names)
def test_a_damaged_document_is_told_in_one_line(case: Case, finished_run: Path, tmp_path: Path) -> None:
    drive(case, finished_run, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=names)
def test_every_damaged_document_is_told_in_one_line(case: Case, finished_run: Path, tmp_path: Path) -> None:
    drive(case, finished_run, tmp_path)


def test_there_are_enough_of_them() -> None:
    assert len({(case.name, case.command) for case in CASES}) >= FEWEST
