"""A kind of source is a line of one table; test_ingest.py covers what each reads."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from subspace.mining.errors import InputError
from subspace.mining.manifest import Manifest
from subspace.pipeline.rows.image_spool import ImageSpool
from subspace.pipeline.sources.ingest import ingest_images
from subspace.pipeline.sources.listing import Listing
from subspace.pipeline.sources.options import IngestOptions, SourceOptions, Track
from subspace.pipeline.sources.readers import READERS, kind, reader_of


def list_lines(source: Path, options: SourceOptions, spool: ImageSpool, progress: Track) -> Listing:
    """A new kind of source: a line for each image, its bytes after its identity."""
    lines = [line.split(" ") for line in source.read_text().splitlines()]
    spool.add(pa.array([data.encode() for _, data in progress(lines)], pa.binary()))
    text = pa.large_string()
    rows = {"identity": pa.array([name for name, _ in lines], text), "uri": pa.array([""] * len(lines), text)}
    return Listing(pa.table(rows), "lines")


def test_a_new_kind_of_source_is_a_line_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "list.LINES"
    source.write_text("bob x\nalice y\nbob z\n")
    with pytest.raises(
        InputError, match=r"list.LINES cannot be read as a source.*\.csv \.tsv \.parquet .* file"
    ):
        reader_of(source)
    monkeypatch.setitem(READERS, ".lines", kind("lines", list_lines))
    ingest_images(source, tmp_path / "m.parquet", IngestOptions(test_fraction=0))
    table = Manifest.open(tmp_path / "m.parquet").table
    assert table["image"].to_pylist() == [b"y", b"x", b"z"]
    assert table["identity"].to_pylist() == ["alice", "bob", "bob"]


def test_a_url_is_read_by_its_scheme_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Path("ftp://bucket/list.csv")
    with pytest.raises(
        InputError, match=r"ftp://bucket/list\.csv cannot be read: remote files are read from s3"
    ):
        reader_of(bucket)
    monkeypatch.setitem(READERS, "ftp:", lines := kind("lines", list_lines))
    assert reader_of(bucket) is lines


def test_a_folder_is_a_folder_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "photos.csv").mkdir()
    assert reader_of(tmp_path / "photos.csv") is READERS["folder"]
