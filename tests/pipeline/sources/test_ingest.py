"""Any source of labelled images becomes one manifest that depends on its content alone.

Covers pipeline/sources/options.py, pipeline/sources/folder.py, pipeline/sources/table.py,
pipeline/sources/splits.py, pipeline/sources/bad_images.py, pipeline/rows/image_spool.py,
pipeline/rows/content_hash.py and pipeline/rows/manifest_writer.py too.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import csv

from subspace.mining.errors import InputError
from subspace.mining.manifest import Manifest
from subspace.mining.parquet_tables import open_parquet, read_parquet
from subspace.mining.schemas import MANIFEST, QUARANTINE
from subspace.pipeline.console import Progress
from subspace.pipeline.rows.content_hash import ContentHash, flat_bytes
from subspace.pipeline.rows.image_spool import ImageSpool
from subspace.pipeline.rows.manifest_writer import quarantine_path
from subspace.pipeline.sources.ingest import IngestSummary, ingest_images
from subspace.pipeline.sources.options import JUNK, IngestOptions
from subspace.pipeline.sources.splits import SPLITS, canonical_split, draw_splits, with_pairs

Rows = list[dict[str, Any]]
NO_TEST = IngestOptions(test_fraction=0)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three identities with 3, 2 and 1 images, and what a folder of photos also holds."""
    folder = tmp_path / "photos"
    for name in ("bob/1.jpg", "bob/2.PNG", "alice/b.jpeg", "alice/a.webp", "alice/c.tif", "zoë, 1st/x.bmp"):
        write(folder / name, name.encode())
    for other in (".hidden/1.jpg", "__MACOSX/1.jpg", "alice/._a.jpg", "alice/notes.txt", "readme.md"):
        write(folder / other, b"no image")
    return folder


def write(path: Path, content: bytes = b"pixels") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_csv(path: Path, rows: Rows, delimiter: str = ",") -> Path:
    """A CSV of `rows`, and the image files that it lists."""
    for row in rows:
        write(path.parent / row["path"], row["path"].encode())
    csv.write_csv(pa.Table.from_pylist(rows), path, csv.WriteOptions(delimiter=delimiter))
    return path


def write_table(path: Path, /, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def rows_of(manifest: Path) -> Rows:
    return read_parquet(manifest, MANIFEST).to_pylist()


def people(*labels: str, images: int = 2) -> Rows:
    """Rows of a CSV: `images` of each label."""
    return [
        {"path": f"i/{n}-{k}.jpg", "label": label} for n, label in enumerate(labels) for k in range(images)
    ]


def refused(source: Path, out: Path, options: IngestOptions = NO_TEST) -> str:
    """The one line with which `ingest_images` refuses; nothing may be left behind."""
    with pytest.raises(InputError) as caught:
        ingest_images(source, out, options)
    message = str(caught.value)
    assert "\n" not in message
    assert not out.exists()
    assert not quarantine_path(out).exists()
    assert not list(out.parent.glob(".*.tmp"))
    return message


# Folders


def test_folder_gives_one_row_per_image_sorted_by_identity_then_uri(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    summary = ingest_images(photos, out, NO_TEST)
    rows = rows_of(out)
    names = ["alice/a.webp", "alice/b.jpeg", "alice/c.tif", "bob/1.jpg", "bob/2.PNG", "zoë, 1st/x.bmp"]
    assert [row["uri"] for row in rows] == [str(photos.resolve() / name) for name in names]
    assert [row["identity"] for row in rows] == [str(Path(name).parent) for name in names]
    assert [row["identity_id"] for row in rows] == [0, 0, 0, 1, 1, 2]
    assert {(row["offset"], row["length"], row["split"], row["keep"]) for row in rows} == {
        (None, None, "train", True)
    }
    assert (summary.images, summary.identities, summary.singletons, summary.quarantined) == (6, 3, 1, 0)
    assert "6 images of 3 identities, 1 with one image" in summary.lines()[1]


def test_manifest_has_the_columns_and_types_that_others_rely_on(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    summary = ingest_images(photos, out, NO_TEST)
    file = open_parquet(out, MANIFEST)
    assert file.schema_arrow.equals(MANIFEST.columns)
    assert Manifest.open(out).fingerprint == summary.fingerprint
    assert len(summary.fingerprint) == 32


def test_nested_folders_name_identities_by_their_whole_path(tmp_path: Path) -> None:
    for name in ("a/x/1.jpg", "a/y/1.jpg", "b/1.jpg"):
        write(tmp_path / "photos" / name)
    ingest_images(tmp_path / "photos", tmp_path / "m.parquet", NO_TEST)
    assert [row["identity"] for row in rows_of(tmp_path / "m.parquet")] == ["a/x", "a/y", "b"]


def test_first_level_of_split_names_is_the_split(tmp_path: Path) -> None:
    for name in ("train/ann/1.jpg", "validation/bob/1.jpg", "test/cy/1.jpg", "pretrain/di/e/1.jpg"):
        write(tmp_path / "photos" / name)
    summary = ingest_images(tmp_path / "photos", tmp_path / "m.parquet", IngestOptions(test_fraction=0.9))
    found = [(row["identity"], row["split"]) for row in rows_of(tmp_path / "m.parquet")]
    assert found == [("ann", "train"), ("bob", "val"), ("cy", "test"), ("di/e", "pretrain")]
    assert [count.split for count in summary.splits] == list(SPLITS)


@pytest.mark.parametrize("splits", [("train", "test"), ("train", "pretrain"), ("val", "test")])
def test_identity_in_two_split_folders_is_refused(tmp_path: Path, splits: tuple[str, str]) -> None:
    for split in splits:
        write(tmp_path / "photos" / split / "ann" / "1.jpg")
        write(tmp_path / "photos" / split / f"only {split}" / "1.jpg")
    message = refused(tmp_path / "photos", tmp_path / "m.parquet")
    assert "identity 'ann'" in message
    assert all(split in message for split in splits)


def test_links_are_followed_but_not_back(photos: Path, tmp_path: Path) -> None:
    subset = tmp_path / "subset"
    subset.mkdir()
    (subset / "al").symlink_to(photos / "alice")
    write(subset / "cy" / "1.jpg")
    (subset / "cy" / "2.jpg").symlink_to(photos / "bob" / "1.jpg")
    (subset / "cy" / "up").symlink_to(subset)
    (photos / "alice" / "again").symlink_to(subset / "al")
    summary = ingest_images(subset, tmp_path / "m.parquet", NO_TEST)
    assert [row["identity"] for row in rows_of(tmp_path / "m.parquet")] == ["al"] * 3 + ["cy"] * 2
    assert summary.images == 5


def test_image_outside_any_identity_folder_is_refused(photos: Path, tmp_path: Path) -> None:
    write(photos / "stray.jpg")
    assert "stray.jpg has no identity" in refused(photos, tmp_path / "m.parquet")


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "ann" / "notes.txt")
    assert "holds no images" in refused(tmp_path / "photos", tmp_path / "m.parquet")


def test_file_name_that_is_not_utf8_is_refused(photos: Path, tmp_path: Path) -> None:
    (photos / "bob" / "\udcff.jpg").write_bytes(b"pixels")
    assert "is not UTF-8" in refused(photos, tmp_path / "m.parquet")


def test_broken_link_is_a_missing_image(photos: Path, tmp_path: Path) -> None:
    (photos / "bob" / "9.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert "1 images are bad (not an existing file)" in refused(photos, tmp_path / "m.parquet")


# CSV


def test_csv_paths_start_from_its_own_folder_or_root(tmp_path: Path) -> None:
    rows: Rows = [
        {"path": path, "label": path} for path in ("./a//1.jpg", "b/../b/2.jpg", str(tmp_path / "c/3.jpg"))
    ]
    source = write_csv(tmp_path / "list.csv", rows)
    ingest_images(source, tmp_path / "m.parquet", NO_TEST)
    root = tmp_path.resolve()
    expected = {str(root / "a/1.jpg"), str(root / "b/2.jpg"), str(root / "c/3.jpg")}
    assert {row["uri"] for row in rows_of(tmp_path / "m.parquet")} == expected

    elsewhere = tmp_path / "tables" / "list.csv"
    elsewhere.parent.mkdir()
    source.rename(elsewhere)
    assert "2 images are bad (not an existing file)" in refused(elsewhere, tmp_path / "tables" / "m.parquet")
    again = ingest_images(elsewhere, tmp_path / "m2.parquet", IngestOptions(root=tmp_path, test_fraction=0))
    assert {row["uri"] for row in rows_of(again.out)} == expected


def test_csv_labels_stay_as_written_and_sort_by_bytes(tmp_path: Path) -> None:
    source = write_csv(
        tmp_path / "list.csv", people("10", "9", "007", "NA", "é", "z", 'a "b", c', "two\nlines", images=1)
    )
    assert "line 9: the row there has a value of 'label' over several lines" in refused(
        source, tmp_path / "m.parquet"
    )
    ingest_images(source, tmp_path / "m.parquet", replace(NO_TEST, newlines_in_values=True))
    found = [row["identity"] for row in rows_of(tmp_path / "m.parquet")]
    assert found == ["007", "10", "9", "NA", 'a "b", c', "two\nlines", "z", "é"]


def test_tsv_and_named_columns(tmp_path: Path) -> None:
    rows = [
        {"path": f"{i}.jpg", "label": "noise", "who": f"w{i}", "when": "train", "where": "cam"}
        for i in range(4)
    ]
    source = write_csv(tmp_path / "list.tsv", rows, delimiter="\t")
    options = IngestOptions(
        identity_column="who", path_column="path", split_column="when", group_column="where"
    )
    ingest_images(source, tmp_path / "m.parquet", options)
    found = rows_of(tmp_path / "m.parquet")
    assert [row["identity"] for row in found] == ["w0", "w1", "w2", "w3"]
    assert [row["group"] for row in found] == ["cam"] * 4


def test_split_and_group_columns_are_found_and_kept(tmp_path: Path) -> None:
    rows = [row | {"Subset": split, "camera_id": camera}
            for row, (split, camera) in zip(people("a", "b", "c", images=1), [("", "1"), ("Valid", ""), ("gallery", "2")],
                                            strict=True)]  # fmt: skip
    summary = ingest_images(write_csv(tmp_path / "list.csv", rows), tmp_path / "m.parquet", IngestOptions())
    found = [(row["identity"], row["split"], row["group"]) for row in rows_of(tmp_path / "m.parquet")]
    assert found == [("a", "train", "1"), ("b", "val", None), ("c", "test", "2")]
    assert [count.split for count in summary.splits] == ["train", "val", "test"]
    assert [row["is_gallery"] for row in rows_of(tmp_path / "m.parquet")] == [None, None, True]
    assert "1 images without a split are train" in summary.notes
    assert "splits by name: 'Valid' is val, 'gallery' is test (gallery)" in summary.notes


def test_csv_split_of_one_identity_may_not_mix_training_and_held_out(tmp_path: Path) -> None:
    rows = [
        row | {"split": split} for row, split in zip(people("a", "b"), ["train", "test", "", ""], strict=True)
    ]
    message = refused(write_csv(tmp_path / "list.csv", rows), tmp_path / "m.parquet")
    assert "identity 'a' is in a held-out split and in a training split" in message
    rows = [
        row | {"split": split}
        for row, split in zip(people("a", "b"), ["query", "gallery", "", ""], strict=True)
    ]
    assert (
        ingest_images(
            write_csv(tmp_path / "list.csv", rows), tmp_path / "m.parquet", IngestOptions()
        ).identities
        == 2
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("path,who\n1.jpg,a\n", "has no identity column among path, who; name it with --identity-column"),
        ("where,label\n1.jpg,a\n", "has no image path column among where, label; name it with --path-column"),
        ("path,label\n", "lists no images"),
        ("", "cannot parse"),
        ("path,label\n1.jpg\n", "cannot parse"),
        ("path,label\n1.jpg,a\n1.jpg,\n", "row 2 (/"),
        ("path,label\n1.jpg,a\n1.jpg, \n", "has an empty identity"),
        ("path,label\n1.jpg,a\n1.jpg,a\n", "has 1 identities"),
        ("path,label\n1.jpg,a\n2.jpg,b\nno/3.jpg,b\nno/4.jpg,b\n", "2 images are bad (not an existing file), the first is /"),
        ("path,label\n1.jpg,a\nempty.jpg,b\n", "1 images are bad (zero bytes), the first is /"),
        ("path,label\n1.jpg,a\n.,b\n", "not an existing file"),
        ("path,label,label\n1.jpg,a,b\n", "several columns named 'label'"),
        ("uri,label,offset,length\n1.jpg,a,0,6\n1.jpg,b,x,6\n", "cannot parse"),
        ("uri,label,offset,length\n1.jpg,a,0,6\n1.jpg,b,5,2\n", "offset and length reach outside the file"),
        ("uri,label,offset,length\n1.jpg,a,0,6\n1.jpg,b,5,\n", "offset and length reach outside the file"),
        ("uri,label,offset,length\n1.jpg,a,0,6\n1.jpg,b,-1,2\n", "offset and length reach outside the file"),
        ("uri,label,offset,length\n1.jpg,a,0,6\n1.jpg,b,2,0\n", "zero bytes"),
    ],
)  # fmt: skip
def test_bad_csv_is_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    write(tmp_path / "1.jpg")
    write(tmp_path / "2.jpg")
    write(tmp_path / "empty.jpg", b"")
    (tmp_path / "list.csv").write_text(text)
    assert complaint in refused(tmp_path / "list.csv", tmp_path / "m.parquet")


def test_csv_that_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "list.csv", b"path,label\n1.jpg,\xff\xfe\n")
    assert "cannot parse" in refused(tmp_path / "list.csv", tmp_path / "m.parquet")


def test_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "list.csv", people("a", "b"))
    message = refused(source, tmp_path / "m.parquet", IngestOptions(group_column="cam"))
    assert "no column named 'cam'; its columns are path, label" in message


# Parquet


def test_parquet_of_paths_in_packed_files(tmp_path: Path) -> None:
    pack = write(tmp_path / "pack.bin", b"0123456789")
    source = write_table(
        tmp_path / "list.parquet",
        label=pa.array([7, 7, 12], pa.int16()),
        uri=pa.array(["pack.bin"] * 3).dictionary_encode(),
        offset=[4, 0, None],
        length=[6, 4, None],
    )
    ingest_images(source, tmp_path / "m.parquet", NO_TEST)
    found = [
        (row["identity"], row["uri"], row["offset"], row["length"]) for row in rows_of(tmp_path / "m.parquet")
    ]
    uri = str(pack.resolve())
    assert found == [("12", uri, None, None), ("7", uri, 0, 4), ("7", uri, 4, 6)]


def test_inline_images_as_bytes_and_as_hugging_face_structs(tmp_path: Path) -> None:
    labels, names, data = ["b", "a", "b"], ["1.png", "2.png", "0.png"], [b"one", b"two", b"three"]
    plain = write_table(tmp_path / "plain.parquet", label=labels, path=names, image=data)
    structs = [{"bytes": image, "path": name} for name, image in zip(names, data, strict=True)]
    nested = write_table(tmp_path / "nested.parquet", label=labels, image=structs)
    first, second = (
        ingest_images(path, tmp_path / f"{path.stem}.m.parquet", NO_TEST) for path in (plain, nested)
    )
    found = [(row["identity"], row["uri"], row["image"]) for row in rows_of(first.out)]
    assert found == [("a", "2.png", b"two"), ("b", "0.png", b"three"), ("b", "1.png", b"one")]
    assert first.out.read_bytes() == second.out.read_bytes()


def test_a_named_path_column_is_preferred_to_inline_images(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg")
    source = write_table(
        tmp_path / "l.parquet", label=["a", "b"], image=[b"x", b"y"], file=["1.jpg", "1.jpg"]
    )
    ingest_images(source, tmp_path / "m.parquet", IngestOptions(path_column="file", test_fraction=0))
    assert "image" not in rows_of(tmp_path / "m.parquet")[0]


def test_a_manifest_can_be_ingested_again_without_a_change(photos: Path, tmp_path: Path) -> None:
    first = ingest_images(photos, tmp_path / "1.parquet", IngestOptions(test_fraction=0.4))
    second = ingest_images(first.out, tmp_path / "2.parquet", IngestOptions())
    assert first.out.read_bytes() == second.out.read_bytes()
    assert first.splits == second.splits


def test_inline_images_are_read_and_written_in_many_pieces(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.bytes(length) for length in rng.integers(1, 40, 5_000)]
    labels = pa.array(rng.integers(0, 50, 5_000))
    source = write_table(tmp_path / "list.parquet", label=labels, image=images)
    ingest_images(source, tmp_path / "m.parquet", NO_TEST)
    expected = sorted({(str(label), image) for label, image in zip(labels.to_pylist(), images, strict=True)})
    assert [(row["identity"], row["image"]) for row in rows_of(tmp_path / "m.parquet")] == expected
    assert pq.ParquetFile(tmp_path / "m.parquet").metadata.num_row_groups == 5


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"image": [b"x", b"y"], "label": [0.5, 1.5]}, "column 'label' is double"),
        ({"image": [b"x", b"y"], "label": ["a", None]}, "row 2 has an empty identity"),
        ({"image": [b"x", b"", None], "label": ["a", "b", "c"]}, "2 images are bad (zero bytes)"),
        ({"uri": [b"x", b"y"], "label": ["a", "b"]}, "column 'uri' is binary"),
        ({"image": [b"x", b"y"]}, "has no identity column among image"),
        ({"label": ["a", "b"]}, "has no image path column among label"),
        ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.string())}, "lists no images"),
    ],
)  # fmt: skip
def test_bad_parquet_is_one_line(tmp_path: Path, columns: dict[str, Any], complaint: str) -> None:
    assert complaint in refused(write_table(tmp_path / "list.parquet", **columns), tmp_path / "m.parquet")


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_truncated_parquet_is_one_line(tmp_path: Path, keep: float) -> None:
    source = write_table(tmp_path / "list.parquet", label=["a", "b"] * 50, image=[b"xyz"] * 100)
    source.write_bytes(source.read_bytes()[: int(source.stat().st_size * keep)])
    assert "truncated?" in refused(source, tmp_path / "m.parquet")


def test_damaged_parquet_page_is_one_line(tmp_path: Path) -> None:
    source = tmp_path / "list.parquet"
    images = [np.random.default_rng(i).bytes(100) for i in range(200)]
    pq.write_table(pa.table({"label": ["a", "b"] * 100, "image": images}), source, compression="zstd")
    content = bytearray(source.read_bytes())
    content[4:2_000] = bytes(1_996)
    source.write_bytes(content)
    assert "is damaged" in refused(source, tmp_path / "m.parquet")


# Places


def test_missing_and_unsupported_sources_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nowhere", tmp_path / "m.parquet")
    assert "cannot be read as a source" in refused(write(tmp_path / "list.xlsx"), tmp_path / "m.parquet")


def test_output_that_cannot_be_written_is_refused_before_the_work(photos: Path, tmp_path: Path) -> None:
    def never(*work: Any) -> Any:
        raise AssertionError("the images were listed first")

    with pytest.raises(InputError, match="cannot write"):
        ingest_images(photos, write(tmp_path / "file") / "m.parquet", NO_TEST, bars=never)
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        ingest_images(photos, tmp_path / "folder.parquet", NO_TEST)


def test_source_is_never_overwritten(tmp_path: Path) -> None:
    source = write_table(tmp_path / "list.parquet", label=["a", "b"], image=[b"x", b"y"])
    before = source.read_bytes()
    with pytest.raises(InputError, match="would be overwritten"):
        ingest_images(source, tmp_path / "." / "list.parquet", NO_TEST)
    assert source.read_bytes() == before


@pytest.mark.parametrize("twice", ["rows", "files", "a shard and its folder"])
def test_an_image_that_is_listed_twice_is_there_once_and_said(tmp_path: Path, twice: str) -> None:
    rows = [{**row, "camera": row["path"][-5]} for row in people("a", "b")]
    once = ingest_images(write_csv(tmp_path / "l.csv", rows), tmp_path / "once.parquet", NO_TEST)
    sources = [tmp_path / "l.csv"]
    if twice == "rows":
        write_csv(tmp_path / "l.csv", [*rows, *reversed(rows)])
    elif twice == "files":
        sources *= 2
    else:
        (tmp_path / "set").mkdir()
        uris = [str(tmp_path / row["path"]) for row in rows]
        columns = {name: [row[name] for row in rows] for name in ("label", "camera")}
        sources = [tmp_path / "set", write_table(tmp_path / "set" / "s.parquet", path=uris, **columns)]
    made = ingest_images(sources, tmp_path / "m.parquet", NO_TEST)
    rows_twice = "4 images left out: their rows repeat others in all that is known of them"
    assert (rows_twice if twice == "rows" else "1 source given twice: read once") in made.notes
    assert not any("repeat" in note for note in once.notes)
    assert (made.images, made.fingerprint) == (4, once.fingerprint)
    assert (tmp_path / "m.parquet").read_bytes() == (tmp_path / "once.parquet").read_bytes()


def test_an_image_with_two_boxes_is_no_repeat_and_one_with_two_cameras_is(tmp_path: Path) -> None:
    rows = [
        {"path": "x.jpg", "label": label, "x_1": left, "y_1": 0, "x_2": 9, "y_2": 9, "camera": camera}
        for label, left, camera in [("a", 0, "1"), ("a", 1, "1"), ("a", 0, "2"), ("b", 0, "1")]
    ]
    made = ingest_images(write_csv(tmp_path / "l.csv", rows), tmp_path / "m.parquet", NO_TEST)
    assert (made.images, made.repeats, made.shared_training) == (3, 1, 2)


def test_a_failed_ingest_leaves_the_old_manifest(photos: Path, tmp_path: Path) -> None:
    old = ingest_images(photos, tmp_path / "m.parquet", NO_TEST).out.read_bytes()
    write(photos / "bob" / "0.jpg", b"")
    with pytest.raises(InputError, match="zero bytes"):
        ingest_images(photos, tmp_path / "m.parquet", NO_TEST)
    assert (tmp_path / "m.parquet").read_bytes() == old


@pytest.mark.parametrize(
    "wrong",
    [
        {"test_fraction": 1.5}, {"test_fraction": -0.1}, {"val_fraction": float("nan")}, {"pretrain_fraction": 2},
        {"test_fraction": 0.5, "val_fraction": 0.5}, {"seed": -1}, {"min_images": 0}, {"max_images": 1, "min_images": 2}, {"on_bad_image": "skip"},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    option = "--" + next(iter(wrong)).replace("_", "-")
    with pytest.raises(InputError, match=option) as caught:
        IngestOptions(**wrong)
    assert "give" in str(caught.value)


def test_every_bar_sees_every_image_once(photos: Path, tmp_path: Path) -> None:
    bars: list[tuple[str, int | None, Progress]] = []

    def bar(what: str, total: int | None, unit: str) -> Any:
        progress = Progress(what, total, unit, 0, show=False)
        bars.append((what, total, progress))
        return nullcontext(progress)

    paths = [str(path.relative_to(tmp_path)) for path in sorted(photos.glob("bob/*"))]
    listed = write_csv(tmp_path / "l.csv", [{"path": path, "label": path} for path in paths])
    inline = write_table(tmp_path / "l.parquet", label=["a", "b", "c"], image=[b"x", b"y", b"z"])
    for source, images in [(photos, 6), (listed, 2), (inline, 3)]:
        ingest_images(source, tmp_path / "m" / f"{images}.parquet", NO_TEST, bars=bar)
        alike = bars.pop(2)  # images of equal size
        assert alike[0] == "compare"
        assert alike[2]._done == alike[1]
        assert [(what, total) for what, total, _ in bars] == [
            ("read", None),
            ("check", images),
            ("write", images),
        ]
        assert [progress._done for what, _, progress in bars if what != "read"] == [images, images]
        bars.clear()


# Bad images


def test_quarantine_lists_what_it_leaves_out(photos: Path, tmp_path: Path) -> None:
    write(photos / "bob" / "0.jpg", b"")
    write(photos / "nobody" / "0.jpg", b"")
    (photos / "alice" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    out = tmp_path / "m.parquet"
    options = IngestOptions(test_fraction=0, on_bad_image="quarantine")
    summary = ingest_images(photos, out, options)
    assert (summary.images, summary.identities, summary.quarantined) == (6, 3, 3)
    assert str(quarantine_path(out)) in "\n".join(summary.lines())
    listed = read_parquet(quarantine_path(out), QUARANTINE).to_pylist()
    assert [(row["image_id"], row["identity"], Path(row["uri"]).name, row["reason"]) for row in listed] == [
        (-1, "alice", "gone.jpg", "not an existing file"),
        (-1, "bob", "0.jpg", "zero bytes"),
        (-1, "nobody", "0.jpg", "zero bytes"),
    ]
    for bad in ("bob/0.jpg", "nobody/0.jpg", "alice/gone.jpg"):
        (photos / bad).unlink()
    assert ingest_images(photos, out, options).fingerprint == summary.fingerprint
    assert not quarantine_path(out).exists(), "a list of an earlier manifest's bad images"


def test_quarantine_does_not_hide_a_wrong_root(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "list.csv", people("a", "b"))
    options = IngestOptions(root=tmp_path / "elsewhere", on_bad_image="quarantine")
    assert "--root" in refused(source, tmp_path / "m.parquet", options)


def test_min_images_leaves_small_identities_out_and_numbers_the_rest(photos: Path, tmp_path: Path) -> None:
    write(photos / "aaron" / "1.jpg")
    summary = ingest_images(photos, tmp_path / "m.parquet", IngestOptions(min_images=2, test_fraction=0))
    rows = rows_of(tmp_path / "m.parquet")
    assert [(row["identity"], row["identity_id"]) for row in rows] == [("alice", 0)] * 3 + [("bob", 1)] * 2
    assert any("2 identities left out" in note for note in summary.notes)
    assert "must be two" in refused(photos, tmp_path / "m2.parquet", IngestOptions(min_images=3))


# Fingerprints


def change_nothing(folder: Path) -> None:
    write(folder / "bob/1.jpg", (folder / "bob/1.jpg").read_bytes())


def change_size(folder: Path) -> None:
    write(folder / "bob/1.jpg", b"longer than before")


def rename_image(folder: Path) -> None:
    (folder / "bob/1.jpg").rename(folder / "bob/3.jpg")


def move_image(folder: Path) -> None:
    (folder / "bob/1.jpg").rename(folder / "alice/1.jpg")


@pytest.mark.parametrize(
    ("change", "differs"),
    [(change_nothing, False), (change_size, True), (rename_image, True), (move_image, True)],
)  # fmt: skip
def test_fingerprint_follows_the_content(
    photos: Path, tmp_path: Path, change: Callable[[Path], None], differs: bool
) -> None:
    before = ingest_images(photos, tmp_path / "m.parquet", NO_TEST)
    change(photos)
    assert (
        ingest_images(photos, tmp_path / "m.parquet", NO_TEST).fingerprint != before.fingerprint
    ) == differs


def test_fingerprint_of_every_column(tmp_path: Path) -> None:
    base = {
        "label": ["a", "b"],
        "image": [b"x", b"yz"],
        "path": ["1", "2"],
        "split": ["train", "test"],
        "group": ["g", "h"],
    }
    changed = [
        base, base | {"label": ["a", "c"]}, base | {"image": [b"x", b"z"]}, base | {"path": ["1", "3"]},
        base | {"split": ["train", "val"]}, base | {"group": ["g", None]}, base | {"image": [b"xy", b"z"]},
        {name: values for name, values in base.items() if name != "group"},
    ]  # fmt: skip
    fingerprints = [
        ingest_images(
            write_table(tmp_path / f"{i}.parquet", **columns), tmp_path / f"{i}.m.parquet", NO_TEST
        ).fingerprint
        for i, columns in enumerate(changed)
    ]
    assert len(set(fingerprints)) == len(changed)


def test_content_hash_ignores_how_rows_lie_in_memory() -> None:
    text = pa.array(["skipped", "a", None, "", "bc"])[1:]
    numbers = pa.array([9, 1, None, 0, 3])[1:]
    whole, parts = ContentHash(), ContentHash()
    whole.update(pa.record_batch([text, numbers], names=["text", "number"]))
    for batch in (slice(0, 1), slice(1, 3), slice(3, 4)):
        some = [text[batch].cast(pa.large_string()), pa.array(numbers[batch].to_pylist(), pa.int64())]
        parts.update(pa.record_batch(some, names=["text", "number"]))
    assert whole.hexdigest() == parts.hexdigest()

    other = ContentHash()
    other.update(pa.record_batch([pa.array(["a", "", "", "bc"]), numbers], names=["text", "number"]))
    assert other.hexdigest() != whole.hexdigest(), "a null is not an empty string"


@given(st.lists(st.none() | st.binary(max_size=5)), st.integers(0, 5))
def test_flat_bytes_is_lengths_and_concatenation(values: list[bytes | None], skip: int) -> None:
    lengths, data = flat_bytes(pa.array(values, pa.binary())[skip:])
    assert lengths.tolist() == [len(value or b"") for value in values[skip:]]
    assert bytes(data) == b"".join(value or b"" for value in values[skip:])


@given(st.lists(st.lists(st.none() | st.binary(max_size=9), max_size=5), max_size=5))
def test_spool_gives_back_what_was_added(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Any]
) -> None:
    with ImageSpool(tmp_path_factory.getbasetemp() / "out") as spool:
        for batch in batches:
            spool.add(pa.array(batch, pa.binary()))
        assert spool.images().to_pylist() == [image or b"" for image in itertools.chain(*batches)]


# Splits


def test_drawn_splits_hold_out_whole_identities_with_pairs(tmp_path: Path) -> None:
    rows = people(*(f"many {i}" for i in range(12))) + [
        {"path": f"s/{i}.jpg", "label": f"one {i}"} for i in range(8)
    ]
    options = IngestOptions(test_fraction=0.25, val_fraction=0.1, pretrain_fraction=0.5, seed=3)
    summary = ingest_images(write_csv(tmp_path / "list.csv", rows), tmp_path / "m.parquet", options)
    assert {count.split: count.identities for count in summary.splits} == {
        "train": 7,  # round() is to even: 6.5 serve pretraining, which is 6
        "pretrain": 6,
        "val": 2,
        "test": 5,
    }
    for row in rows_of(tmp_path / "m.parquet"):
        assert row["split"] in ("train", "pretrain") or row["identity"].startswith("many")


def test_summary_says_when_too_few_identities_have_two_images(tmp_path: Path) -> None:
    rows = people("a", "b", images=2) + people(*"cdefghij", images=1)
    rows = [row | {"path": f"{i}.jpg"} for i, row in enumerate(rows)]
    summary = ingest_images(
        write_csv(tmp_path / "l.csv", rows), tmp_path / "m.parquet", IngestOptions(test_fraction=0.5)
    )
    assert "test has 2 of 5 identities, for want of any with two images" in summary.notes


def test_nobody_to_validate_on_is_said_with_what_to_do(photos: Path, tmp_path: Path) -> None:
    def notes(source: Path, **options: Any) -> str:
        return " ".join(ingest_images(source, tmp_path / "m.parquet", IngestOptions(**options)).notes)

    assert "nobody to validate on" in notes(photos)
    assert "--val-fraction 0.4" in notes(photos)  # of three; 0.05 rounded to nobody, and was advised again
    assert "nobody to validate on" not in notes(photos, val_fraction=0.4)
    assert "nobody to validate on" not in notes(photos, val_fraction=0.3)
    for name in ("train/ann/1.jpg", "test/bob/1.jpg"):
        write(tmp_path / "split" / name)
    assert "give some the split val" in notes(tmp_path / "split")


def test_something_must_be_left_to_train_on(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "l.csv", people("a", "b"))
    options = IngestOptions(test_fraction=0.5, val_fraction=0.4)
    assert "leave none to train on" in refused(source, tmp_path / "m.parquet", options)


def test_summary_is_json(photos: Path, tmp_path: Path) -> None:
    summary = ingest_images(photos, tmp_path / "m.parquet", IngestOptions(test_fraction=0.34))
    assert isinstance(summary, IngestSummary)
    assert summary.to_json()["images"] == 6
    assert summary.to_json()["splits"][0].keys() == {"split", "identities", "images"}


@given(
    images=st.lists(st.integers(1, 3), min_size=1, max_size=60),
    test=st.floats(0, 0.5),
    val=st.floats(0, 0.49),
    pretrain=st.floats(0, 1),
    seed=st.integers(0, 2**40),
)
def test_draw_splits_by_its_definition(
    images: list[int], test: float, val: float, pretrain: float, seed: int
) -> None:
    images_I = np.array(images)
    split_I = draw_splits(images_I >= 2, test=test, val=val, pretrain=pretrain, seed=seed)
    sizes = {name: int((split_I == code).sum()) for code, name in enumerate(SPLITS)}
    pairable = int((images_I >= 2).sum())
    assert sizes["test"] == min(round(test * len(images)), pairable)
    assert sizes["val"] == min(round(val * len(images)), pairable - sizes["test"])
    assert sizes["pretrain"] == round(pretrain * (sizes["train"] + sizes["pretrain"]))
    assert not np.any(images_I[np.isin(split_I, [SPLITS.index("val"), SPLITS.index("test")])] < 2)
    again = draw_splits(images_I >= 2, test=test, val=0, pretrain=0, seed=seed)
    assert np.array_equal(again == SPLITS.index("test"), split_I == SPLITS.index("test"))


@pytest.mark.parametrize(
    ("name", "split"), [("", "train"), ("TRAIN", "train"), ("Validation", "val"), ("dev", "val"), ("Query", "Query")]
)  # fmt: skip
def test_canonical_split(name: str, split: str) -> None:
    assert canonical_split(name) == split


# Properties

LABELS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).filter(
    lambda label: label.strip() and label not in JUNK  # hypothesis likes "NaN", which is nobody
)
PATIENT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)


@PATIENT
@given(labels=st.lists(LABELS, min_size=2, max_size=12, unique=True), data=st.data())
def test_order_of_rows_leaves_no_trace(tmp_path: Path, labels: list[str], data: st.DataObject) -> None:
    row = st.tuples(
        st.sampled_from(labels), st.sampled_from(["", "1", "2"]), st.binary(min_size=1, max_size=3)
    )
    rows = [(label, "", b"x") for label in labels] + data.draw(st.lists(row, max_size=20))
    shuffled = data.draw(st.permutations(rows))
    options = IngestOptions(
        test_fraction=0.2,
        val_fraction=0.2,
        pretrain_fraction=0.3,
        seed=data.draw(st.integers(0, 9)),
        check_repeats=data.draw(st.sampled_from(["all", "none"])),
    )
    written = []
    for order in (rows, shuffled):
        identity, path, image = zip(*order, strict=True)
        source = write_table(tmp_path / "l.parquet", identity=identity, path=path, image=image)
        ingest_images(source, tmp_path / "m.parquet", options)
        written.append((tmp_path / "m.parquet").read_bytes())
    assert written[0] == written[1]
    if options.check_repeats == "all":
        return  # fewer rows than were given

    table = rows_of(tmp_path / "m.parquet")
    once: dict[tuple[str, bytes], tuple[str, str, bytes]] = {}
    for given_row in sorted(set(rows)):  # the same bytes are taken once of an identity
        once.setdefault((given_row[0], given_row[2]), given_row)
    assert sorted((row["identity"], row["uri"], row["image"]) for row in table) == sorted(once.values())
    names = sorted(labels, key=str.encode)
    assert [names[row["identity_id"]] for row in table] == [row["identity"] for row in table]
    assert [row["identity_id"] for row in table] == sorted(row["identity_id"] for row in table)
    assert len({(row["identity"], row["split"]) for row in table}) == len(labels), "splits share no identity"


# -1 stands for nobody, and a column of nothing than 1.0 and the like for integers.
WRITTEN = LABELS.filter(lambda label: label not in JUNK and not re.search(r"[\r\0]|^-?[0-9]+\.0$", label))


@PATIENT
@given(labels=st.lists(WRITTEN, min_size=2, unique=True))
def test_any_label_passes_through_a_csv(tmp_path: Path, labels: list[str]) -> None:
    rows = [{"path": f"{hashlib.md5(label.encode()).hexdigest()}.jpg", "label": label} for label in labels]
    options = replace(NO_TEST, newlines_in_values=True)
    ingest_images(write_csv(tmp_path / "l.csv", rows), tmp_path / "m.parquet", options)
    assert [row["identity"] for row in rows_of(tmp_path / "m.parquet")] == sorted(labels, key=str.encode)


def test_rows_that_repeat_another_are_left_out(photos: Path, tmp_path: Path) -> None:
    once = ingest_images(photos, tmp_path / "once.parquet", NO_TEST)
    table = read_parquet(once.out, MANIFEST)
    columns = ["identity", "uri", "offset", "length"]
    csv.write_csv(pa.concat_tables([table.select(columns)] * 2), tmp_path / "twice.csv")
    twice = ingest_images(tmp_path / "twice.csv", tmp_path / "twice.parquet", NO_TEST)
    assert rows_of(twice.out) == rows_of(once.out)
    assert twice.fingerprint == once.fingerprint
    assert "6 images left out: their rows repeat others in all that is known of them" in twice.notes
    assert not any("repeat another" in note for note in once.notes)
    rows = [f"{photos}/bob/1.jpg,bob,1,1,{side},9" for side in (5, 6)]
    (tmp_path / "boxes.csv").write_text(
        "\n".join(["path,label,x_1,y_1,x_2,y_2", *rows, f"{photos}/alice/a.webp,al,1,1,9,9"])
    )
    assert ingest_images(tmp_path / "boxes.csv", tmp_path / "m.parquet", NO_TEST).images == 3


def test_a_shard_that_is_given_alone_and_in_its_folder_is_read_once(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    write_table(folder / "a.parquet", image=[b"x", b"y"], label=["a", "b"])
    write_table(folder / "b.parquet", image=[b"z"], label=["a"])
    summary = ingest_images([folder / "b.parquet", folder], tmp_path / "m.parquet", NO_TEST)
    assert (summary.images, summary.notes[0]) == (3, "1 source given twice: read once")


def test_a_bad_image_inside_a_file_is_found_by_its_place(tmp_path: Path) -> None:
    write(tmp_path / "pack.bin", b"123456")
    (tmp_path / "l.csv").write_text(
        "path,label,offset,length\npack.bin,a,0,2\npack.bin,a,4,0\npack.bin,b,2,2\n"
    )
    with pytest.raises(InputError, match=r"\(zero bytes\), the first is .*/pack\.bin at byte 4; restore"):
        ingest_images(tmp_path / "l.csv", tmp_path / "m.parquet", NO_TEST)
    options = IngestOptions(test_fraction=0, on_bad_image="quarantine")
    ingest_images(tmp_path / "l.csv", tmp_path / "m.parquet", options)
    listed = read_parquet(quarantine_path(tmp_path / "m.parquet"), QUARANTINE)
    assert listed["reason"].to_pylist() == ["zero bytes, at byte 4"]


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([None, "", "a", "b"]), st.booleans()), max_size=25
    )
)
def test_a_pair_is_two_kept_images_of_different_groups(rows: list[tuple[int, str | None, bool]]) -> None:
    identity, group, keep = zip(*rows, strict=True) if rows else ((), (), ())
    table = pa.table(
        {
            "identity_id": pa.array(identity, pa.int32()),
            "group": pa.array(group, pa.large_string()),
            "keep": pa.array(keep, pa.bool_()),
        }
    )

    def slow(number: int, *, by_group: bool) -> bool:
        mine = [name for other, name, kept in rows if other == number and kept]
        pairs = itertools.combinations(mine, 2)
        return any(not by_group or not a or not b or a != b for a, b in pairs)

    assert with_pairs(table, 5).tolist() == [slow(number, by_group=True) for number in range(5)]
    plain = table.drop_columns(["group"])
    assert with_pairs(plain, 5).tolist() == [slow(number, by_group=False) for number in range(5)]


def test_test_identities_are_drawn_from_those_with_images_of_two_groups(tmp_path: Path) -> None:
    identity = [name for name in "abcdefgh" for _ in range(3)]
    camera = [f"{name}{shot if name in 'ab' else 0}" for name in "abcdefgh" for shot in range(3)]
    paths = [f"{number}.png" for number in range(24)]
    source = write_table(
        tmp_path / "l.parquet",
        identity=identity,
        path=paths,
        group=camera,
        image=[b"x%d" % n for n in range(24)],
    )
    out = tmp_path / "m.parquet"
    summary = ingest_images(source, out, IngestOptions(test_fraction=0.5))
    held = {row["identity"] for row in pq.read_table(out).to_pylist() if row["split"] == "test"}
    assert held == {"a", "b"}
    assert any(
        "test has 2 of 4 identities, for want of any with two images of different groups" in note
        for note in summary.notes
    )
