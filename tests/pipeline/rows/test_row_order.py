"""Rows sorted a range at a time are those of one sort of all of them.

Covers pipeline/rows/row_scratch.py, pipeline/sources/row_selection.py and pipeline/rows/ingest_summary.py too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subspace.mining.errors import InputError
from subspace.mining.parquet_tables import read_parquet
from subspace.mining.schemas import MANIFEST
from subspace.pipeline.rows import row_order
from subspace.pipeline.rows.row_order import RowOrder
from subspace.pipeline.rows.row_scratch import RowScratch, regrouped
from subspace.pipeline.sources import ingest
from subspace.pipeline.sources.ingest import ingest_images
from subspace.pipeline.sources.options import IngestOptions

PATIENT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
ROW = st.tuples(
    st.text("abé/ \x00\U0001f600", min_size=1, max_size=3),
    st.sampled_from(["", "x", "y/z", "é"]),
    st.none() | st.integers(0, 2),
    st.binary(max_size=2),
)


@PATIENT
@given(
    rows=st.lists(ROW, min_size=1, max_size=40),
    range_rows=st.integers(1, 12),
    batch=st.integers(1, 9),
    inline=st.booleans(),
)
def test_ranges_are_one_sort(tmp_path: Path, rows: Any, range_rows: int, batch: int, inline: bool) -> None:
    identity, uri, offset, image = zip(*rows, strict=True)
    text = pa.large_string()
    table = pa.table(
        {
            "identity": pa.array(identity, text),
            "uri": pa.array(uri, text),
            "offset": pa.array(offset, pa.int64()),
        }
    )
    images = pa.array(image if inline else [], pa.large_binary())
    found, before = [], -1
    with RowOrder(tmp_path / "m.parquet", range_rows) as order:
        for start in range(0, len(rows), batch):
            order.add(table.slice(start, batch))
        for names, some in order.ranges(images):
            who = [names[number].as_py() for number in some["identity_id"].to_pylist()]
            assert some["identity_id"].to_pylist() == sorted(some["identity_id"].to_pylist())
            bytes_of = [images[number].as_py() if inline else None for number in some["row"].to_pylist()] if inline else [None] * len(some)  # fmt: skip
            found += list(
                zip(who, some["uri"].to_pylist(), some["offset"].to_pylist(), bytes_of, strict=True)
            )
            assert len(names) > 0
            before += 1

    def key(row: Any) -> Any:
        return row[0].encode(), row[1].encode(), row[2] is None, row[2] or 0, row[3] or b""

    expected = sorted({(a, b, c, d if inline else None) for a, b, c, d in rows}, key=key)
    assert found == expected
    assert order.repeats == len(rows) - len(expected)


def test_a_manifest_does_not_depend_on_the_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels = pa.array(rng.integers(0, 90, 3_000)).cast(pa.string())
    images = [rng.bytes(3) for _ in range(3_000)]
    source = tmp_path / "list.parquet"
    pq.write_table(pa.table({"label": labels, "image": images}), source, row_group_size=100)
    options = IngestOptions(test_fraction=0.2, min_images=25, max_images=30, seed=4)
    whole = ingest_images(source, tmp_path / "whole.parquet", options)
    small = lambda beside: RowOrder(beside, 70)  # noqa: E731
    monkeypatch.setattr(ingest, "RowOrder", small)
    monkeypatch.setattr(row_order, "_BATCH", 50)
    ranges = ingest_images(source, tmp_path / "ranges.parquet", options)
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "ranges.parquet").read_bytes()
    assert whole.notes == ranges.notes
    assert whole.splits == ranges.splits


def test_max_images_draws_by_seed_and_says_how_many(tmp_path: Path) -> None:
    source = tmp_path / "list.parquet"
    labels = ["a"] * 40 + ["b"] * 10 + ["c"] * 3
    pq.write_table(pa.table({"label": labels, "image": [bytes([i]) for i in range(1, 54)]}), source)

    def drawn(seed: int) -> list[tuple[str, bytes]]:
        options = IngestOptions(test_fraction=0, max_images=10, seed=seed)
        summary = ingest_images(source, tmp_path / "m.parquet", options)
        assert f"30 images left out by seed {seed}: 1 identities have more than 10" in summary.notes
        table = read_parquet(tmp_path / "m.parquet", MANIFEST)
        assert summary.images == table.num_rows == 23
        return list(zip(table["identity"].to_pylist(), table["image"].to_pylist(), strict=True))

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert [who for who, _ in drawn(2)] == ["a"] * 10 + ["b"] * 10 + ["c"] * 3


def test_scratch_is_read_again_and_leaves_nothing(tmp_path: Path) -> None:
    with RowScratch(tmp_path / "m.parquet") as scratch:
        scratch.add(pa.table({"a": [1, 2]}))
        scratch.add(pa.table({"a": pa.array([], pa.int64())}))
        scratch.add(pa.table({"a": [3]}))
        for _ in range(2):
            assert pa.concat_tables(list(scratch.tables()))["a"].to_pylist() == [1, 2, 3]
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="cannot write"):
        RowScratch(tmp_path / "nowhere" / "m.parquet")


@given(sizes=st.lists(st.integers(0, 9), max_size=9), rows=st.integers(1, 7))
def test_regrouped_rows_are_the_same_rows(sizes: list[int], rows: int) -> None:
    total = pa.table({"a": np.arange(sum(sizes))})
    tables = [total.slice(sum(sizes[:place]), size) for place, size in enumerate(sizes)]
    groups = list(regrouped(tables, rows))
    assert all(len(group) == rows for group in groups[:-1])
    assert [n for group in groups for n in group["a"].to_pylist()] == list(range(sum(sizes)))
    assert all(len(group) for group in groups)


def test_the_memory_that_is_announced_grows_with_the_rows() -> None:
    said = [row_order.work_in_words(rows) for rows in (10**6, 10**9)]
    assert all(" MB of memory" in words or " GB of memory" in words for words in said)
    assert said[0].split(", ")[-1] != said[1].split(", ")[-1]
