"""Tables as pandas, polars, DuckDB, Hugging Face datasets and OML write them.

Covers pipeline/tables/columns.py, pipeline/tables/column_options.py, pipeline/tables/column_doubts.py, pipeline/tables/boxes.py,
pipeline/tables/csv_header.py, pipeline/tables/label_text.py, pipeline/sources/split_names.py and pipeline/sources/image_list.py too; test_ingest.py has more of
pipeline/sources/table.py.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelled_pictures import Picture, folder_sums, ingested, pictures, pixel_sums, write_folder
from PIL import Image

from subspace.mining.errors import InputError
from subspace.mining.manifest import Manifest
from subspace.mining.parquet_tables import read_parquet
from subspace.mining.schemas import MANIFEST, QUARANTINE
from subspace.pipeline.rows.image_spool import ImageSpool
from subspace.pipeline.rows.manifest_writer import quarantine_path
from subspace.pipeline.sources.ingest import ingest_images
from subspace.pipeline.sources.options import IngestOptions, SourceOptions
from subspace.pipeline.sources.split_names import SplitNames
from subspace.pipeline.sources.table import list_csv
from subspace.pipeline.tables.label_text import flag_column, text_column, whole_numbers
from subspace.train import ImageStore
from subspace.train.data.image_input import ImageInput

Rows = dict[str, list[Any]]
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def with_pandas(rows: Rows, path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows)
    frame["path"] = frame["path"].astype("string")
    frame.to_parquet(path)


def with_pandas_categories(rows: Rows, path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(rows).astype({"label": "category", "path": "category"}).to_parquet(path)


def with_pandas_missing(rows: Rows, path: Path) -> None:
    """Integers beside a missing one become floats."""
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(rows | {"label": [*rows["label"][:-1], None]}).iloc[:-1].to_parquet(path)


def with_polars(rows: Rows, path: Path) -> None:
    pytest.importorskip("polars").DataFrame(rows).write_parquet(path)


def with_polars_categories(rows: Rows, path: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(rows | {"label": [str(label) for label in rows["label"]]})
    enum = polars.Enum(sorted(set(frame["label"].to_list())))
    frame.with_columns(
        polars.col("label").cast(enum), polars.col("path").cast(polars.Categorical)
    ).write_parquet(path)


def with_polars_views(rows: Rows, path: Path) -> None:
    """polars' own Arrow type of strings."""
    polars = pytest.importorskip("polars")
    table = polars.DataFrame(rows | {"label": [str(label) for label in rows["label"]]}).to_arrow(
        compat_level=polars.CompatLevel.newest()
    )
    assert pa.types.is_string_view(table["path"].type)
    pq.write_table(table, path)


def with_duckdb(rows: Rows, path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    frame = pa.table(rows)  # noqa: F841  # DuckDB finds it by its name
    database = duckdb.connect()
    database.execute("CREATE TYPE who AS ENUM ('0', '1', '2', '3')")
    database.execute(
        f"COPY (SELECT path, label::VARCHAR::who AS label FROM frame) TO '{path}' (FORMAT parquet)"
    )


def with_duckdb_decimals(rows: Rows, path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    frame = pa.table(rows)  # noqa: F841
    duckdb.connect().execute(
        f"COPY (SELECT path, label::DOUBLE AS label FROM frame) TO '{path}' (FORMAT parquet)"
    )


WRITERS = [with_pandas, with_pandas_categories, with_polars, with_polars_categories, with_polars_views]
WRITERS += [with_duckdb, with_duckdb_decimals]


def paths_of(made: list[Picture], tmp_path: Path) -> Rows:
    write_folder(tmp_path / "images", made)
    return {"path": [f"images/{one.label}/{one.name}" for one in made], "label": [one.label for one in made]}


@pytest.mark.parametrize("write", WRITERS)
def test_tables_of_data_frames_decode_as_the_folder_does(
    tmp_path: Path, write: Callable[[Rows, Path], None]
) -> None:
    made = pictures()
    write(paths_of(made, tmp_path), tmp_path / "list.parquet")
    summary = ingested(tmp_path / "list.parquet", tmp_path / "m.parquet")
    assert pixel_sums(tmp_path / "m.parquet") == folder_sums(made, tmp_path)
    assert summary.reading == "identity: label; path: path; split: none; group: none"


def test_floats_of_a_frame_with_a_missing_label(tmp_path: Path) -> None:
    made = pictures(9)
    with_pandas_missing(paths_of(made, tmp_path), tmp_path / "list.parquet")
    ingested(tmp_path / "list.parquet", tmp_path / "m.parquet")
    assert pixel_sums(tmp_path / "m.parquet") == folder_sums(made[:-1], tmp_path)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(paths_of(made, tmp_path)).astype({"label": float})
    frame.to_csv(tmp_path / "list.csv", index=False)
    summary = ingested(tmp_path / "list.csv", tmp_path / "m.parquet")
    assert {identity for identity, _ in pixel_sums(tmp_path / "m.parquet")} == set("0123")
    assert "all of 'label' are numbers with .0, read as integers: 1.0 is 1" in summary.notes
    (tmp_path / "list.csv").write_text("path,label\nimages/0/0000.jpg,1.0\nimages/0/0000.jpg,1.5\n")
    with pytest.raises(
        InputError, match=r"'label' holds numbers with a fraction, such as 1\.5, which name nobody"
    ):
        ingested(tmp_path / "list.csv", tmp_path / "m.parquet")


def identities(manifest: Path) -> list[str]:
    return Manifest.open(manifest).table["identity"].to_pylist()


def csv_of(path: Path, labels: list[str], head: str = "path,label") -> Path:
    """A CSV of those labels, or rows behind their path, and its images."""
    lines = []
    for place, label in enumerate(labels):
        (path.parent / f"{path.stem}{place}.jpg").write_bytes(b"x")
        lines.append(f"{path.stem}{place}.jpg,{label}")
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


@pytest.mark.parametrize("missing", ["nan", "NaN", "NA", "<NA>"])
def test_a_missing_number_is_nobody_and_a_name_stays(tmp_path: Path, missing: str) -> None:
    for numbers in (["2.0", missing, "3.0"], ["2", "3", missing]):
        with pytest.raises(InputError, match="has an empty identity; name it, or leave the row out"):
            ingested(csv_of(tmp_path / "a.csv", numbers), tmp_path / "m.parquet")
    source = csv_of(tmp_path / "a.csv", ["ann", missing, "1.0"])
    ingested(source, tmp_path / "m.parquet", junk=("x",))
    assert identities(tmp_path / "m.parquet") == sorted(["ann", missing, "1.0"])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_words_for_nobody_are_left_out_unless_told(tmp_path: Path, suffix: str) -> None:
    labels = ["ann", "nan", "None", "null", "-1", "bob", "bob", "NA"]
    source = csv_of(tmp_path / "a.csv", labels)
    if suffix == "parquet":
        paths = [f"a{place}.jpg" for place in range(len(labels))]
        pq.write_table(pa.table({"path": paths, "label": labels}), source := tmp_path / "a.parquet")
    summary = ingested(source, tmp_path / "m.parquet")
    assert identities(tmp_path / "m.parquet") == ["NA", "ann", "bob", "bob"]
    assert "4 images of nobody left out (identity -1, None, nan, null; --junk changes that)" in summary.notes
    ingested(source, tmp_path / "m.parquet", junk=("-1",))
    assert {"nan", "None", "null"} < set(identities(tmp_path / "m.parquet"))


def test_rows_without_an_identity_are_left_out_where_that_is_said(tmp_path: Path) -> None:
    source = csv_of(tmp_path / "a.csv", ["ann", "", "bob", " "])
    summary = ingested(source, tmp_path / "m.parquet", junk=("",))
    assert identities(tmp_path / "m.parquet") == ["ann", "bob"]
    assert "2 images of nobody left out (identity empty, empty; --junk changes that)" in summary.notes


def test_a_missing_camera_is_shared_with_nobody(tmp_path: Path) -> None:
    rows = ["a,nan,nan,1.0", "b,c1,train,0.0", "c,NA,,nan", "d,c2,test,"]
    ingested(csv_of(tmp_path / "a.csv", rows, "path,label,camera,split,is_query"), tmp_path / "m.parquet")
    table = Manifest.open(tmp_path / "m.parquet").table
    assert table["group"].to_pylist() == [None, "c1", None, "c2"]
    assert table["split"].to_pylist() == ["train", "train", "train", "test"]
    assert table["is_query"].to_pylist() == [True, False, None, None]


def test_several_files_write_their_numbers_alike(tmp_path: Path) -> None:
    train = csv_of(tmp_path / "train.csv", ["0.0", "1.0"])
    summary = ingested([train, csv_of(tmp_path / "b.csv", ["0.0", "x"])], tmp_path / "m.parquet")
    assert identities(tmp_path / "m.parquet") == ["0.0", "0.0", "1.0", "x"]
    assert not any("numbers with .0" in note for note in summary.notes)
    summary = ingested([train, csv_of(tmp_path / "b.csv", ["0", "2"])], tmp_path / "m.parquet")
    assert identities(tmp_path / "m.parquet") == ["0", "0", "1", "2"]
    assert any("numbers with .0" in note for note in summary.notes)


@pytest.mark.parametrize("names", [("train.csv", "testing.csv"), ("training_1.csv", "valid.csv")])
def test_files_that_are_called_as_splits_are_splits(tmp_path: Path, names: tuple[str, str]) -> None:
    sources = [
        csv_of(tmp_path / name, labels) for name, labels in zip(names, (["a", "a"], ["b", "b"]), strict=True)
    ]
    summary = ingested(sources, tmp_path / "m.parquet")
    assert "split: the sources' names" in summary.reading
    assert {count.split: count.images for count in summary.splits}["train"] == 2


@pytest.mark.parametrize(
    "names", [("lfw_train.csv", "lfw_test.csv"), ("train.csv", "lfw-test.csv", "more.csv")]
)
def test_names_that_half_say_splits_are_not_guessed_at(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Test images were mixed into training, with exit 0."""
    sources = [csv_of(tmp_path / name, ["a", "b"]) for name in names]
    with pytest.raises(
        InputError, match=r"seem to say splits \(.*\), but not all of them begin with one.*--redraw-splits"
    ):
        ingested(sources, tmp_path / "m.parquet")
    assert "split: none" in ingested(sources, tmp_path / "m.parquet", redraw_splits=True).reading


def test_blanks_around_the_name_of_a_column_do_not_hide_it(tmp_path: Path) -> None:
    source = csv_of(tmp_path / "a.csv", ["x", "y"], "path, label")
    assert "identity:  label" in ingested(source, tmp_path / "m.parquet").reading
    with pytest.raises(InputError, match="no column named 'label'; its columns are path, ' label'"):
        ingested(source, tmp_path / "m.parquet", identity_column="label")


def test_a_column_that_is_named_has_one_purpose(tmp_path: Path) -> None:
    source = csv_of(tmp_path / "a.csv", ["x", "y", "x"], "path,family")
    summary = ingested(source, tmp_path / "m.parquet", identity_column="family")
    assert summary.reading == "identity: family; path: path; split: none; group: none"
    assert identities(tmp_path / "m.parquet") == ["x", "x", "y"]
    with pytest.raises(InputError, match=r"column 'family' of .* cannot serve for two purposes"):
        ingested(source, tmp_path / "m.parquet", identity_column="family", group_column="family")


@pytest.mark.parametrize("name", ["split", "fold", "partition"])
def test_splits_that_say_nothing_are_refused_mapped_or_left_aside(tmp_path: Path, name: str) -> None:
    source, out = (
        csv_of(tmp_path / "a.csv", ["x,0", "y,1", "z,2", "x,0"], f"path,label,{name}"),
        tmp_path / "m.parquet",
    )
    with pytest.raises(
        InputError, match=r"has the split '0', '1', '2', .* \(--split-map 0=SPLIT,1=SPLIT,2=SPLIT, where"
    ):
        ingested(source, out)
    summary = ingested(source, out, split_map="0=train,1=val,2=test")
    assert [(count.split, count.images) for count in summary.splits] == [
        ("train", 2),
        ("val", 1),
        ("test", 1),
    ]
    assert "splits by name: '0' is train, '1' is val, '2' is test" in summary.notes
    assert "split: none" in ingested(source, out, no_split_column=True).reading
    assert "split: none" not in ingested(source, out, redraw_splits=True).reading
    for wrong, complaint in (
        ("0=train", "has the split '1', '2'"),
        ("0", "is no NAME=SPLIT"),
        ("9=train", "'0', '1'"),
    ):
        with pytest.raises(InputError, match=complaint):
            ingested(source, out, split_map=wrong)


def test_a_split_of_the_map_that_is_not_there_is_refused(tmp_path: Path) -> None:
    source = csv_of(tmp_path / "a.csv", ["x,train", "y,noise"], "path,label,split")
    with pytest.raises(InputError, match=r"has no split 'nose' of --split-map; it has 'noise', 'train'"):
        ingested(source, tmp_path / "m.parquet", split_map="noise=noise,nose=val")
    summary = ingested(source, tmp_path / "m.parquet", split_map="noise=noise")
    assert [count.split for count in summary.splits] == ["train", "noise"]
    assert any("nobody to test on" in note for note in summary.notes)
    with pytest.raises(InputError, match="--split-map says nothing about"):
        ingested(source, tmp_path / "m.parquet", split_map="0=train", no_split_column=True)


def test_a_split_map_of_a_table_means_what_it_does_in_folders(tmp_path: Path) -> None:
    rows = ["x,train", "x,train", "y,ask", "y,find", "z,odd"]
    source, out = csv_of(tmp_path / "a.csv", rows, "path,label,split"), tmp_path / "m.parquet"
    summary = ingested(source, out, split_map="ask=query,find=gallery,odd=skip")
    table = Manifest.open(out).table
    assert table["split"].to_pylist() == ["train", "train", "test", "test"]
    assert table["is_query"].to_pylist() == [None, None, True, False]
    assert "1 images left aside: split 'odd' (--split-map odd=skip)" in summary.notes
    with pytest.raises(InputError, match="--split-map odd=identity is for folders"):
        ingested(source, out, split_map="ask=query,find=gallery,odd=identity")


def test_images_inside_a_table_are_left_out_by_split_and_the_others_stay_theirs(tmp_path: Path) -> None:
    splits = ["odd", "train", "odd", "train", "test", "odd"]
    columns = {"image": [b"%d" % place for place in range(6)], "label": list("xyxyzx"), "split": splits}
    source, out = tmp_path / "a.parquet", tmp_path / "m.parquet"
    pq.write_table(pa.table(columns), source)
    summary = ingested(source, out, split_map="odd=skip")
    table = pq.read_table(out)
    assert table["identity"].to_pylist() == ["y", "y", "z"]
    assert table["image"].to_pylist() == [b"1", b"3", b"4"]
    assert "3 images left aside: split 'odd' (--split-map odd=skip)" in summary.notes


def test_unknown_splits_of_all_rows_are_named_at_once() -> None:
    parts = [pa.table({"split": pa.array([name], pa.large_string())}) for name in ("train", "holdout", "odd")]
    with pytest.raises(InputError, match="--split-map holdout=SPLIT,odd=SPLIT, where SPLIT is train"):
        list(SplitNames("a.csv", {}).tables(parts))


def test_query_and_gallery_of_a_table_are_roles_of_the_test(tmp_path: Path) -> None:
    rows = ["x,train", "y,Query", "y,gallery", "z,validation"]
    source = csv_of(tmp_path / "a.csv", rows, "path,label,evaluation_status")
    ingested(source, tmp_path / "m.parquet")
    table = Manifest.open(tmp_path / "m.parquet").table
    assert table["split"].to_pylist() == ["train", "test", "test", "val"]
    assert table["is_query"].to_pylist() == [None, True, False, None]


def test_a_column_that_is_another_for_every_image_is_not_the_identity(tmp_path: Path) -> None:
    source, out = (
        csv_of(tmp_path / "a.csv", ["1,ann", "2,bob", "3,ann"], "path,id,name"),
        tmp_path / "m.parquet",
    )
    with pytest.raises(InputError, match=r"column 'id' is another for every image, .* name one of name with"):
        ingested(source, out)
    alone = csv_of(tmp_path / "b.csv", ["1", "2", "3"], "path,id")
    with pytest.raises(InputError, match=r"another for every image, .* name the column that does with"):
        ingested(alone, out)
    ingested(source, out, identity_column="name")
    assert identities(out) == ["ann", "ann", "bob"]
    summary = ingested(source, out, identity_column="id")
    assert "no identity has two images, so there is no pair to learn from or to test" in summary.notes
    source = csv_of(tmp_path / "a.csv", ["1,ann", "1,bob", "2,ann", "3,ann"], "path,label,person")
    with pytest.raises(InputError, match=r"2 of 3 identities in column 'label' .* 'person' may say who"):
        ingested(source, out)


def test_a_group_that_leaves_nothing_to_test_is_refused(tmp_path: Path) -> None:
    source, out = (
        csv_of(tmp_path / "a.csv", ["x,1", "x,1", "y,2", "y,2"], "path,label,family"),
        tmp_path / "m.parquet",
    )
    with pytest.raises(InputError, match=r"column 'family' is taken as the group, .* with --no-group-column"):
        ingested(source, out)
    assert "group: none; not used: family" in ingested(source, out, no_group_column=True).reading
    assert any("nothing can be tested" in note for note in ingested(source, out, group_column="family").notes)
    ingested(csv_of(tmp_path / "a.csv", ["x,1", "x,", "y,2", "y,2"], "path,label,family"), out)


def test_rows_without_bytes_have_paths(tmp_path: Path) -> None:
    made = pictures()
    paths = paths_of(made, tmp_path)
    image = pa.array(
        [{"bytes": None, "path": path} for path in paths["path"]],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    pq.write_table(pa.table({"image": image, "label": paths["label"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"no image in 'image\.bytes', .* lie: --path-column image\.path$"):
        ingested(tmp_path / "a.parquet", tmp_path / "m.parquet")
    ingested(tmp_path / "a.parquet", tmp_path / "m.parquet", path_column="image.path")
    assert pixel_sums(tmp_path / "m.parquet") == folder_sums(made, tmp_path)


# OML


def oml(made: list[Picture], tmp_path: Path) -> Any:
    """A table with the columns of OML's documentation, as pandas keeps it: floats and objects where some are missing."""
    pandas = pytest.importorskip("pandas")
    rows = paths_of(made, tmp_path)
    held_out = [label >= 2 for label in rows["label"]]
    return pandas.DataFrame(
        rows
        | {
            "split": ["validation" if held else "train" for held in held_out],
            "is_query": [place % 8 < 4 if held else None for place, held in enumerate(held_out)],
            "is_gallery": [place % 8 >= 4 if held else None for place, held in enumerate(held_out)],
            "category": ["shoes"] * len(made),
            "x_1": [1.0 if held else None for held in held_out],
            "y_1": [2.0 if held else None for held in held_out],
            "x_2": [5.0 if held else None for held in held_out],
            "y_2": [7.0 if held else None for held in held_out],
        }
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_oml_tables_keep_boxes_and_parts_in_the_evaluation(tmp_path: Path, suffix: str) -> None:
    frame = oml(pictures(), tmp_path)
    source = tmp_path / f"df.{suffix}"
    frame.to_csv(source, index=False) if suffix == "csv" else frame.to_parquet(source)
    summary = ingested(source, tmp_path / "m.parquet")
    assert summary.reading == (
        "identity: label; path: path; split: split; group: none; box: x_1 y_1 x_2 y_2; query: is_query; "
        "gallery: is_gallery; not used: category"
    )
    assert [(count.split, count.images) for count in summary.splits] == [("train", 4), ("val", 4)]
    table = read_parquet(tmp_path / "m.parquet", MANIFEST)
    assert [table.schema.field(name).type for name in ("x_1", "y_2", "is_query")] == [
        pa.int32(),
        pa.int32(),
        pa.bool_(),
    ]
    for row in table.to_pylist():
        box = tuple(row[name] for name in ("x_1", "y_1", "x_2", "y_2"))
        held = int(row["identity"]) >= 2
        assert box == ((1, 2, 5, 7) if held else (None,) * 4)
        query = int(Path(row["uri"]).stem) % 8 < 4
        assert (row["is_query"], row["is_gallery"]) == ((query, not query) if held else (None, None))
    again = ingested(tmp_path / "m.parquet", tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "m.parquet").read_bytes()
    assert again.fingerprint == summary.fingerprint


@pytest.mark.parametrize("change", [{"x_1": 3.0}, {"is_query": True}, {"is_gallery": None}, {"y_2": 8.0}])
def test_the_fingerprint_follows_boxes_and_flags(tmp_path: Path, change: dict[str, Any]) -> None:
    frame = oml(pictures(), tmp_path)
    frame.to_parquet(tmp_path / "df.parquet")
    before = ingested(tmp_path / "df.parquet", tmp_path / "m.parquet").fingerprint
    ((name, value),) = change.items()
    frame.loc[7, name] = value
    frame.to_parquet(tmp_path / "df.parquet")
    assert ingested(tmp_path / "df.parquet", tmp_path / "m.parquet").fingerprint != before


@pytest.mark.parametrize(
    "box", [(5, 2, 5, 7), (6, 2, 5, 7), (-1, 2, 5, 7), (1, 2, None, 7), (1, 9, 5, 7), (0, 0, 2**31, 1)]
)
def test_boxes_without_a_pixel_are_refused_or_quarantined(tmp_path: Path, box: tuple[Any, ...]) -> None:
    frame = oml(pictures(), tmp_path)
    frame.loc[7, ["x_1", "y_1", "x_2", "y_2"]] = box
    frame.to_parquet(tmp_path / "df.parquet")
    with pytest.raises(
        InputError, match=r"1 images are bad \(the box is empty, inverted, incomplete or negative\)"
    ):
        ingested(tmp_path / "df.parquet", tmp_path / "m.parquet")
    summary = ingested(tmp_path / "df.parquet", tmp_path / "m.parquet", on_bad_image="quarantine")
    assert (summary.images, summary.quarantined) == (7, 1)
    (bad,) = read_parquet(quarantine_path(tmp_path / "m.parquet"), QUARANTINE).to_pylist()
    assert Path(bad["uri"]).name == "0007.jpg"


def test_paths_start_from_root(tmp_path: Path) -> None:
    made = pictures()
    frame = oml(made, tmp_path)
    (tmp_path / "tables").mkdir()
    frame.to_csv(tmp_path / "tables" / "df.csv", index=False)
    with pytest.raises(InputError, match=r"correct the folder that relative paths start from \(--root\)"):
        ingested(tmp_path / "tables" / "df.csv", tmp_path / "m.parquet")
    summary = ingested(tmp_path / "tables" / "df.csv", tmp_path / "m.parquet", root=tmp_path)
    assert summary.images == 8
    assert not any("--root" in note for note in summary.notes)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "lst"])
def test_root_does_not_move_absolute_paths_and_that_is_said(tmp_path: Path, suffix: str) -> None:
    """The message of images that had moved named --root, which said nothing, and the same line came again."""
    made = pictures()
    frame = oml(made, tmp_path)
    source, paths = tmp_path / f"df.{suffix}", frame["path"].map(lambda path: f"{tmp_path}/{path}")
    for column in (paths, paths.str.replace(str(tmp_path), "/home/someone")):
        if suffix == "lst":
            source.write_text("".join(f"{i}\t{one.label}\t{column[i]}\n" for i, one in enumerate(made)))
        elif suffix == "csv":
            frame.assign(path=column).to_csv(source, index=False)
        else:
            frame.assign(path=column).to_parquet(source)
        if column is paths:
            notes = ingested(source, tmp_path / "m.parquet", root=tmp_path).notes
            assert f"--root {tmp_path} is not used: all paths are absolute" in notes
    with pytest.raises(
        InputError, match=r"write their paths anew \(they are absolute: --root does not move them\)"
    ):
        ingested(source, tmp_path / "m.parquet", root=tmp_path)


def test_boxes_are_cropped_when_they_are_decoded(tmp_path: Path) -> None:
    made = pictures(kind="PNG")
    oml(made, tmp_path).to_parquet(tmp_path / "df.parquet")
    ingested(tmp_path / "df.parquet", tmp_path / "m.parquet")
    manifest = Manifest.open(tmp_path / "m.parquet")
    store = ImageStore(manifest)
    for number, row in enumerate(manifest.table.to_pylist()):
        if row["x_1"] is not None:
            found = store.decode(number, ImageInput((5, 4)))
            assert isinstance(found, np.ndarray)
            assert np.array_equal(
                found.transpose(1, 2, 0), np.asarray(Image.open(row["uri"]).crop((1, 2, 5, 7)))
            )


# Lists without a header


@pytest.mark.parametrize("kind", ["im2rec", "several labels", "InsightFace", "with a box"])
def test_lst_decodes_as_the_folder_does(tmp_path: Path, kind: str) -> None:
    made = pictures()
    rows = paths_of(made, tmp_path)
    lines = {
        "im2rec": "{n}\t{label:.6f}\t{path}",
        "several labels": "{n}\t{label}\t0.5\t{path}",
        "InsightFace": "1\t{path}\t{label}",
        "with a box": "0\t{path}\t{label}\t1\t2\t3\t4",
    }
    written = [
        lines[kind].format(n=n, path=path, label=label)
        for n, (path, label) in enumerate(zip(*rows.values(), strict=True))
    ]
    (tmp_path / "train.lst").write_text("\n".join(written) + "\n")
    summary = ingested(tmp_path / "train.lst", tmp_path / "m.parquet")
    assert pixel_sums(tmp_path / "m.parquet") == folder_sums(made, tmp_path)
    assert ("(im2rec)" if kind in ("im2rec", "several labels") else "(InsightFace)") in summary.reading
    unused = {"several labels": "field 3", "with a box": "field 4, field 5, field 6, field 7"}.get(kind)
    assert summary.reading.partition("; not used: ")[2] == (unused or "")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a.jpg 1\n", "neither number, label, path"),
        (b"", "is empty"),
        (b"0\t1\ta.jpg\n1\tx\tb.jpg\n", "cannot parse"),
        (b"0\t1\ta.jpg\n1\t1\n", "cannot parse"),
        (b"0\t1.5\ta.jpg\n", "no whole numbers, such as 1.5"),
        (b"0\t1\t\xff.jpg\n", "is not UTF-8"),
        (b"0\t1\ta.jpg\n0\t1\t\xff.jpg\n", "cannot parse"),
    ],
)
def test_bad_lst_is_one_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "a.lst").write_bytes(content)
    with pytest.raises(InputError) as caught:
        ingested(tmp_path / "a.lst", tmp_path / "m.parquet")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


# Hugging Face


@pytest.mark.parametrize("shards", [1, 3])
def test_hugging_face_shards_decode_as_the_folder_does(tmp_path: Path, shards: int) -> None:
    datasets = pytest.importorskip("datasets")
    made = pictures(9, people=3)
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee", "cow"])}
    )
    rows = {
        "image": [{"bytes": one.data, "path": one.name} for one in made],
        "label": [one.label for one in made],
    }
    whole = datasets.Dataset.from_dict(rows, features=features)
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("a card")
    for number in range(shards):
        whole.shard(shards, number).to_parquet(folder / "data" / f"train-{number:05}-of-{shards:05}.parquet")
    summary = ingested(folder, tmp_path / "m.parquet")
    names = dict(zip("012", ("ant", "bee", "cow"), strict=True))
    assert pixel_sums(tmp_path / "m.parquet") == sorted(
        (names[label], total) for label, total in folder_sums(made, tmp_path)
    )
    assert (
        summary.reading
        == "identity: label; image: image.bytes; split: none; group: none; names of the classes: the file's own"
    )
    files = sorted((folder / "data").iterdir())
    assert ingested(files, tmp_path / "m2.parquet").fingerprint == summary.fingerprint


def test_labels_of_nobody_and_null_bytes_of_a_shard(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = pictures()
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list("abcd"))}
    )
    rows = {
        "image": [{"bytes": one.data, "path": None} for one in made],
        "label": [-1, *(one.label for one in made[1:])],
    }
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "a.parquet")
    summary = ingested(tmp_path / "a.parquet", tmp_path / "m.parquet")
    assert (summary.images, summary.notes[0].split(" left")[0]) == (7, "1 images of nobody")
    assert [identity for identity, _ in pixel_sums(tmp_path / "m.parquet")] == list("abbccdd")
    rows["image"][3] = {"bytes": None, "path": "gone.jpg"}
    table = pa.table({"image": pa.array(rows["image"]), "label": rows["label"]})
    pq.write_table(table, tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"1 images are bad \(zero bytes\), the first is gone.jpg"):
        ingested(tmp_path / "b.parquet", tmp_path / "m.parquet")
    assert (
        ingested(tmp_path / "b.parquet", tmp_path / "m.parquet", on_bad_image="quarantine").quarantined == 1
    )


def test_images_in_two_columns_are_named(tmp_path: Path) -> None:
    made = pictures()
    columns = {
        "img": [one.data for one in made],
        "mask": [{"bytes": b"", "path": ""}] * 8,
        "label": [one.label for one in made],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"images in img and in mask\.bytes; name one with --image-key"):
        ingested(tmp_path / "a.parquet", tmp_path / "m.parquet")
    ingested(tmp_path / "a.parquet", tmp_path / "m.parquet", image_key="img")
    assert pixel_sums(tmp_path / "m.parquet") == folder_sums(made, tmp_path)
    with pytest.raises(InputError, match="no column 'depth' of images"):
        ingested(tmp_path / "a.parquet", tmp_path / "m.parquet", image_key="depth")


# What is no label


def not_utf8(values: list[bytes]) -> pa.Array:
    raw = pa.array(values, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())


BAD_LABELS = [
    (pa.array([[1], [2]]), "column 'label' is list<"),
    (pa.array([{"a": 1}, {"a": 2}]), "has no identity column among"),
    (pa.array([1.0, 1.5]), "no whole numbers, such as 1.5"),
    (pa.array([1.0, float("inf")]), "no whole numbers, such as inf"),
    (pa.array([1.0, 1e300]), "no whole numbers, such as 1e+300"),
    (not_utf8([b"a", b"\xff\xfe"]), "column 'label' is not UTF-8"),
    (pa.array([True, False]), "column 'label' is bool"),
    (pa.array([2**64 - 1, 1], pa.uint64()), "numbers beyond 64 bits"),
]


@pytest.mark.parametrize(("labels", "complaint"), BAD_LABELS)
def test_what_is_no_label_is_one_line(tmp_path: Path, labels: pa.Array, complaint: str) -> None:
    pq.write_table(pa.table({"image": [b"x", b"y"], "label": labels}), tmp_path / "a.parquet")
    with pytest.raises(InputError) as caught:
        ingested(tmp_path / "a.parquet", tmp_path / "m.parquet")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "m.parquet").exists()


def test_a_class_without_a_name_is_one_line() -> None:
    with pytest.raises(InputError, match="label holds 2, and there are names of 2 classes"):
        text_column(pa.chunked_array([[0, 2]]), "label", ["a", "b"])


def test_whole_numbers_and_flags() -> None:
    assert whole_numbers(pa.chunked_array([[1.0, None]]), "x").to_pylist() == [1, None]
    for column in ([1, 0, None], ["True", "no", ""], [True, False, None], [1.0, 0.0, None]):
        assert flag_column(pa.chunked_array([pa.array(column)]), "x").to_pylist() == [True, False, None]
    for column in ([1, 2], ["perhaps"], [0.5]):
        with pytest.raises(InputError):
            flag_column(pa.chunked_array([pa.array(column)]), "x")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("path,label,x_1,y_1\na,b,1,1\n", "has a part of a box, without x_2, y_2"),
        (
            "path,label,x_1,y_1,x_2,y_2\na,b,1,1,2,2.5\n",
            "column 'y_2' is double with values that are no whole numbers, such as 2.5",
        ),
        ("path,label,x_1,y_1,x_2,y_2\na,b,1,1,2,z\n", "cannot parse"),
        ("path,label,is_query\na,b,maybe\n", "column 'is_query' holds maybe; write true, false or nothing"),
    ],
)
def test_bad_boxes_and_flags_of_a_csv_are_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        ingested(tmp_path / "a.csv", tmp_path / "m.parquet")
    assert complaint in str(caught.value)


def test_several_tables_have_the_same_columns(tmp_path: Path) -> None:
    rows = paths_of(pictures(), tmp_path)
    for name, columns in (("a", rows), ("b", rows | {"group": ["g"] * 8})):
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    with pytest.raises(InputError, match="do not have the same columns: group is in one of them only"):
        ingested([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "m.parquet")


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_several_tables_all_hold_their_images_or_all_point_to_files(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    """It was a traceback of Arrow."""
    write_folder(tmp_path / "images", pictures())
    labels, paths = ["ann", "bob"], ["1.jpg", "2.jpg"]
    pq.write_table(pa.table({"image": [b"1", b"2"], "path": paths, "label": labels}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"path": paths, "label": labels}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"/a\.parquet holds its images and .*/b\.parquet points to files"):
        ingested([tmp_path / f"{name}.parquet" for name in names], tmp_path / "m.parquet")


def test_manifests_without_boxes_look_as_before(tmp_path: Path) -> None:
    write_folder(tmp_path / "images", pictures())
    ingested(tmp_path / "images", tmp_path / "m.parquet")
    assert Manifest.open(tmp_path / "m.parquet").table.column_names == list(MANIFEST.columns.names)
    assert np.all(Manifest.open(tmp_path / "m.parquet").table["keep"].to_numpy(zero_copy_only=False))


@pytest.mark.parametrize("inline", [True, False])
def test_a_row_without_an_identity_is_named_by_its_number_in_the_table(tmp_path: Path, inline: bool) -> None:
    labels = ["a", "-1", "-1", *["b"] * 2_000, " "]
    images = {"image": [b"x"] * 2_004} if inline else {"path": ["x.jpg"] * 2_004}
    pq.write_table(pa.table({"label": labels, **images}), tmp_path / "l.parquet")
    with pytest.raises(InputError) as error:
        ingest_images(tmp_path / "l.parquet", tmp_path / "m.parquet", IngestOptions())
    name = "" if inline else " (x.jpg)"
    complaint = (
        f"row 2,004{name} has an empty identity; name it, or leave the row out (all such rows: --junk '')"
    )
    assert str(error.value) == f"{tmp_path / 'l.parquet'}: {complaint}"


# Boxes


BOXES = {
    "x1,y1,x2,y2": "1,2,5,7",
    "xmin,ymin,xmax,ymax": "1,2,5,7",
    "bbox_left,bbox_top,bbox_right,bbox_bottom": "1.0,2,5,7",
    "left,top,width,height": "1,2,4,5",
    "x_1,y_1,width,height": "1,2,4,5",
    "Bbox_X,Bbox_Y,Bbox_W,Bbox_H": "1,2,4,5",
}


@pytest.mark.parametrize("head", BOXES)
def test_boxes_are_found_by_their_customary_names(tmp_path: Path, head: str) -> None:
    source = csv_of(tmp_path / "a.csv", [f"x,{BOXES[head]}", "x,,,,"], f"path,label,{head}")
    other = csv_of(tmp_path / "b.csv", [f"y,{BOXES[head]}"], f"path,label,{head}")
    summary = ingested([source, other], tmp_path / "m.parquet")
    assert f"; box: {head.replace(',', ' ')}" in summary.reading
    boxes = Manifest.open(tmp_path / "m.parquet").table.select(["x_1", "y_1", "x_2", "y_2"]).to_pylist()
    assert [tuple(box.values()) for box in boxes] == [(1, 2, 5, 7), (None,) * 4, (1, 2, 5, 7)]
    whole = ingested([source, other], tmp_path / "m.parquet", no_box_columns=True)
    assert f"not used: {head.replace(',', ', ')}" in whole.reading
    assert "x_1" not in Manifest.open(tmp_path / "m.parquet").table.column_names


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_lists_of_a_box_are_refused_until_their_form_is_said(tmp_path: Path, kind: str) -> None:
    source = csv_of(tmp_path / "a.csv", ['x,"[1, 2, 4, 5]"', "x,", 'y,"1 2 4 5"'], "path,label,bbox")
    if kind == "parquet":
        boxes = [[1.0, 2.0, 4.0, 5.0], None, [1, 2, 4, 5]]
        table = pa.table({"path": [f"a{n}.jpg" for n in range(3)], "label": ["x", "x", "y"], "bbox": boxes})
        pq.write_table(table, source := tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"has boxes in 'bbox', which may be .* --box-format xyxy or xywh"):
        ingested(source, tmp_path / "m.parquet")
    for form, end in (("xywh", (5, 7)), ("xyxy", (4, 5))):
        ingested(source, tmp_path / "m.parquet", box_format=form)
        boxes = Manifest.open(tmp_path / "m.parquet").table.select(["x_1", "y_1", "x_2", "y_2"]).to_pylist()
        assert [tuple(box.values()) for box in boxes] == [(1, 2, *end), (None,) * 4, (1, 2, *end)]


def test_boxes_by_option(tmp_path: Path) -> None:
    source, out = (
        csv_of(tmp_path / "a.csv", ["x,1,2,4,5", "y,1,2,4,5"], "path,label,a,b,c,d"),
        tmp_path / "m.parquet",
    )
    ingested(source, out, box_columns="a,b,c,d", box_format="xywh")
    assert Manifest.open(out).table["x_2"].to_pylist() == [5, 5]
    for options, complaint in (
        ({"box_columns": "a,b,c,d"}, "--box-format"),
        ({"box_columns": "a,b"}, "give four columns"),
        ({"box_columns": "a,b,c,e"}, "has no column named 'e'"),
        ({"box_columns": "a,b,c,d", "no_box_columns": True}, "exclude each other"),
    ):
        with pytest.raises(InputError, match=complaint):
            ingested(source, out, **options)


# CSVs as they are


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        (
            "a.csv",
            "path;label\nx;y\n",
            "columns are apart by ',' here, and its first line has ';': give --delimiter ';'",
        ),
        ("a.csv", "path\tlabel\nx\ty\n", "and its first line has 'tab': give --delimiter 'tab'"),
        ("a.tsv", "path,label\nx,y\n", "columns are apart by 'tab' here, and its first line has ','"),
        (
            "a.csv",
            "1.jpg,ann\n2.jpg,bob\n",
            "its first line is data ('1.jpg'), not names of columns: add a line such as",
        ),
        ("a.csv", "path,label\n1.jpg,ann\n2.jpg,bob,c\n", "cannot parse"),
        ("a.csv", 'path,label\n1.jpg,"ann\n2.jpg,bob\n', "line 2: the quote there never closes"),
        ("a.csv", 'path,label\n1.jpg,"ann\n2.jpg"\n', "line 2: the row there has a value of 'label'"),
    ],
)
def test_a_csv_of_another_form_is_one_line(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        ingested(tmp_path / name, tmp_path / "m.parquet")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_delimiters_and_lines_beside_rows(tmp_path: Path) -> None:
    for place in range(3):
        (tmp_path / f"{place}.jpg").write_bytes(b"x")
    text = '\ufeff"path";label;note\r\n0.jpg;a;5" nail\r\n\r\n1.jpg;a;x\r\n2.jpg;b;y\r\n'
    source = tmp_path / "a.csv"
    source.write_bytes(text.encode())
    notes = ingested(source, tmp_path / "m.parquet", delimiter=";").notes
    assert f"{source}: 5 lines with its header, 3 rows: 1 blank lines" in notes
    assert f"{source}: 1 quotes within values are kept as they are" in notes
    source.write_text('path,label,note\n0.jpg,a,"two\nlines"\n1.jpg,a,x\n2.jpg,b,y\n')
    notes = ingested(source, tmp_path / "m.parquet").notes
    assert f"{source}: 5 lines with its header, 3 rows: 1 line ends within quotes" in notes
    pq.write_table(pa.table({"path": ["a"], "label": ["b"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="--delimiter says nothing about Parquet files"):
        ingested(tmp_path / "a.parquet", tmp_path / "m.parquet", delimiter=";")


def test_quotes_of_captions_are_text_where_one_says_so(tmp_path: Path) -> None:
    text = 'path,label,caption\n1.jpg,"ann,"Hello" she said\n2.jpg,bob,"Never\n\n3.jpg,bob,"all" or "none"\n'
    with pytest.raises(InputError, match="read quotes as text like any other with --quoting none"):
        listed(tmp_path, text)
    assert listed(tmp_path, text, quoting="none") == ['"ann', "bob", "bob"]
    (tmp_path / "a.csv").write_text(text)
    for place in range(1, 4):
        (tmp_path / f"{place}.jpg").write_bytes(b"x%d" % place)
    notes = ingested(tmp_path / "a.csv", tmp_path / "m.parquet", quoting="none").notes
    assert f"{tmp_path / 'a.csv'}: 5 lines with its header, 3 rows: 1 blank lines" in notes
    with pytest.raises(InputError, match="--quoting all: give double or none"):
        SourceOptions(quoting="all")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="leaves no value that --newlines-in-values could be for"):
        SourceOptions(quoting="none", newlines_in_values=True)


VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
ROWS = st.lists(st.tuples(VALUES, VALUES.filter(str.strip)), min_size=1, max_size=6)


def written(rows: list[tuple[str, str]]) -> str:
    file = io.StringIO()
    csv.writer(file).writerows([("note", "label", "path"), *((*row, "x") for row in rows)])
    return file.getvalue()


def listed(folder: Path, text: str, **options: Any) -> list[str]:
    (folder / "a.csv").write_bytes(text.encode())
    listing = list_csv([folder / "a.csv"], SourceOptions(**options), ImageSpool(folder / "m"), iter)
    return [label for rows in listing.tables() for label in rows["identity"].to_pylist()]


@PATIENT
@given(rows=ROWS)
def test_rows_of_a_csv_are_those_that_were_written(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    labels = [f"p{label}" for _, label in rows]  # not all of them numbers
    text = written([(note, label) for (note, _), label in zip(rows, labels, strict=True)])
    assert listed(tmp_path, text, newlines_in_values=True) == labels


@PATIENT
@given(rows=ROWS, data=st.data())
def test_a_stray_quote_is_refused_or_costs_no_other_row(
    tmp_path: Path, rows: list[tuple[str, str]], data: st.DataObject
) -> None:
    rows = [(note, f"p{place} {label}") for place, (note, label) in enumerate(rows)]
    text = written(rows)
    place = data.draw(st.integers(len("note,label,path\r\n"), len(text)))
    try:
        found = listed(
            tmp_path, text[:place] + '"' + text[place:], newlines_in_values=data.draw(st.booleans())
        )
    except InputError:
        return
    labels = [label for _, label in rows]
    assert sum(label not in found for label in labels) <= 1
