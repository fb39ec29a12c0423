"""A plan is summarised as SQL over its files says; its hardness is that of its stage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from subspace.pipeline.inspection.summarize import summarize_path


def test_a_plan(finished_run: Path) -> None:
    summary = summarize_path(finished_run / "round-001" / "plan")
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
    facts = summarize_path(folder / "plan").facts
    assert facts["cosine to the nearest identity of the batch"] == said["hardness"]
    assert facts["the same in random batches"] == said["random_hardness"]
    copy = shutil.copytree(folder / "plan", tmp_path / "alone" / "plan")
    alone = summarize_path(copy).facts
    assert "the same in random batches" not in alone
    assert all(facts[name] == alone[name] for name in ("rows", "subspaces", "identities drawn"))
    shutil.copy(finished_run / "round-000" / "identities.parquet", tmp_path / "alone")
    assert "the same in random batches" in summarize_path(copy).facts


def test_the_parts_of_a_plan_are_one_plan(finished_run: Path, tmp_path: Path) -> None:
    (part,) = (finished_run / "round-001" / "plan").glob("*.parquet")
    table = pq.read_table(part)
    for number, rows in enumerate((table.slice(0, 5), table.slice(5), table.slice(0, 0))):
        pq.write_table(rows, tmp_path / f"part-{number:05d}.parquet")
    whole, parts = summarize_path(part), summarize_path(tmp_path)
    for name in ("rows", "subspaces", "identities drawn", "visits per identity (mean)"):
        assert whole.facts[name] == parts.facts[name]
    assert any(line.split() == ["files", "3"] for line in parts.lines())


def test_an_empty_plan(finished_run: Path, tmp_path: Path) -> None:
    (part,) = (finished_run / "round-001" / "plan").glob("*.parquet")
    pq.write_table(pq.read_table(part).slice(0, 0), tmp_path / "part-00000.parquet")
    assert summarize_path(tmp_path).facts["rows"] == 0
