"""The keep table: what it leaves out is a function of its content, and one of another manifest is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from subspace.mining import InputError
from subspace.mining.cleaning.keep_table import MANIFEST_READ, read_left_out, table_to_keep
from subspace.mining.manifest import Manifest
from subspace.mining.parquet_tables import write_parquet
from subspace.mining.schemas import KEEP


@pytest.fixture
def table(small_manifest: Path, tmp_path: Path) -> tuple[Manifest, Path]:
    manifest = Manifest.open(small_manifest)
    images = manifest.identities_in(("train",)).image_id
    kept = ~np.isin(np.arange(len(images)), [2, 5, 11])
    reason = np.where(np.arange(len(images)) == 5, "outlier", "wrong_name")
    path = tmp_path / "keep.parquet"
    write_parquet(path, KEEP, table_to_keep(images, manifest.identity_id[images], kept, reason), "f")
    return manifest, path


def test_what_is_left_out_and_why(table: tuple[Manifest, Path]) -> None:
    manifest, path = table
    left_out = read_left_out(path, manifest)
    images = manifest.identities_in(("train",)).image_id
    assert left_out.image_id.tolist() == images[[2, 5, 11]].tolist()
    assert left_out.words == "; 3 images left out by keep.parquet (2 wrong_name, 1 outlier)"


def test_an_edited_table_counts_as_another_and_a_moved_one_as_the_same(table: tuple[Manifest, Path]) -> None:
    manifest, path = table
    before = read_left_out(path, manifest).fields
    moved = path.rename(path.with_name("mine.parquet"))
    assert read_left_out(moved, manifest).fields == before
    rows = pq.read_table(moved)
    keep = rows["keep"].to_numpy(zero_copy_only=False).copy()
    keep[5] = True
    pq.write_table(rows.set_column(2, "keep", [keep]), moved)  # as pandas or DuckDB write it
    assert read_left_out(moved, manifest).fields != before
    assert len(read_left_out(moved, manifest).image_id) == 2


def test_one_of_another_manifest_and_none_are_refused(table: tuple[Manifest, Path]) -> None:
    manifest, path = table
    rows = pq.read_table(path)
    pq.write_table(rows.set_column(1, "identity_id", [np.zeros(len(rows), np.int32) + 50]), path)
    with pytest.raises(InputError, match="other identities there"):
        read_left_out(path, manifest)
    with pytest.raises(
        InputError, match="No such file or directory; name a keep table that `subspace clean RUN` wrote"
    ):
        read_left_out(path.with_name("nothing.parquet"), manifest)


@pytest.mark.parametrize("reason", [pa.large_string(), pa.string(), pa.null()])
def test_rows_in_any_order_and_types_of_other_tools(
    table: tuple[Manifest, Path], reason: pa.DataType
) -> None:
    manifest, path = table
    before = read_left_out(path, manifest)
    rows = pq.read_table(path)
    texts = rows["reason"].cast(pa.string()).to_pylist() if reason != pa.null() else [None] * len(rows)
    rows = rows.set_column(3, "reason", pa.array(texts, reason))
    rows = rows.set_column(1, "identity_id", rows["identity_id"].cast(pa.int64()))
    other = path.with_name("other.parquet")
    pq.write_table(rows.sort_by([("keep", "ascending"), ("image_id", "descending")]), other)
    left_out = read_left_out(other, manifest)
    assert left_out.fields == before.fields
    assert sum(left_out.reasons.values()) == 3


def test_another_table_is_refused_in_a_line(table: tuple[Manifest, Path]) -> None:
    manifest, path = table
    pq.write_table(pq.read_table(path).drop_columns(["keep"]), path)
    with pytest.raises(InputError, match="is not a keep table: it has no column 'keep'"):
        read_left_out(path, manifest)


def test_a_table_of_the_manifest_before_it_was_ingested_anew_is_refused(
    table: tuple[Manifest, Path], small_manifest: Path
) -> None:
    """A corrected label moves the rows behind it by one: the images left out are others, of the same identities."""
    manifest, path = table
    rows = pq.read_table(path)
    write_parquet(path, KEEP, rows, "f", {MANIFEST_READ: "of before"})
    with pytest.raises(InputError, match=r"another manifest .* it was ingested anew since"):
        read_left_out(path, manifest)
    write_parquet(path, KEEP, rows, "f", {MANIFEST_READ: manifest.fingerprint})
    assert len(read_left_out(path, manifest).image_id) == 3
    moved = rows["identity_id"].to_numpy().copy()
    kept = np.flatnonzero(rows["keep"].to_numpy(zero_copy_only=False))
    moved[kept[-1]] += 1  # of an image that stays, and no tool has kept the metadata
    pq.write_table(rows.set_column(1, "identity_id", [moved]).replace_schema_metadata(None), path)
    with pytest.raises(InputError, match="other identities there"):
        read_left_out(path, manifest)
