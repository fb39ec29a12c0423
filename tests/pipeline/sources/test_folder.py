"""Flat folders with a pattern in the names, as re-identification sets come; test_ingest.py has folders per identity.

Covers pipeline/sources/file_names.py, pipeline/sources/listing.py and pipeline/sources/shard_folder.py too.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labelled_pictures import folder_sums, ingested, pictures, pixel_sums
from PIL import Image

from subspace.mining.errors import InputError
from subspace.mining.parquet_tables import read_parquet
from subspace.mining.schemas import MANIFEST, QUARANTINE
from subspace.pipeline.rows.manifest_writer import quarantine_path
from subspace.pipeline.sources.file_names import NamePattern, image_suffixes, suffix_counts, suffix_of
from subspace.pipeline.sources.options import SourceOptions

MARKET = r"^(?P<identity>-?\d+)_c(?P<group>\d+)"


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"pixels")
    return folder


def rows_of(manifest: Path) -> list[tuple[str, str | None]]:
    return [(row["identity"], row.get("group")) for row in read_parquet(manifest, MANIFEST).to_pylist()]


@pytest.mark.parametrize(
    ("names", "pattern", "found"),
    [
        (["0002_c1s1_000451_03.jpg", "0002_c2s1_1.jpg", "0007_c3s3_2.jpg"], MARKET, [("0002", "1"), ("0002", "2"), ("0007", "3")]),
        (["0001_c2_f0046182.jpg", "0005_c8_f1.jpg"], MARKET, [("0001", "2"), ("0005", "8")]),  # DukeMTMC
        (["0001_c001_00016450_0.jpg", "0776_c012_1.jpg"], MARKET, [("0001", "001"), ("0776", "012")]),  # VeRi
        (["ann-1.png", "sub/bob-2.png"], r"(?P<identity>\w+)-\d", [("ann", None), ("bob", None)]),
    ],
)  # fmt: skip
def test_names_of_known_sets(
    tmp_path: Path, names: list[str], pattern: str, found: list[tuple[str, str | None]]
) -> None:
    summary = ingested(write(tmp_path / "set", *names), tmp_path / "m.parquet", label_regex=pattern)
    assert rows_of(tmp_path / "m.parquet") == found
    group = "label-regex in file names" if "group" in pattern else "none"
    assert summary.reading == f"identity: label-regex in file names; split: none; group: {group}"


def test_a_flat_folder_decodes_as_the_folder_does(tmp_path: Path) -> None:
    made = pictures()
    (tmp_path / "flat").mkdir()
    for one in made:
        (tmp_path / "flat" / f"{one.label}_c{one.label % 2}_{one.name}").write_bytes(one.data)
    ingested(tmp_path / "flat", tmp_path / "m.parquet", label_regex=MARKET)
    assert pixel_sums(tmp_path / "m.parquet") == folder_sums(made, tmp_path)


def test_market_as_it_is_unpacked(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "Market", "bounding_box_train/0002_c1s1_1.jpg", "bounding_box_train/0007_c1s1_1.jpg", "bounding_box_train/Thumbs.db",
        "query/0001_c1s1_1.jpg", "bounding_box_test/0001_c2s1_1.jpg", "bounding_box_test/-1_c1s1_1.jpg",
        "bounding_box_test/0000_c1s1_1.jpg", "readme.txt",
    )  # fmt: skip
    pattern = r"^(?P<split>\w+)/(?P<identity>-?\d+)_c(?P<group>\d+)"
    summary = ingested(folder, tmp_path / "m.parquet", label_regex=pattern)
    rows = read_parquet(tmp_path / "m.parquet", MANIFEST).to_pylist()
    assert [(row["identity"], row["split"], row["is_query"], row["is_gallery"]) for row in rows] == [
        ("0000", "test", False, True),
        ("0001", "test", False, True),
        ("0001", "test", True, False),
        ("0002", "train", None, None),
        ("0007", "train", None, None),
    ]
    notes = "\n".join(summary.notes)
    assert "2 files that are no images left aside: .db 1, .txt 1" in notes
    assert (
        "identity 0000 has 1 images: where it stands for distractors, as in Market-1501, leave it out"
        in notes
    )
    assert "1 images of nobody left out (identity -1; --junk changes that)" in notes
    summary = ingested(folder, tmp_path / "m.parquet", label_regex=pattern, junk=("-1", "0000"))
    assert (summary.images, "distractors" in "".join(summary.notes)) == (4, False)


MARKET_FILES = (
    "bounding_box_train/0002_c1s1_1.jpg", "bounding_box_train/0007_c1s1_1.jpg", "query/0001_c1s1_1.jpg",
    "bounding_box_test/0001_c2s1_1.jpg",
)  # fmt: skip
MARKET_ROLES = [
    ("0001", "test", False, True),
    ("0001", "test", True, False),
    ("0002", "train", None, None),
    ("0007", "train", None, None),
]


def roles_of(manifest: Path) -> list[tuple[Any, ...]]:
    rows = read_parquet(manifest, MANIFEST).to_pylist()
    return sorted(
        ((row["identity"], row["split"], row["is_query"], row["is_gallery"]) for row in rows), key=str
    )


def test_folders_of_market_say_the_splits(tmp_path: Path) -> None:
    folder = write(tmp_path / "Market", *MARKET_FILES)
    summary = ingested(folder, tmp_path / "m.parquet", label_regex=MARKET)
    assert "split: first folder level" in summary.reading
    assert roles_of(tmp_path / "m.parquet") == MARKET_ROLES
    parts = [folder / name for name in ("bounding_box_train", "bounding_box_test", "query")]
    summary = ingested(parts, tmp_path / "m.parquet", label_regex=MARKET)
    assert "split: the sources' names" in summary.reading
    assert roles_of(tmp_path / "m.parquet") == MARKET_ROLES


def test_splits_of_market_are_no_people(tmp_path: Path) -> None:
    folder = write(tmp_path / "Market", *MARKET_FILES, "gt_bbox/0001_c1s1_1.jpg")
    with pytest.raises(InputError, match=r"has no identity; .*--label-regex '.*as for Market-1501"):
        ingested(folder, tmp_path / "m.parquet")
    by_person = write(tmp_path / "set", "image_train/ann/1.jpg", "query/bob/1.jpg", "gallery/bob/2.jpg")
    ingested(by_person, tmp_path / "m.parquet")
    assert roles_of(tmp_path / "m.parquet") == [
        ("ann", "train", None, None),
        ("bob", "test", False, True),
        ("bob", "test", True, False),
    ]
    one = write(tmp_path / "words", "gallery/1.jpg", "museum/1.jpg")
    with pytest.raises(InputError, match="has the splits gallery and other folders, museum"):
        ingested(one, tmp_path / "m.parquet")
    assert ingested(one, tmp_path / "m.parquet", split_map="gallery=identity").identities == 2


def test_names_that_do_not_match_are_refused_or_quarantined(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", "1_c1.jpg", "2_c1.jpg", "x.jpg", "y.jpg")
    with pytest.raises(
        InputError, match=r"2 of 4 images cannot be taken, the first is .*[xy]\.jpg: --label-regex"
    ):
        ingested(folder, tmp_path / "m.parquet", label_regex=MARKET)
    summary = ingested(folder, tmp_path / "m.parquet", label_regex=MARKET, on_bad_image="quarantine")
    assert (summary.images, summary.quarantined) == (2, 2)
    listed = read_parquet(quarantine_path(tmp_path / "m.parquet"), QUARANTINE)["uri"].to_pylist()
    assert [Path(uri).name for uri in listed] == ["x.jpg", "y.jpg"]
    with pytest.raises(InputError, match="finds nothing in any of 4 images"):
        ingested(folder, tmp_path / "m.parquet", label_regex="(?P<identity>q)")
    with pytest.raises(InputError, match="has no identity by --label-regex"):
        ingested(folder, tmp_path / "m.parquet", label_regex=r"(?P<identity>\d?)")


def test_folders_name_identities_and_a_pattern_the_rest(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", "train/ann/c1.jpg", "train/ann/c2.jpg", "val/bob/c1.jpg")
    summary = ingested(folder, tmp_path / "m.parquet", label_regex=r"c(?P<group>\d)")
    assert rows_of(tmp_path / "m.parquet") == [("ann", "1"), ("ann", "2"), ("bob", "1")]
    assert summary.reading == (
        "identity: folders of level 1; split: first folder level; group: label-regex in file names"
    )


@pytest.mark.parametrize("pattern", ["(", r"\d+", "(?P<who>x)", r"(?P<identity>\d)(?P<cam>\d)"])
def test_bad_patterns_are_one_line(pattern: str) -> None:
    with pytest.raises(InputError, match="--label-regex") as caught:
        SourceOptions(label_regex=pattern)
    assert "\n" not in str(caught.value)


def test_an_image_without_a_folder_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"move it to a folder named after one, .*--label-regex"):
        ingested(write(tmp_path / "set", "1.jpg"), tmp_path / "m.parquet")


def test_suffixes_are_those_that_the_decoder_opens(tmp_path: Path) -> None:
    for suffix in image_suffixes():
        try:
            Image.new("RGB", (4, 4)).save(tmp_path / f"x{suffix}")
        except (KeyError, OSError):
            continue  # read here, and not written
        Image.open(tmp_path / f"x{suffix}").load()
    assert {".jpg", ".png", ".webp", ".tif", ".pgm"} <= set(image_suffixes())
    assert [suffix_of(name) for name in ("a.TXT", "a", ".hidden", "a.b.c")] == [
        ".txt",
        "no suffix",
        "no suffix",
        ".c",
    ]
    assert suffix_counts(Counter({".a": 2, ".b": 1, ".c": 1}), most=1) == ".a 2, others 2"


def test_a_pattern_is_searched_in_names_or_paths() -> None:
    assert NamePattern("(?P<identity>a)").parts("a", "b") is None
    by_path = NamePattern("^(?P<split>dev)/(?P<identity>a)").parts("dev", "a")
    assert by_path is not None
    assert (by_path.split, by_path.role) == ("val", "")


# Kinds of sources


def test_a_folder_of_shards_is_of_one_kind(tmp_path: Path) -> None:
    write(tmp_path / "set", "a.tar", "b.parquet")
    with pytest.raises(InputError, match=r"holds \.parquet and \.tar files; give those of one kind"):
        ingested(tmp_path / "set", tmp_path / "m.parquet")
    write(tmp_path / "more", "a.tar", "ann/1.jpg")
    with pytest.raises(InputError, match=r"holds \.tar files and folders, such as ann"):
        ingested(tmp_path / "more", tmp_path / "m.parquet")
    with pytest.raises(InputError, match="these are tars and Parquet files"):
        ingested([tmp_path / "set/a.tar", tmp_path / "set/b.parquet"], tmp_path / "m.parquet")


def table_of(folder: Path, name: str, *who: str, images: int = 2) -> Path:
    """A Parquet file of images inside `folder`, so many of each identity."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"image": f"{name}{one}{k}".encode(), "label": one} for one in who for k in range(images)]
    pq.write_table(pa.Table.from_pylist(rows), folder / name)
    return folder


def test_a_manifest_in_its_own_folder_is_no_shard(tmp_path: Path) -> None:
    folder = table_of(tmp_path / "set", "a.parquet", "ann", "bob")
    sums = [ingested(folder, folder / "m.parquet") for _ in range(3)]
    assert [one.images for one in sums] == [4, 4, 4]
    assert len({one.fingerprint for one in sums}) == 1
    assert f"left aside in {folder}, as they are tables of this program: m.parquet" in sums[1].notes
    with pytest.raises(InputError, match=r"a\.parquet would be overwritten by what is made of it"):
        ingested(folder, folder / "a.parquet")
    photos = write(tmp_path / "photos", "ann/1.jpg", "bob/1.jpg")
    assert [ingested(photos, photos / "m.parquet").images for _ in range(2)] == [2, 2]


@pytest.mark.parametrize("other", ["1.jpg", "b.tar.gz", "ok.npz", "b.zip"])
def test_shards_hide_nothing_that_may_hold_images(tmp_path: Path, other: str) -> None:
    folder = table_of(tmp_path / "set", "a.parquet", "ann", "bob")
    write(folder, other)
    with pytest.raises(InputError, match=rf"holds \.parquet files and other files .*, such as {other}; give"):
        ingested(folder, tmp_path / "m.parquet")
    (folder / other).rename(folder / "notes.txt")
    summary = ingested(folder, tmp_path / "m.parquet")
    assert (summary.images, summary.notes[0]) == (4, "1 files beside the shards left aside: .txt 1")


def test_shards_deeper_down_are_to_be_given(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    table_of(folder / "data" / "sub", "0.parquet", "ann", "bob")
    with pytest.raises(
        InputError, match=rf"give the files, as in subspace ingest {folder}/data/sub/\*\.parquet$"
    ):
        ingested(folder, tmp_path / "m.parquet")


def test_a_folder_that_holds_itself_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "data").symlink_to(".")
    with pytest.raises(InputError, match="set holds no images"):
        ingested(tmp_path / "set", tmp_path / "m.parquet")


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("hf://datasets/me/faces", "hf://me/faces is not read over the network"),
        ("shards/*.tar", "a pattern is for the shell: write it without quotes"),
        ("shards/train-{000..009}.tar", "a pattern is for the shell"),
        ("lfw.bin", "--protocol pairs --pairs FILE.bin` reads; to train, give the .rec"),
        ("train.idx", "give the .rec beside it"),
        ("set.tar.gz", "unpack it once"),
    ],
)
def test_sources_that_are_refused_with_the_reason(tmp_path: Path, source: str, complaint: str) -> None:
    path = Path(source) if "://" in source else tmp_path / source
    if not set("*{:") & set(source):
        path.write_bytes(b"x")
    with pytest.raises(InputError) as caught:
        ingested(path, tmp_path / "m.parquet")
    assert complaint in str(caught.value)


def test_an_option_without_a_meaning_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", "ann/1.jpg", "bob/1.jpg")
    with pytest.raises(InputError, match="--label-key says nothing about folders such as"):
        ingested(folder, tmp_path / "m.parquet", label_key="cls")
    (tmp_path / "l.csv").write_text("path,label\n")
    with pytest.raises(InputError, match="--label-regex says nothing about tables"):
        ingested(tmp_path / "l.csv", tmp_path / "m.parquet", label_regex=MARKET)


def test_several_folders_are_one_set(tmp_path: Path) -> None:
    first, second = (
        write(tmp_path / "a", "ann/1.jpg", "ann/2.jpg"),
        write(tmp_path / "b", "ann/3.jpg", "bob/1.jpg"),
    )
    assert ingested([first, second], tmp_path / "m.parquet").images == 4
    assert [identity for identity, _ in rows_of(tmp_path / "m.parquet")] == ["ann", "ann", "ann", "bob"]
