"""Stored runs of earlier formats open for ever: they are read, found done, evaluated, exported and trained on.

A run that a later version cannot read must be refused in one line that names the command which upgrades it; none is yet.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from conftest import subspace

RUNS = sorted(Path(__file__).parent.glob("*.zip"))


@pytest.fixture(params=RUNS, ids=lambda path: path.stem)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with `run` and `manifest.parquet` as they were stored."""
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(tmp_path)
    settings = tmp_path / "run" / "subspace.yaml"
    settings.write_text(settings.read_text().replace("HERE", str(tmp_path)))
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    (tmp_path / "run" / "best").symlink_to(best["checkpoint"])
    return tmp_path


def test_there_are_stored_runs() -> None:
    assert {path.stem for path in RUNS} >= {"schema-1", "schema-1-sealed"}


def test_a_stored_run_is_done(stored: Path) -> None:
    done = subspace("status", "run", "--json", cwd=stored)
    assert done.returncode == 0, done.stderr
    states = {f"{stage['folder']}/{stage['stage']}": stage["state"] for stage in json.loads(done.stdout)}
    assert len(states) == 15
    assert set(states.values()) == {"done"}, states
    before = {path: path.read_bytes() for path in stored.rglob("*") if path.is_file()}
    done = subspace("run", "run", cwd=stored)
    assert done.returncode == 0, done.stderr
    assert "already done" in done.stdout
    assert {path: path.read_bytes() for path in before if path.name != ".lock"} == before


def test_its_files_are_as_they_were_written(stored: Path) -> None:
    done = subspace("status", "run", "--verify", cwd=stored)
    assert done.returncode == 0, done.stderr
    sealed = any("files" in json.loads(path.read_text()) for path in stored.glob("run/*/done/*.json"))
    assert ("all as written" in done.stdout) == sealed
    assert ("nothing could be verified" in done.stdout) != sealed


@pytest.mark.parametrize(
    "stored",
    [RUNS[0], *(pytest.param(path, marks=pytest.mark.slow) for path in RUNS[1:])],
    indirect=True,
    ids=lambda path: path.stem,
)
def test_every_file_of_it_is_shown(stored: Path) -> None:
    for path in [stored / "manifest.parquet", *sorted((stored / "run").rglob("*"))]:
        if path.name != ".lock":
            done = subspace("inspect", path, cwd=stored)
            assert done.returncode == 0, (path, done.stderr)


def test_it_serves(stored: Path) -> None:
    for words in (
        ["eval", "run/round-001/checkpoint", "--manifest", "manifest.parquet"],
        ["export", "run", "--to", "safetensors"],
        ["init", "more", "--manifest", "manifest.parquet", "--model", "checkpoint:run/best"],
    ):
        done = subspace(*words, cwd=stored)
        assert done.returncode == 0, done.stderr


def test_a_round_that_is_gone_is_made_again(stored: Path) -> None:
    folder = stored / "run" / "round-001"
    fingerprints = {
        path.stem: json.loads(path.read_text())["fingerprint"] for path in (folder / "done").iterdir()
    }
    shutil.rmtree(folder)
    done = subspace("run", "run", cwd=stored)
    assert done.returncode == 0, done.stderr
    made = {path.stem: json.loads(path.read_text())["fingerprint"] for path in (folder / "done").iterdir()}
    assert made == fingerprints
