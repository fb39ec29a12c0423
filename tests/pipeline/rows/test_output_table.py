"""No command's --out takes the place of its input, or of a file of another kind."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import subspace

from subspace.mining.errors import InputError
from subspace.pipeline.manifests.image_check import check_images
from subspace.pipeline.manifests.merge import merge_manifests
from subspace.pipeline.manifests.overlap import find_overlap
from subspace.pipeline.rows.manifest_writer import quarantine_path
from subspace.pipeline.sources.ingest import ingest_images
from subspace.pipeline.sources.options import IngestOptions

NO_TEST = IngestOptions(test_fraction=0)


def manifest(folder: Path, name: str) -> Path:
    """A manifest of two bytes that are no images."""
    source = folder / f"{name}.list.parquet"
    pq.write_table(pa.table({"label": ["a", "b"], "image": [b"x", name.encode()]}), source)
    return ingest_images(source, folder / f"{name}.parquet", NO_TEST).out


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two manifests, a table of somebody else's and a CSV, each of which is precious."""
    csv = tmp_path / "plain.csv"
    csv.write_text("path,label\n")
    link = tmp_path / "link.parquet"
    made = {name: manifest(tmp_path, name) for name in ("one", "two")}
    os.symlink(made["one"], link)
    return {**made, "list": tmp_path / "one.list.parquet", "csv": csv, "link": link}


@pytest.mark.parametrize("name", ["one", "two", "list", "csv", "link"])
def test_an_input_and_files_of_other_kinds_stay(files: dict[str, Path], tmp_path: Path, name: str) -> None:
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    out = files[name]
    with pytest.raises(InputError, match=r"cannot write|would be overwritten"):
        check_images(files["one"], out=out)
    with pytest.raises(InputError, match=r"cannot write|would be overwritten"):
        find_overlap(files["one"], files["two"], images=False, out=out)
    with pytest.raises(InputError, match=r"cannot write|would be overwritten"):
        merge_manifests([files["one"], files["two"]], out, NO_TEST)
    if name in ("list", "csv"):  # a manifest may be made anew
        with pytest.raises(InputError, match=r"cannot write|would be overwritten"):
            ingest_images(files["list"], out, NO_TEST)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_quarantine_of_somebody_else_is_not_removed(files: dict[str, Path], tmp_path: Path) -> None:
    other = quarantine_path(tmp_path / "new.parquet")
    other.write_bytes(files["list"].read_bytes())
    with pytest.raises(InputError, match="is no quarantine table"):
        ingest_images(files["list"], tmp_path / "new.parquet", NO_TEST)
    with pytest.raises(InputError, match="would be overwritten"):
        ingest_images(other, tmp_path / "new.parquet", NO_TEST)
    assert other.exists()


def test_earlier_tables_of_the_kind_and_empty_files_are_replaced(
    files: dict[str, Path], tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.parquet"
    pairs.touch()
    for _ in range(2):
        find_overlap(files["one"], files["two"], out=pairs)
    assert pq.read_table(pairs).num_rows == 3  # a, b and the image x
    before = files["one"].read_bytes()
    ingest_images(files["list"], files["one"], NO_TEST)
    assert files["one"].read_bytes() == before


@pytest.mark.parametrize("command", [
    ("ingest", "one.list.parquet"), ("overlap", "one.parquet", "two.parquet"), ("inspect", "one.parquet", "--check"),
])  # fmt: skip
def test_a_folder_is_refused_in_one_line(
    files: dict[str, Path], tmp_path: Path, command: tuple[str, ...]
) -> None:
    words = [tmp_path / word if word.endswith(".parquet") else word for word in command]
    for out in (".", tmp_path):
        done = subspace(*words, "--out", out)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"cannot write {out}: it is a folder" in done.stderr
