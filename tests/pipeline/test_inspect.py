"""Inspect tells of every kind of artifact what SQL over the same file says; status tells where a run stands."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import duckdb
import pytest
from conftest import QUICK, subspace

from subspace.mining import InputError
from subspace.pipeline.inspect import inspect


def test_manifest(small_manifest: Path) -> None:
    summary = inspect(small_manifest)
    assert summary.kind == "manifest"
    assert summary.facts["rows"] == 420
    assert summary.facts["identities"] == 70
    assert summary.facts["split test"] == "16 identities, 96 images"
    assert summary.histograms["images per identity"] == [("6", 70)]


def test_plan(finished_run: Path) -> None:
    summary = inspect(finished_run / "round-001" / "plan")
    assert summary.facts["rows"] == 8
    assert summary.facts["identities per batch (P)"] == 8
    assert summary.facts["images per identity (K)"] == 2
    drawn = duckdb.sql(
        f"select count(distinct u) from (select unnest(identity_ids) u from '{finished_run}/round-001/plan/*.parquet')"
    ).fetchall()
    assert summary.facts["identities drawn"] == drawn[0][0]
    planned, random = (
        summary.facts[name]
        for name in ("cosine to the nearest identity of the batch", "the same in random batches")
    )
    assert -1 <= random <= planned <= 1


def test_a_plan_shows_what_its_stage_said_and_needs_no_identities(finished_run: Path, tmp_path: Path) -> None:
    folder = finished_run / "round-001"
    said = json.loads((folder / "done" / "plan.json").read_text())["summary"]
    facts = inspect(folder / "plan").facts
    assert facts["cosine to the nearest identity of the batch"] == said["hardness"]
    assert facts["the same in random batches"] == said["random_hardness"]
    copy = shutil.copytree(folder / "plan", tmp_path / "alone" / "plan")
    alone = inspect(copy).facts
    assert "the same in random batches" not in alone
    assert all(facts[name] == alone[name] for name in ("rows", "subspaces", "identities drawn"))
    shutil.copy(finished_run / "round-000" / "identities.parquet", tmp_path / "alone")
    assert "the same in random batches" in inspect(copy).facts


def test_subspaces_and_centroids_agree(finished_run: Path) -> None:
    members, centroids = (
        inspect(finished_run / "round-000" / f"{name}.parquet") for name in ("subspaces", "centroids")
    )
    assert members.histograms == centroids.histograms
    assert members.facts["subspaces"] == centroids.facts["rows"]


def test_every_artifact_of_a_run_is_known_and_printable(finished_run: Path) -> None:
    for path in finished_run.rglob("*.parquet"):
        summary = inspect(path)
        assert summary.facts["fingerprint"]
        assert "\n".join(summary.lines())
        json.dumps(summary.to_json())
    assert inspect(finished_run / "round-001" / "checkpoint").facts["step"] == 8


def test_foreign_files(tmp_path: Path, small_source: Path) -> None:
    (tmp_path / "text.parquet").write_text("no")
    for path in (tmp_path / "text.parquet", tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError):
            inspect(path)


def test_status_of_a_run_that_has_just_begun(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK).returncode == 0
    assert subspace("pretrain", run).returncode == 0
    assert subspace("extract", run, "--shard", "0", "--num-shards", "3").returncode == 0
    states = {
        (stage["folder"], stage["stage"]): (stage["state"], stage["note"])
        for stage in json.loads(subspace("inspect", run, "--json").stdout)
    }
    assert states["start", "pretrain"][0] == "done"
    assert states["start", "eval"][0] == "to do"
    assert states["round-000", "extract"] == ("begun", "1 of 3 parts")
    assert states["round-001", "train"][0] == "to do"
    text = subspace("status", run).stdout
    assert re.search(r"round-000/extract +begun", text)
    assert "no command is at work here" in text
