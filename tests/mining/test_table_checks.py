"""What a table may hold, against slow loops. The corpus of damaged tables tries each rule on a command."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from subspace.mining.schemas import MANIFEST, PLAN, SUBSPACES, TableKind
from subspace.mining.table_checks import TableCheck

ids = st.lists(st.integers(-2, 6), min_size=1, max_size=12)


def cut(rows: pa.Table, at: int) -> list[pa.Table]:
    return [rows.slice(0, at), rows.slice(at)]


def found(kind: TableKind, rows: pa.Table, at: int) -> list[str]:
    check = TableCheck(kind)
    return [problem for piece in cut(rows, at) if (problem := check.problem_in(piece))]


@settings(max_examples=200)
@given(ids, st.integers(0, 12))
def test_order_holds_across_row_groups(values: list[int], at: int) -> None:
    dense = values[0] == 0 and all(new - old in (0, 1) for old, new in pairwise(values))
    rows = pa.table({"identity_id": pa.array(values, pa.int32())})
    assert (not found(MANIFEST, rows, at)) == dense
    consecutive = values == list(range(len(values)))
    assert (not found(PLAN, pa.table({"step": pa.array(values, pa.int64())}), at)) == consecutive
    ascending = values[0] >= 0 and all(new > old for old, new in pairwise(values))
    assert (not found(SUBSPACES, rows, at)) == ascending


@settings(max_examples=100)
@given(st.lists(st.one_of(st.none(), st.floats(-3, 3), st.just(np.nan)), min_size=1, max_size=9))
def test_cosines_are_cosines(values: list[float | None]) -> None:
    sound = all(value is not None and abs(value) <= 1.001 for value in values)
    table = pa.table({"similarity": pa.array(values, pa.float32())})
    problem = TableCheck(SUBSPACES).problem_in(table)
    assert (problem is None) == sound
    if problem:
        wrong = [value is None or not abs(value) <= 1.001 for value in values]
        nulls = [value is None for value in values]
        assert f"(row {(nulls if any(nulls) else wrong).index(True)})" in problem


@settings(max_examples=100)
@given(st.lists(st.lists(st.one_of(st.none(), st.integers(-1, 9)), max_size=3), min_size=1, max_size=5))
def test_batches_are_all_of_one_length(rows: list[list[int | None]]) -> None:
    sound = len({len(row) for row in rows}) == 1 and bool(rows[0])
    sound = sound and all(value is not None and value >= 0 for row in rows for value in row)
    table = pa.table({"identity_ids": pa.array(rows, pa.list_(pa.int32()))})
    assert (TableCheck(PLAN).problem_in(table) is None) == sound


def test_text_is_text() -> None:
    beyond = pa.DictionaryArray.from_arrays(pa.array([0, 3], pa.int32()), pa.array(["train"]), safe=False)
    problem = TableCheck(MANIFEST).problem_in(pa.table({"split": beyond}))
    assert problem
    assert problem.startswith("has no text in column 'split'")
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]
    )
    assert "column 'identity'" in str(TableCheck(MANIFEST).problem_in(pa.table({"identity": bad})))
