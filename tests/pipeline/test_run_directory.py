"""Where the files of a run lie. Covers pipeline/stage_folder.py as well."""

from __future__ import annotations

import json
from pathlib import Path

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
