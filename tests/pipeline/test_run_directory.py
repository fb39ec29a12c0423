"""Where the files of a run lie. Covers pipeline/stage_folder.py as well."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TextIO

import pytest

from subspace.mining import InputError, StaleArtifactError
from subspace.pipeline.run_directory import RunDirectory


def test_folders_are_those_that_others_sql_depends_on(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.config == tmp_path / "subspace.yaml"
    assert run.start.path == run.round(-1).path == run.network(0).path == tmp_path / "start"
    assert run.round(12).path == tmp_path / "round-012"
    assert run.network(2).checkpoint == tmp_path / "round-001" / "checkpoint"
    folder = run.round(1)
    assert [path.relative_to(tmp_path).as_posix() for path in (
        folder.identities, folder.subspaces, folder.centroids, folder.duplicates, folder.plan, folder.metrics,
        folder.evaluation, folder.validation, folder.marker("train"),
    )] == [
        "round-001/identities.parquet", "round-001/subspaces.parquet", "round-001/centroids.parquet",
        "round-001/duplicates.parquet", "round-001/plan", "round-001/metrics.jsonl", "round-001/evaluation.json",
        "round-001/validation.json", "round-001/done/train.json",
    ]  # fmt: skip


def test_rounds_are_found_by_their_folders(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert (run.rounds, run.latest_round) == ([], 0)
    for name in ("start", "round-000", "round-010", "round-002", "round-x", "round-"):
        (tmp_path / name).mkdir()
    assert (run.rounds, run.latest_round) == ([0, 2, 10], 10)
    for index in (-1, 0, 2, 10):
        assert run.index_of(run.round(index).name) == index == run.round(index).index


def test_a_stage_is_finished_once_its_marker_is_there(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path).round(0)
    assert not folder.finished("plan")
    with pytest.raises(InputError, match="does not exist"):
        folder.record("plan")
    folder.marker("plan").parent.mkdir(parents=True)
    marker = {"stage": "plan", "fingerprint": "a", "seconds": 1.0, "finished": "today", "summary": {}}
    folder.marker("plan").write_text(json.dumps(marker))
    assert folder.finished("plan")
    assert folder.record("plan") == marker
    folder.marker("plan").write_text("[]")
    with pytest.raises(StaleArtifactError, match=rf"`subspace plan {tmp_path} --round 0 --force`"):
        folder.record("plan")


def test_who_is_at_work(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    assert run.activity() == (None, False)
    with run.locked("train"):
        note, _ = run.activity()
        assert note is not None
        assert note["command"] == "train"
    assert run.activity() == (None, False)


OTHER = """
import sys
from pathlib import Path
from subspace.mining.errors import InputError
from subspace.pipeline.run_directory import RunDirectory
run = RunDirectory(Path(sys.argv[1]))
print(run.activity()[1], end=" ")
try:
    with run.locked("other"):
        print("got in")
except InputError as error:
    print(error)
"""


def another_process(run: Path) -> str:
    """What another process says that looks who is at work, and wants to work there."""
    return subprocess.run(
        [sys.executable, "-c", OTHER, str(run)], capture_output=True, text=True, check=True
    ).stdout


def test_a_holder_that_looks_who_is_at_work_keeps_its_run(tmp_path: Path) -> None:
    """A POSIX lock goes when its process closes any descriptor of the file."""
    run = RunDirectory(tmp_path / "run")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with run.locked("train"):
        for path in (tmp_path / "run", tmp_path / "link"):
            note, alive = RunDirectory(path).activity()
            assert alive
            assert note is not None
            assert note["command"] == "train"
            with (
                pytest.raises(InputError, match="in use by `subspace train`"),
                RunDirectory(path).locked("plan"),
            ):
                pass
        thread = threading.Thread(target=run.activity)
        thread.start()
        thread.join()
        said = another_process(run.path)
        assert said.startswith("True ")
        assert f"in use by `subspace train` (pid {os.getpid()}" in said
    assert run.activity() == (None, False)
    assert "got in" in another_process(run.path)
    with run.locked("plan"):
        pass


def test_a_killed_holder_frees_its_run_though_its_child_lives(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    ready, told = os.pipe()
    if (holder := os.fork()) == 0:
        with run.locked("train"):
            child = os.fork()
            if child:
                os.write(told, f"{child}\n".encode())
            signal.pause()
    child = int(os.read(ready, 20))
    with pytest.raises(InputError, match="in use"), run.locked("train"):
        pass
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    try:
        os.kill(child, 0)
        with run.locked("train"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_folder_in_which_nothing_was_made_goes_again(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path / "made")
    with folder.locked_to_make("embed"):
        assert folder.lock.exists()
    assert not folder.path.exists()
    with folder.locked_to_make("embed"):
        (folder.path / "part").touch()
    assert sorted(entry.name for entry in folder.path.iterdir()) == [".lock", "part"]
    with folder.locked_to_make("embed"):
        shutil.rmtree(folder.path)  # the work is done
    assert not folder.path.exists()


def test_a_lock_that_was_removed_while_it_was_waited_for_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, plain, calls = RunDirectory(tmp_path / "made"), fcntl.lockf, []

    def lockf(file: TextIO, how: int) -> None:
        calls.append(how)
        plain(file, how)
        if len(calls) == 1:
            shutil.rmtree(folder.path)

    monkeypatch.setattr(fcntl, "lockf", lockf)
    with folder.locked("embed"):
        assert len(calls) == 2
        assert folder.activity()[1]
        with pytest.raises(InputError, match="in use"), folder.locked("embed"):
            pass
