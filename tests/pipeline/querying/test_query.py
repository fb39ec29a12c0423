"""One select over some tables, and nothing beyond them. Covers pipeline/querying/answer.py, too."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from subspace.mining.errors import InputError
from subspace.pipeline.querying.answer import Answer
from subspace.pipeline.querying.query import answer_query

TABLES = {"this": pa.table({"size": [3, 4, 5], "name": ["a", "b\x1b[2J", None]})}
SECRET = pa.table({"size": [1]})
"""A variable of Python that a query could name, if DuckDB were let."""


def test_a_select_is_answered() -> None:
    answer = answer_query(
        TABLES, "select name, sum(size) as n, [1.5::double, 2] as l from this group by name order by n desc"
    )
    assert answer.rows == [(None, 5, [1.5, 2.0]), ("b\x1b[2J", 4, [1.5, 2.0]), ("a", 3, [1.5, 2.0])]
    assert answer.cells()[:2] == [["name", "n", "l"], ["null", "5", "[1.5, 2]"]]
    assert answer.text_columns == [0, 2]
    assert answer.to_json()[2] == {"name": "a", "n": 3, "l": [1.5, 2.0]}


def test_no_more_rows_than_asked_for() -> None:
    first = answer_query(TABLES, "select size from this order by size", 2)
    assert (first.rows, first.more) == ([(3,), (4,)], True)
    assert not answer_query(TABLES, "select size from this", 3).more


@pytest.mark.parametrize(
    "query",
    [
        "select * from read_text('FILE')", "select * from 'FILE'", "select * from read_csv('FILE')",
        "select * from read_blob('FILE')", "select * from glob('FOLDER/*')", "select * from sniff_csv('FILE')",
        "select * from parquet_scan('FILE')", "select * from read_json('http://localhost/x')",
        "from query('copy this to ''FOLDER/out.csv''')", "copy this to 'FOLDER/out.csv'",
        "copy (select 1) to 'FOLDER/out.csv'", "export database 'FOLDER/out'", "attach 'FOLDER/out.db'",
        "install httpfs", "load httpfs", "set enable_external_access=true", "reset enable_external_access",
        "pragma enable_external_access=true", "create table t as select 1", "drop view this",
        "insert into this values (1, 'x')", "with x as (insert into this values (1, 'x') returning *) from x",
        "select 1; copy this to 'FOLDER/out.csv'", "select * from SECRET", "select * from TABLES",
        "call duckdb_settings()", "create secret (type s3)",
    ],
)  # fmt: skip
def test_nothing_else_is_read_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.csv").write_text("a,b\nsecret,1\n")
    words = query.replace("FILE", str(tmp_path / "file.csv")).replace("FOLDER", str(tmp_path))
    with pytest.raises(InputError, match="--sql") as caught:
        answer_query(TABLES, words)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file.csv"]


def test_a_wrong_query_is_one_line_and_names_the_tables() -> None:
    with pytest.raises(InputError, match=r"^--sql: .*nowhere.* Tables here: this$"):
        answer_query(TABLES, "select 1 from nowhere")
    with pytest.raises(InputError, match=r'^--sql: Parser Error: syntax error at or near "selec"$'):
        answer_query(TABLES, "selec 1")
    with pytest.raises(InputError, match="this is nothing"):
        answer_query(TABLES, "  ")


def test_a_missing_duckdb_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(InputError, match=r"^--sql needs DuckDB: pip install 'subspace-mining\[sql\]'$"):
        answer_query(TABLES, "select 1")


def test_values_of_all_kinds_are_json_and_short_cells() -> None:
    query = "select 0.5::decimal(3,1) a, 'nan'::double b, 'x'::blob c, date '2026-01-02' d, range(9) e, {'k': 1} f, 1 a"
    answer = answer_query({}, query)
    (row,) = answer.to_json()
    assert json.loads(json.dumps(row)) == {
        "a": 0.5, "b": None, "c": "eA==", "d": "2026-01-02", "e": list(range(9)), "f": {"k": 1}, "a_1": 1
    }  # fmt: skip
    assert answer.cells()[1][2:6] == ["1 bytes", "2026-01-02", "[0, 1, 2, 3, 4, 5, ... 9 values]", "{k: 1}"]
    assert Answer([("d", "DATE")], [(date(2026, 1, 2),)]).cells()[1] == ["2026-01-02"]
    assert len(Answer([("t", "VARCHAR")], [("x" * 1000,)]).cells()[1][0]) < 310
