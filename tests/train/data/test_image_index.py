"""The image index says of every image what the manifest says, and needs none of it in memory."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from subspace.mining import InputError, Manifest
from subspace.mining.parquet_tables import parquet_writer
from subspace.mining.schemas import MANIFEST
from subspace.train.data.image_index import IndexedImages, training_images, write_image_index
from subspace.train.data.images import BadImage, ImageStore

ROWS = 500


def manifest_of(
    folder: Path, fingerprint: str = "f", shift: int = 0, rows: int = ROWS, **more: pa.Array
) -> Manifest:
    """Images in packs and in files of their own, with every kind of null, in several row groups."""
    random = np.random.default_rng(0)
    content = random.integers(0, 256, 4000, np.uint8).tobytes()
    for name in ("a.pack", "ü b.pack"):
        (folder / name).write_bytes(content)
    uris = ["a.pack", "ü b.pack", (folder / "a.pack").as_uri(), "missing.png", None, ""]
    uri = [uris[i] for i in random.integers(len(uris), size=rows)]
    offset = [None if i % 7 == 0 else int(i) + shift for i in random.integers(0, 3900, rows)]
    length = [None if i % 5 == 0 else int(i) for i in random.integers(0, 1500, rows)]
    table = pa.table(
        {
            "identity": pa.array([f"{i // 2:05d}" for i in range(rows)]),
            "identity_id": pa.array(np.arange(rows, dtype=np.int32) // 2),
            "uri": pa.array(uri, pa.string()).dictionary_encode(),
            "offset": pa.array(offset, pa.int64()),
            "length": pa.array(length, pa.int64()),
            "split": pa.array(["train"] * rows).dictionary_encode(),
            "keep": pa.array([True] * rows),
            **more,
        }
    )
    path = folder / "manifest.parquet"
    with parquet_writer(path, MANIFEST, table.schema, fingerprint) as writer:
        for start in range(0, rows, 64):
            rest = table.slice(start, 64)
            writer.write_table(rest.set_column(2, "uri", rest["uri"].cast(pa.string()).dictionary_encode()))
    return Manifest.open(path)


def found(store: ImageStore, image_id: int) -> bytes | str:
    try:
        return store.read(image_id)
    except OSError as error:
        return str(error)


def test_every_image_reads_as_through_the_manifest(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    indexed = training_images(manifest, tmp_path / "images.index")
    assert isinstance(indexed, IndexedImages)
    assert "table" not in vars(manifest)  # nothing of it was read into memory
    plain = ImageStore(manifest)
    expected = [found(plain, image_id) for image_id in range(ROWS)]
    assert [found(indexed, image_id) for image_id in range(ROWS)] == expected
    assert sum(isinstance(one, bytes) for one in expected) > 100
    assert sum("ends before byte" in one for one in expected if isinstance(one, str)) > 10
    assert sum("neither bytes nor a uri" in one for one in expected if isinstance(one, str)) > 10
    for outside in (-1, ROWS):
        with pytest.raises(IndexError):
            indexed.read(outside)


def test_workers_get_a_path_not_a_copy(tmp_path: Path) -> None:
    store = training_images(manifest_of(tmp_path), tmp_path / "images.index")
    assert len(pickle.dumps(store)) < 1000
    with ProcessPoolExecutor(2) as processes:
        assert list(processes.map(found, [store] * ROWS, range(ROWS), chunksize=20)) == [
            found(store, image_id) for image_id in range(ROWS)
        ]


def test_the_index_of_another_manifest_is_made_again(tmp_path: Path) -> None:
    index = tmp_path / "images.index"
    training_images(manifest_of(tmp_path, "one"), index)
    before = index.stat().st_mtime_ns
    training_images(manifest_of(tmp_path, "one"), index)
    assert index.stat().st_mtime_ns == before
    for damage in ("changed", "cut"):
        if damage == "cut":
            index.write_bytes(index.read_bytes()[:100])
        other = manifest_of(tmp_path, "two", shift=5)
        store, plain = training_images(other, index), ImageStore(other)
        assert [found(store, i) for i in range(ROWS)] == [found(plain, i) for i in range(ROWS)]


def test_inline_images_are_read_from_the_manifest(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, image=pa.array([b"image %d" % i for i in range(ROWS)]))
    store = training_images(manifest, tmp_path / "images.index")
    assert store.read(7) == b"image 7"
    assert not (tmp_path / "images.index").exists()


def test_a_damaged_manifest_is_the_users(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, rows=20_000)
    column = pq.ParquetFile(manifest.path).metadata.row_group(100).column(3)
    data = bytearray(manifest.path.read_bytes())
    assert column.path_in_schema == "offset"
    at = column.dictionary_page_offset or column.data_page_offset
    data[at + 40 : at + 60] = bytes(20)
    manifest.path.write_bytes(data)
    with pytest.raises(InputError, match="is damaged"):
        write_image_index(tmp_path / "images.index", manifest)
    assert list(tmp_path.glob("*.index*")) == list(tmp_path.glob(".*.tmp")) == []


def test_a_lost_index_makes_bad_images_not_wrong_ones(tmp_path: Path) -> None:
    index = tmp_path / "images.index"
    store = training_images(manifest_of(tmp_path), index)
    with open(index, "r+b") as file:
        file.truncate(128 + 32 * 3)
    assert isinstance(store.decode(ROWS - 1, 8), BadImage)
