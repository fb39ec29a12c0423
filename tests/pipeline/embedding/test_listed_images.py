"""Lists of images, of every kind of source that may say no identities.

Covers pipeline/embedding/kept_images.py, too.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from subspace.mining import InputError, Manifest
from subspace.mining.parquet_tables import write_parquet
from subspace.mining.schemas import MANIFEST
from subspace.pipeline.embedding.listed_images import ListedImages, list_images
from subspace.pipeline.searching.embedded_images import store_of
from subspace.train import ImageStore


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (number, 0, 0)).save(file, "PNG")
    return file.getvalue()


def reds(listed: ListedImages) -> list[int]:
    """The red of every image of a list, as training reads it."""
    store = ImageStore(Manifest(listed.path, None, listed.fingerprint))
    return [int(np.asarray(store.decode(row, 4))[0, 0, 0]) for row in range(listed.rows)]


def names(listed: ListedImages) -> list[str]:
    return pq.read_table(listed.path)["name"].to_pylist()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number, name in enumerate(("b/2.png", "a/1.png", "a/0.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(number))
    return folder


def test_a_table_keeps_its_order_with_and_without_identities(photos: Path, tmp_path: Path) -> None:
    listed = []
    for head in ("path,label", "path,note"):
        (photos / "list.csv").write_text(f"{head}\nb/2.png,x\na/1.png,y\nb/2.png,x\n")
        listed.append(list_images([photos / "list.csv"], tmp_path / "l" / "images.parquet"))
        assert reds(listed[-1]) == [0, 1, 0]
        assert names(listed[-1]) == [str(photos / name) for name in ("b/2.png", "a/1.png", "b/2.png")]
    assert [one.columns for one in listed] == [("identity",), ()]
    assert "embedded without identities" in " ".join(listed[1].notes)


def test_levels_that_can_be_read_in_two_ways_are_no_identities(photos: Path, tmp_path: Path) -> None:
    (photos / "c.png").write_bytes(png(9))
    listed = list_images([photos], tmp_path / "images.parquet")
    assert listed.notes[-1] == (
        f"embedded without identities: {photos}/c.png has no identity; to have them, `subspace ingest` first and embed the "
        "manifest"
    )
    assert listed.columns == ()
    assert names(listed) == [str(photos / name) for name in ("a/0.png", "a/1.png", "b/2.png", "c.png")]


def test_images_inside_tables_are_read_from_a_file(tmp_path: Path) -> None:
    inside = [png(5), None, png(6)]
    pq.write_table(pa.table({"image": inside, "label": ["x", "y", "z"]}), tmp_path / "t.parquet")
    listed = list_images([tmp_path / "t.parquet"], tmp_path / "l" / "images.parquet")
    assert names(listed) == [f"{tmp_path / 't.parquet'}#{row}" for row in range(3)]
    store = ImageStore(Manifest(listed.path, None, listed.fingerprint))
    assert np.asarray(store.decode(2, 4))[0, 0, 0] == 6
    assert (tmp_path / "l" / "images.bin").read_bytes() == png(5) + png(6)
    assert "image" not in Manifest(listed.path, None, "").columns


def test_members_of_tars_and_arrays_without_labels(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        for number in (3, 4):
            member = tarfile.TarInfo(f"{number}.png")
            member.size = len(png(number))
            tar.addfile(member, io.BytesIO(png(number)))
    listed = list_images([tmp_path / "t.tar"], tmp_path / "images.parquet")
    assert reds(listed) == [3, 4]
    assert names(listed)[0] == f"{tmp_path / 't.tar'}#512+{len(png(3))}"
    np.save(tmp_path / "a.npy", np.full((2, 4, 4, 3), 7, np.uint8))
    listed = list_images([tmp_path / "a.npy"], tmp_path / "images.parquet")
    assert (reds(listed), names(listed), listed.columns) == ([7, 7], ["a.npy[0]", "a.npy[1]"], ())


def test_manifests_leave_out_what_they_do_not_keep(small_manifest: Path, tmp_path: Path) -> None:
    table = pq.read_table(small_manifest)
    keep = np.arange(len(table)) % 3 > 0
    index = table.schema.get_field_index("keep")
    table = table.set_column(index, "keep", pa.array(keep))
    write_parquet(tmp_path / "m.parquet", MANIFEST, table, "f")
    listed = list_images([tmp_path / "m.parquet"], tmp_path / "l" / "images.parquet")
    assert listed.rows == keep.sum()
    assert any("does not keep" in note for note in listed.notes)
    some = list_images([tmp_path / "m.parquet"], tmp_path / "v" / "images.parquet", ["val"])
    assert some.rows == (keep & (np.array(table["split"].to_pylist()) == "val")).sum()
    with pytest.raises(InputError, match="nothing in split tset; it has pretrain, test, train, val"):
        list_images([tmp_path / "m.parquet"], tmp_path / "l" / "images.parquet", ["tset"])
    opened = Manifest.open(tmp_path / "m.parquet")
    theirs, ours = ImageStore(opened), ImageStore(Manifest(listed.path, None, ""))
    first = int(np.flatnonzero(keep)[5])
    assert np.array_equal(np.asarray(theirs.decode(first, 8)), np.asarray(ours.decode(5, 8)))


def test_the_fingerprint_follows_the_images(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "images.parquet"
    one, again = list_images([photos], out), list_images([photos], out)
    assert one.fingerprint == again.fingerprint == ListedImages.open(out).fingerprint
    (photos / "a" / "0.png").write_bytes(png(2) + b"more")
    assert list_images([photos], out).fingerprint != one.fingerprint


def test_the_fingerprint_follows_the_bytes_of_images_inside_tables(tmp_path: Path) -> None:
    """And neither the place of the file that they are put into, nor whether one is there."""
    table, listed = tmp_path / "t.parquet", []
    for folder, reds_inside in (("one", (5, 6)), ("one", (5, 6)), ("two", (5, 6)), ("one", (5, 7))):
        pq.write_table(pa.table({"image": [*map(png, reds_inside)], "label": ["x", "y"]}), table)
        listed.append(list_images([table], tmp_path / folder / "images.parquet"))
    first, *same, other = [one.fingerprint for one in listed]
    assert same == [first, first]
    assert other != first
    (tmp_path / "two").rename(tmp_path / "moved")
    assert reds(ListedImages.open(tmp_path / "moved" / "images.parquet")) == [5, 6]


def test_a_name_that_is_not_utf_8_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not UTF-8; rename the file or folder"):
        store_of([tmp_path / "\udcff.png"])
    (tmp_path / "\udcff.png").write_bytes(png(1))
    with pytest.raises(InputError, match="is not UTF-8; rename the file or folder"):
        list_images([tmp_path / "\udcff.png"], tmp_path / "list.parquet")


def test_files_whose_names_half_say_splits_are_embedded_with_their_identities(
    photos: Path, tmp_path: Path
) -> None:
    """`ingest` refuses them with an option that `embed` does not have."""
    for name, image in (("lfw_train.csv", "a/0.png"), ("lfw_test.csv", "b/2.png")):
        (tmp_path / name).write_text(f"path,label\n{photos / image},ann\n")
    listed = list_images([tmp_path / "lfw_train.csv", tmp_path / "lfw_test.csv"], tmp_path / "list.parquet")
    assert reds(listed) == [2, 0]  # in the order of their names
    assert pq.read_table(listed.path)["identity"].to_pylist() == ["ann", "ann"]
    assert any("embedded without splits: the names of the sources" in note for note in listed.notes)
    assert "--" not in " ".join(listed.notes)
