"""Tables of files, folders and runs by their names, against DuckDB's own reading of the same files."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from subspace.mining.errors import InputError
from subspace.pipeline.querying.named_tables import tables_of
from subspace.pipeline.querying.query import answer_query


def test_a_run_has_all_its_tables(finished_run: Path, small_manifest: Path) -> None:
    tables = tables_of(finished_run, small_manifest)
    assert {
        "manifest",
        "start_validation",
        "start_evaluation",
        "round_0_identities",
        "round_1_plan",
        "round_1_metrics",
    } < set(tables)
    assert "this" not in tables
    join = "select count(*) from {} m join {} s using (identity_id) where s.subspace_id = 0"
    (own,) = answer_query(tables, join.format("manifest", "round_1_subspaces")).rows
    assert (
        own
        == duckdb.sql(
            join.format(f"'{small_manifest}'", f"'{finished_run}/round-001/subspaces.parquet'")
        ).fetchall()[0]
    )
    (plan,) = answer_query(tables, "select count(*), max(step) from round_1_plan").rows
    assert plan == (8, 7)


def test_a_plan_a_log_and_figures(finished_run: Path) -> None:
    folder = finished_run / "round-001"
    assert set(tables_of(folder / "plan")) == {"this", "plan"}
    assert {"plan", "metrics", "validation", "subspaces"} < set(tables_of(folder))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found = answer_query(tables_of(folder / "metrics.jsonl"), "select max(step), min(loss) from metrics").rows
    assert found == [(lines[-1]["step"], min(line["loss"] for line in lines))]
    value = json.loads((folder / "evaluation.json").read_text())["metrics"]["Rank-1"]["value"]
    query = "select value from this where metric = 'Rank-1'"
    assert answer_query(tables_of(folder / "evaluation.json"), query).rows == [(value,)]


def test_types_that_duckdb_lacks_are_read_as_others(tmp_path: Path) -> None:
    half = pa.array([[1.0, 2.0]], pa.list_(pa.float16(), 2))
    columns = {
        "image_id": pa.array([0], pa.int64()),
        "identity_id": pa.array([0], pa.int32()),
        "embedding": half,
    }
    columns["split"] = pa.array(["train"]).dictionary_encode()
    path = tmp_path / "Old faces.parquet"
    pq.write_table(pa.table(columns), path)
    tables = tables_of(path)
    assert set(tables) == {"this", "old_faces", "embeddings"}
    query = "select a.embedding[2], b.split from this a join old_faces b using (image_id)"
    assert answer_query(tables, query).rows == [(2.0, "train")]


def test_what_holds_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        tables_of(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no table"):
        tables_of(tmp_path)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match=r"x\.json is no table"):
        tables_of(tmp_path / "x.json")
    (tmp_path / "y.parquet").write_text("no")
    with pytest.raises(InputError, match=r"y\.parquet"):
        tables_of(tmp_path / "y.parquet")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("my-faces", "my_faces"):
        pq.write_table(pa.table({"x": [1]}), tmp_path / f"{name}.parquet")
    with pytest.raises(InputError, match=r"would call my_faces, my_faces\.parquet among them"):
        tables_of(tmp_path)
