"""Layouts of folders that can be read in two ways are refused, and what was read is said."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from labelled_pictures import ingested

from subspace.mining.errors import InputError
from subspace.mining.parquet_tables import read_parquet
from subspace.mining.schemas import MANIFEST
from subspace.pipeline.sources.file_names import image_suffixes, not_decoded
from subspace.pipeline.sources.layout import identity_levels
from subspace.pipeline.sources.split_names import parse_split_map
from subspace.train.data import images


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def read(manifest: Path) -> set[tuple[str, str]]:
    rows = read_parquet(manifest, MANIFEST).select(["identity", "split"]).to_pylist()
    return {(row["identity"], row["split"]) for row in rows}


SPLITS = ("train/ann/1.jpg", "train/bob/1.jpg", "eval/cid/1.jpg", "extras/dan/1.jpg")


def test_a_folder_beside_splits_is_to_be_explained(tmp_path: Path) -> None:
    folder, out = made(tmp_path / "set", *SPLITS), tmp_path / "m.parquet"
    with pytest.raises(InputError, match=r"the splits train and other folders, eval, extras: .*--split-map eval=skip,extras=skip"):  # fmt: skip
        ingested(folder, out)
    with pytest.raises(InputError, match="other folders, extras"):
        ingested(folder, out, split_map="eval=test")
    summary = ingested(folder, out, split_map="eval=test,extras=skip")
    assert read(out) == {("ann", "train"), ("bob", "train"), ("cid", "test")}
    assert "folders left aside: extras" in summary.notes
    assert summary.reading.startswith("identity: folders of level 1; split: first folder level")


def test_a_folder_without_images_beside_splits_needs_no_word(tmp_path: Path) -> None:
    names = (
        "train/ann/1.jpg",
        "test/bob/2.jpg",
        "annotations/old/a.json",
        "readme.txt",
        ".x/3.jpg",
        "._4.jpg",
    )
    summary = ingested(made(tmp_path / "set", *names), tmp_path / "m.parquet")
    assert summary.images == 2
    assert "folders left aside: annotations" in summary.notes
    assert "2 files that are no images left aside: .json 1, .txt 1" in summary.notes
    assert "1 folders of file systems, or hidden ones, left aside: .x 1" in summary.notes
    assert "1 hidden images left aside, such as ._4.jpg" in summary.notes


@pytest.mark.parametrize("pattern", [None, r"(?P<identity>\d)"])
def test_an_image_beside_splits_does_not_hide_them(tmp_path: Path, pattern: str | None) -> None:
    folder = made(tmp_path / "set", "train/a/1.jpg", "test/b/2.jpg", "sample7.jpg")
    with pytest.raises(InputError, match=r"the splits test, train and beside them 1 images, such as sample7"):
        ingested(folder, tmp_path / "m.parquet", label_regex=pattern)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("eval", "is no NAME=SPLIT"),
        ("eval=test,eval=val", "second of its name"),
        ("Eval=test", "has no folder 'Eval' of --split-map; it has eval, extras, train"),
    ],
)
def test_a_wrong_split_map_is_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        ingested(made(tmp_path / "set", *SPLITS), tmp_path / "m.parquet", split_map=text)
    assert parse_split_map("a=Validation") == {"a": "val"}


def test_a_folder_may_be_a_split_of_the_projects_own_as_in_tables(tmp_path: Path) -> None:
    summary = ingested(
        made(tmp_path / "set", *SPLITS), tmp_path / "m.parquet", split_map="eval=fold,extras=Skip"
    )
    assert read(tmp_path / "m.parquet") == {("ann", "train"), ("bob", "train"), ("cid", "fold")}
    assert any(
        note.startswith("no stage uses the split fold, unless data.train_splits") for note in summary.notes
    )


CAMERAS = ("ann/cam1/1.jpg", "ann/cam2/1.jpg", "bob/cam1/1.jpg", "bob/cam2/1.jpg")


def test_cameras_are_no_identities(tmp_path: Path) -> None:
    folder, out = made(tmp_path / "set", *CAMERAS), tmp_path / "m.parquet"
    with pytest.raises(InputError, match=r"ann/cam1 and bob/cam1 have one name.*--identity-level 1 for bob, 2 for cam1"):  # fmt: skip
        ingested(folder, out)
    for level, names in {
        "1": "ann bob",
        "2": "cam1 cam2",
        "1,2": "ann/cam1 ann/cam2 bob/cam1 bob/cam2",
    }.items():
        summary = ingested(folder, out, identity_level=level, test_fraction=0)
        assert {name for name, _ in read(out)} == {*names.split()}
        assert summary.reading.startswith(
            f"identity: folders of level{'s' * ('and' in summary.reading)} {level[0]}"
        )
    below_splits = made(tmp_path / "split", *(f"train/{name}" for name in CAMERAS), "test/cid/cam1/1.jpg")
    ingested(below_splits, out, identity_level="1")
    assert read(out) == {("ann", "train"), ("bob", "train"), ("cid", "test")}


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (("ann/1.jpg", "ann/old/2.jpg", "bob/1.jpg"), "ann holds images, and so does ann/old"),
        (("faces/train/1.jpg", "cars/x/2.jpg"), "faces/train is called as a split"),
    ],
)
def test_levels_that_are_mixed_are_refused(tmp_path: Path, names: tuple[str, ...], complaint: str) -> None:
    folder = made(tmp_path / "set", *names)
    with pytest.raises(InputError, match=complaint):
        ingested(folder, tmp_path / "m.parquet")
    assert ingested(folder, tmp_path / "m.parquet", identity_level="1", redraw_splits=True).identities == 2


@pytest.mark.parametrize(
    ("names", "nested", "options"),
    [
        (("faces/train/1.jpg", "cars/test/2.jpg"), "cars/test|faces/train", {"identity_level": "1"}),
        (("train/ann/test/1.jpg", "val/bob/2.jpg"), "train/ann/test", {"identity_level": "1"}),
        (
            ("a/train/7_1.jpg", "b/test/8_2.jpg"),
            "a/train|b/test",
            {"label_regex": r"^(?P<identity>\d)"},
        ),
    ],
)
def test_a_split_inside_counts_whoever_says_whose_images_are(
    tmp_path: Path, names: tuple[str, ...], nested: str, options: dict[str, str]
) -> None:
    folder, out = made(tmp_path / "s", *names), tmp_path / "m.parquet"
    with pytest.raises(InputError, match=f"({nested}) is called as a split, and would count for nothing"):
        ingested(folder, out, **options)
    assert ingested(folder, out, **options, redraw_splits=True).identities == 2


def test_a_level_that_names_identities_may_be_called_as_a_split(tmp_path: Path) -> None:
    folder = made(tmp_path / "set", "a/query/1.jpg", "b/val/2.jpg")
    for level in ("2", "all"):
        assert ingested(folder, tmp_path / "m.parquet", identity_level=level).identities == 2
    by_path = made(tmp_path / "by_path", "set/train/7_1.jpg", "set/test/8_2.jpg")
    pattern = r"(?P<split>train|test)/(?P<identity>\d)"
    ingested(by_path, tmp_path / "m.parquet", label_regex=pattern)
    assert read(tmp_path / "m.parquet") == {("7", "train"), ("8", "test")}


@pytest.mark.parametrize(
    ("names", "called"),
    [
        (("vgg/train/ann/1.jpg", "vgg/test/bob/2.jpg", "casia/cid/3.jpg"), "vgg/test"),
        (("a/b/train/ann/1.jpg", "a/b/eval/bob/2.jpg", "c/d/e/cid/3.jpg"), "a/b/train"),
        (("train/ann/1.jpg", "train/test/bob/2.jpg"), "test"),
    ],
)
def test_splits_below_the_first_level_are_no_identities(
    tmp_path: Path, names: tuple[str, ...], called: str
) -> None:
    with pytest.raises(InputError, match=f": {called} is called as a split; .*, all for "):
        ingested(made(tmp_path / "set", *names), tmp_path / "m.parquet")


def test_the_folders_around_splits_are_entered(tmp_path: Path) -> None:
    folder, out = made(tmp_path / "outer", *(f"set/{name}" for name in SPLITS)), tmp_path / "m.parquet"
    with pytest.raises(InputError, match=r"outer/set has the splits train and other folders, eval, extras"):
        ingested(folder, out)
    ingested(folder, out, split_map="eval=test,extras=skip")
    assert read(out) == {("ann", "train"), ("bob", "train"), ("cid", "test")}
    deeper = made(tmp_path / "deeper", "wrap/data/train/ann/1.jpg", "wrap/data/test/bob/2.jpg")
    assert any(note.startswith("wrap/data is all that the folder") for note in ingested(deeper, out).notes)
    assert read(out) == {("ann", "train"), ("bob", "test")}


def test_the_whole_path_is_the_identity_where_depths_differ(tmp_path: Path) -> None:
    folder, out = made(tmp_path / "set", "a/1.jpg", "a/ann/2.jpg", "b/x/bob/3.jpg"), tmp_path / "m.parquet"
    with pytest.raises(InputError, match="--identity-level 1 for a, 2 for ann, all for a/ann"):
        ingested(folder, out)
    ingested(folder, out, identity_level="all", test_fraction=0)
    assert {name for name, _ in read(out)} == {"a", "a/ann", "b/x/bob"}
    with pytest.raises(InputError, match="--identity-level all and the group identity of --label-regex both"):
        ingested(folder, out, identity_level="all", label_regex=r"(?P<identity>\d)")


def test_paths_without_a_second_reading_are_said(tmp_path: Path) -> None:
    folder = made(tmp_path / "set", "a/ann/1.jpg", "a/abe/1.jpg", "b/bob/1.jpg")
    summary = ingested(folder, tmp_path / "m.parquet")
    assert summary.identities == 3
    assert summary.reading.startswith("identity: folders of levels 1 and 2; ")
    assert any("3 identities are paths such as" in note and "--identity-level 1 reads 2" in note for note in summary.notes)  # fmt: skip


@pytest.mark.parametrize("level", ["0", "x", "1,1", "-1"])
def test_a_wrong_level_is_one_line(level: str) -> None:
    with pytest.raises(InputError, match="--identity-level"):
        identity_levels(level)


def test_a_level_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lies in 2 folders, and --identity-level 3 names a deeper one"):
        ingested(made(tmp_path / "set", *CAMERAS), tmp_path / "m.parquet", identity_level="3")


def test_market_as_it_is_downloaded(tmp_path: Path) -> None:
    root = "Market-1501-v15.09.15"
    names = [
        "bounding_box_train/0002_c1s1_1.jpg",
        "bounding_box_train/0007_c1s1_1.jpg",
        "query/0001_c1s1_1.jpg",
    ]
    names += ["bounding_box_test/0001_c2s1_1.jpg", "gt_bbox/0001_c1s1_9.jpg", "gt_query/0001_c1s1_1_good.mat"]
    folder = made(tmp_path / "zip", *(f"{root}/{name}" for name in names), "__MACOSX/x/._1.jpg")
    with pytest.raises(InputError, match=r"has no identity; .*as for Market-1501"):
        ingested(folder, tmp_path / "m.parquet")
    summary = ingested(folder, tmp_path / "m.parquet", label_regex=r"^(?P<identity>-?\d+)_c(?P<group>\d+)")
    assert read(tmp_path / "m.parquet") == {("0001", "test"), ("0002", "train"), ("0007", "train")}
    assert summary.images == 4
    assert f"{root} is all that the folder holds: its folders are read as the first level" in summary.notes
    assert "folders left aside: gt_bbox, gt_query" in summary.notes


def test_folders_of_file_systems_are_no_identities(tmp_path: Path) -> None:
    junk = ("@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN", "System Volume Information", ".thumbnails")
    names = [*(f"{one}/1.jpg" for one in junk), "ann/@eaDir/1.jpg", "ann/.ipynb_checkpoints/1.jpg"]
    folder = made(tmp_path / "set", "ann/1.jpg", "ann/Thumbs.db", "bob/1.JPG", *names)
    summary = ingested(folder, tmp_path / "m.parquet")
    assert (summary.images, summary.identities) == (2, 2)
    assert any(note.startswith("8 folders of file systems, or hidden ones, left aside: @eaDir 2") for note in summary.notes)  # fmt: skip
    assert "1 files that are no images left aside: .db 1" in summary.notes
    splits = made(tmp_path / "splits", "train/ann/1.jpg", "test/bob/1.jpg", "lost+found/1.jpg")
    ingested(splits, tmp_path / "m.parquet")
    assert read(tmp_path / "m.parquet") == {("ann", "train"), ("bob", "test")}


def test_heic_is_read_where_it_can_be_and_said_where_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    def with_heif() -> bool:
        Image.register_extensions("PNG", [".heic"])  # as pillow_heif adds its own
        return True

    assert not_decoded(Counter({".heic": 2, ".txt": 1})) == [] or ".heic" not in image_suffixes()
    image_suffixes.cache_clear()
    monkeypatch.setattr(images, "heif_is_known", with_heif)
    try:
        assert {".heic", ".JFIF".lower(), ".jp2", ".ppm", ".pgm", ".pbm"} <= {*image_suffixes()}
        assert not_decoded(Counter({".heic": 2})) == []
    finally:
        Image.EXTENSION.pop(".heic")
        image_suffixes.cache_clear()


def test_what_pillow_was_built_without_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import features

    image_suffixes.cache_clear()
    monkeypatch.setattr(features, "check", lambda name: name != "jpg_2000")
    monkeypatch.setattr(images, "heif_is_known", lambda: False)
    try:
        assert not_decoded(Counter({".jp2": 2, ".heic": 3, ".jpg": 1})) == [
            "3 HEIC images left aside: pip install pillow-heif, and ingest again",
            "2 images left aside (.jp2): this Pillow was built without their decoder",
        ]
    finally:
        image_suffixes.cache_clear()
