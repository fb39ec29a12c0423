"""Every damaged table is one line: what is wrong, in which file, which command remakes it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from damaged.tables import CASES, REMADE, Case
from unsealed_runs import said_by, unseal

UNDONE = {"cluster": ("cluster", "plan", "train"), "plan": ("plan", "train"), "train": ("train",)}
"""Markers that are gone, so that a command has something to do."""


@pytest.fixture(scope="module")
def run(finished_run: Path, small_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copy(small_manifest, folder / "manifest.parquet")
    shutil.copytree(finished_run, folder / "run", symlinks=True)
    unseal(folder / "run")
    return folder / "run"


@pytest.fixture
def undone(run: Path, case: Case) -> Iterator[None]:
    """The run in the state in which the command of a case meets its file; put back in the end."""
    file = run.parent / "manifest.parquet" if case.file == "MANIFEST" else run / case.file
    before = file.read_bytes()
    markers = [run / "round-000" / "done" / f"{stage}.json" for stage in UNDONE.get(case.command[0], ())]
    kept = {marker: marker.read_bytes() for marker in markers}
    for marker in markers:
        marker.unlink()
    case.damage(file)
    yield
    if file.is_dir():
        file.rmdir()
    file.write_bytes(before)
    for marker, content in kept.items():
        marker.write_bytes(content)


def test_there_are_many_cases_and_no_name_twice() -> None:
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.usefixtures("undone")
def test_a_damaged_table_is_one_line(run: Path, case: Case) -> None:
    manifest = run.parent / "manifest.parquet"
    file = manifest if case.file == "MANIFEST" else run / case.file
    words = {"RUN": str(run), "FILE": str(file), "manifest=MANIFEST": f"manifest={manifest}"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code, line = said_by([words.get(word, word) for word in case.command])
    assert code == case.code, line
    assert "\n" not in line
    assert str(file if case.file != "round-000/plan/part-00000.parquet" else file.parent) in line
    assert case.line.replace("FILE", str(file)) in line
    if case.code == 3 and case.file != "MANIFEST":
        assert f"`{REMADE[case.file].replace('RUN', str(run))}`" in line
