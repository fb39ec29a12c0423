"""Names that a person would take for one are said at ingest, and nothing is made of it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from subspace.mining.errors import InputError
from subspace.pipeline.sources.alike_names import said_of_alike
from subspace.pipeline.sources.ingest import ingest_images
from subspace.pipeline.sources.options import IngestOptions


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["José", "Jose\u0301"], r"2 identities .*'Jos\\xe9' and 'Jose\\u0301'"),
        (["Bob", "bob", "BOB ", "carl"], "3 identities .*'Bob' and 'bob'"),
        (["Ann_Lee", "Ann Lee", "ann  lee"], "3 identities"),
    ],
)
def test_names_that_are_alike_are_said(names: list[str], said: str) -> None:
    (line,) = said_of_alike(pa.array(names))
    assert pa.compute.match_substring_regex(pa.scalar(line), said).as_py(), line


def test_other_names_are_not() -> None:
    assert said_of_alike(pa.array(["", "José", "Jose", "Jos", "1", "01"])) == []
    assert said_of_alike(pa.array([], pa.large_string())) == []


def test_ingest_says_so_and_merges_nothing(tmp_path: Path) -> None:
    rows = {"label": ["Bob", "Bob", "bob", "bob"], "image": [b"a", b"b", b"c", b"d"]}
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    made = ingest_images(tmp_path / "t.parquet", tmp_path / "m.parquet", IngestOptions(test_fraction=0))
    assert made.identities == 2
    assert any("such as 'Bob' and 'bob'" in note for note in made.notes)


def test_a_column_keep_is_read_and_said(tmp_path: Path) -> None:
    """Images that another program had set aside were trained on."""
    rows = {
        "label": ["a", "a", "b", "b"],
        "image": [b"1", b"2", b"3", b"4"],
        "keep": [True, False, None, True],
    }
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    made = ingest_images(tmp_path / "t.parquet", tmp_path / "m.parquet", IngestOptions(test_fraction=0))
    assert "keep: keep" in made.reading
    assert any("1 images are not kept" in note for note in made.notes)
    table = pq.read_table(made.out)
    kept = dict(zip(table["image"].to_pylist(), table["keep"].to_pylist(), strict=True))
    assert kept == {b"1": True, b"2": False, b"3": True, b"4": True}


def test_a_column_keep_that_sets_nothing_aside_changes_nothing(tmp_path: Path) -> None:
    """Its runs would be stale for nothing."""
    rows = {"label": ["a", "a", "b"], "image": [b"1", b"2", b"3"]}
    made = []
    for name, more in (("without", {}), ("with", {"keep": [True, None, True]})):
        pq.write_table(pa.table(rows | more), tmp_path / f"{name}.parquet")
        made.append(
            ingest_images(
                tmp_path / f"{name}.parquet", tmp_path / f"{name}.m.parquet", IngestOptions(test_fraction=0)
            )
        )
    assert made[0].fingerprint == made[1].fingerprint


def test_a_column_keep_of_something_else_can_be_left_aside(tmp_path: Path) -> None:
    source = tmp_path / "t.parquet"
    rows = {"label": ["a", "a", "b"], "image": [b"1", b"2", b"3"], "keep": ["maybe", "no", "yes"]}
    pq.write_table(pa.table(rows), source)
    with pytest.raises(InputError, match=r"'keep' holds maybe; .* --no-keep-column"):
        ingest_images(source, tmp_path / "m.parquet", IngestOptions(test_fraction=0))
    options = IngestOptions(test_fraction=0, no_keep_column=True)
    made = ingest_images(source, tmp_path / "m.parquet", options)
    assert "not used: keep" in made.reading
    assert pq.read_table(made.out)["keep"].to_pylist() == [True, True, True]
