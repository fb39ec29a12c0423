"""Files of embeddings: what goes in comes out, in any blocks; what cannot be embeddings ends in one line.

Covers mining/embedding_files.py, too.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subspace.mining import EmbeddingTable, InputError, embedding_writer
from subspace.mining.parquet_tables import metadata_of, open_parquet
from subspace.mining.schemas import EMBEDDINGS, IMAGE_EMBEDDINGS, kind_of

UNIT = np.eye(3, 4, dtype=np.float32)
IMAGES = ["a.jpg", "b.jpg", "c.tar#512+900"]


def written(path: Path, embeddings: np.ndarray = UNIT, **options: Any) -> EmbeddingTable:
    with embedding_writer(path, embeddings.shape[1], **{"normalized": False, **options}) as writer:
        writer.write(embeddings, {"image": [f"{row}.jpg" for row in range(len(embeddings))]})
    return EmbeddingTable.open(path)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.sampled_from([None, "ann", "bob", "名"]), min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    dtype=st.sampled_from(["float32", "float16"]),
    suffix=st.sampled_from([".parquet", ".npy"]),
    block=st.integers(1, 31),
)
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[str | None],
    cuts: list[int],
    dtype: Any,
    suffix: str,
    block: int,
) -> None:
    path = tmp_path_factory.mktemp("table") / f"e{suffix}"
    embeddings = np.random.default_rng(len(rows)).normal(size=(len(rows), 3)).astype(dtype)
    images = [f"folder/{row}.jpg" for row in range(len(rows))]
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    with embedding_writer(
        path,
        3,
        dtype=dtype,
        columns=["identity", "is_query"],
        network="n1",
        normalized=False,
        fingerprint="f",
    ) as writer:
        for start, stop in pairwise(edges):
            some = {
                "image": images[start:stop],
                "identity": rows[start:stop],
                "is_query": [True] * (stop - start),
            }
            writer.write(embeddings[start:stop], some)
    table = EmbeddingTable.open(path)
    assert (table.rows, table.dimensions, table.network, table.normalized) == (len(rows), 3, "n1", False)
    assert np.array_equal(table.read(), embeddings.astype(np.float32))
    blocks = list(table.blocks(block))
    assert [len(b) for b in blocks[:-1]] == [block] * (len(blocks) - 1)
    assert np.array_equal(np.concatenate(blocks), table.read())
    assert {b.dtype for b in blocks} == {np.dtype(np.float32)}
    image, query = table.column("image"), table.column("is_query")
    assert image is not None
    assert query is not None
    assert image.to_pylist() == images
    assert query.to_pylist() == [True] * len(rows)
    assert table.column("group") is None
    code, names = table.identity_id()
    assert [names[c] if c >= 0 else None for c in code] == rows
    assert len(set(names)) == len(names)


def test_the_file_does_not_depend_on_the_blocks_that_it_came_in(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(3000, 4))
    images = [str(row) for row in range(3000)]
    for name, step in (("one", 3000), ("many", 77)):
        with embedding_writer(tmp_path / f"{name}.parquet", 4, normalized=False) as writer:
            for start in range(0, 3000, step):
                writer.write(rows[start : start + step], {"image": images[start : start + step]})
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "many.parquet").read_bytes()


def test_row_groups_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subspace.mining.embedding_files.GROUP_BYTES", 1024 * 16)
    table = written(tmp_path / "e.parquet", np.ones((2500, 4), np.float32))
    file = open_parquet(table.path)
    assert [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)] == [1024, 1024, 452]
    assert [len(block) for block in table.blocks(1000)] == [1000, 1000, 500]


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    table = written(tmp_path / "e.parquet", UNIT, network="n2", normalized=True, fingerprint="f1")
    file = open_parquet(table.path)
    held = metadata_of(file)
    assert held | {"created_by": ""} == {
        "schema_version": "1", "kind": "image_embeddings", "fingerprint": "f1", "created_by": "", "network": "n2", "normalized": "true",
    }  # fmt: skip
    assert kind_of(file.schema_arrow) is IMAGE_EMBEDDINGS
    assert file.schema_arrow.field("embedding").type == pa.list_(pa.float32(), 4)


@pytest.mark.parametrize("numbers", [pa.float16(), pa.float32(), pa.float64()])
def test_lists_of_another_program_are_read(tmp_path: Path, numbers: pa.DataType) -> None:
    vectors = pa.array([[1.0, 2.0], [3.0, 4.0], [0.5, 0.0]]).cast(pa.list_(numbers))
    pq.write_table(
        pa.table({"embedding": vectors, "image": IMAGES}), tmp_path / "e.parquet", row_group_size=2
    )
    table = EmbeddingTable.open(tmp_path / "e.parquet")
    assert (table.rows, table.dimensions, table.network, table.normalized) == (3, 2, None, None)
    assert table.read().tolist() == [[1, 2], [3, 4], [0.5, 0]]
    assert table.identity_id()[0].tolist() == [-1] * 3


def test_a_foreign_npy_has_rows_only(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.asfortranarray(np.arange(1.0, 7).reshape(3, 2)))
    table = EmbeddingTable.open(tmp_path / "e.npy")
    assert (table.rows, table.dimensions, table.network, table.normalized) == (3, 2, None, None)
    assert table.read().tolist() == [[1, 2], [3, 4], [5, 6]]
    assert table.column("image") is None


def fixed(rows: list[Any], numbers: pa.DataType) -> pa.Array:
    return pa.array(rows, pa.list_(numbers, 2))


REFUSED = {
    "nan": (fixed([[1, 0], [np.nan, 1], [0, 1]], pa.float32()), "NaN or an infinite number.* (row 1)"),
    "null in a vector": (fixed([[1, 0], [0, 1], [None, 1]], pa.float32()), "NaN or an infinite number.* (row 2)"),
    "null": (fixed([[1, 0], None, [0, 1]], pa.float32()), "empty value in column 'embedding' (row 1)"),
    "zero": (fixed([[1, 0], [0, 0], [0, 1]], pa.float16()), "length 0, which has no direction.* (row 1)"),
    "ragged": (pa.array([[1.0, 0.0], [1.0], [0.0, 1.0]]), "vectors of 2 and of 1 numbers.* (row 1)"),
    "no numbers": (pa.array([[], [], []], pa.list_(pa.float32())), "no embeddings"),
    "integers": (pa.array([[1], [2], [3]], pa.list_(pa.int32(), 1)), "column 'embedding' of fixed_size_list"),
    "text": (pa.array(["a", "b", "c"]), "column 'embedding' of string"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_embedding_ends_in_one_line(tmp_path: Path, case: str) -> None:
    vectors, message = REFUSED[case]
    pq.write_table(pa.table({"image": IMAGES, "embedding": vectors}), tmp_path / "e.parquet")
    pattern = message.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(InputError, match=pattern) as refused:
        EmbeddingTable.open(tmp_path / "e.parquet").read()
    assert "\n" not in str(refused.value)
    assert "e.parquet" in str(refused.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((0, 4), np.float32), "holds no embeddings"),
        (np.zeros((4, 0), np.float32), "holds no embeddings"),
        (np.ones(4, np.float32), r"holds float32\[4\]"),
        (np.ones((2, 2), np.int64), "holds int64"),
        (np.array([[object()]]), "not a readable .npy file"),
        (np.array([[1, 0], [0, np.inf]]), r"NaN or an infinite number.*\(row 1\)"),
    ],
)
def test_a_npy_of_something_else_ends_in_one_line(tmp_path: Path, rows: np.ndarray, message: str) -> None:
    np.save(tmp_path / "e.npy", rows)
    with pytest.raises(InputError, match=message):
        EmbeddingTable.open(tmp_path / "e.npy").read()


def test_damaged_and_missing_files_end_in_one_line(tmp_path: Path) -> None:
    for suffix in ("parquet", "npy"):
        path = written(tmp_path / f"e.{suffix}").path
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(InputError, match="truncated"):
            EmbeddingTable.open(path)
        path.unlink()
        with pytest.raises(InputError, match="does not exist"):
            EmbeddingTable.open(path)
    pq.write_table(pa.table({"image": pa.array([], pa.string()), "embedding": fixed([], pa.float32())}), path)
    with pytest.raises(InputError, match="readable"):
        EmbeddingTable.open(path)
    empty = path.rename(tmp_path / "empty.parquet")
    with pytest.raises(InputError, match="holds no embeddings"):
        EmbeddingTable.open(empty)


def test_embeddings_of_a_run_are_told_apart(tmp_path: Path) -> None:
    table = pa.table(
        {
            "image_id": [1],
            "identity_id": pa.array([0], pa.int32()),
            "embedding": fixed([[1, 0]], pa.float16()),
        }
    )
    assert kind_of(table.schema) is EMBEDDINGS
    pq.write_table(table, tmp_path / "e.parquet")
    with pytest.raises(InputError, match="no column 'image'"):
        EmbeddingTable.open(tmp_path / "e.parquet")


def test_rows_of_another_writing_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "e.npy").path
    np.save(path, UNIT[:2])
    with pytest.raises(InputError, match="not of one writing"):
        EmbeddingTable.open(path)


def test_vectors_that_are_said_to_be_units_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"length 2, not 1.*\(row 0\)"):
        written(tmp_path / "e.parquet", UNIT * 2, normalized=True)
    assert not list(tmp_path.iterdir())
    schema = pa.schema(
        [("image", pa.string()), ("embedding", pa.list_(pa.float32(), 2))], {"normalized": "true"}
    )
    pq.write_table(
        pa.table([IMAGES, fixed([[1, 0], [0, 1], [3, 0]], pa.float32())], schema=schema),
        tmp_path / "e.parquet",
    )
    with pytest.raises(InputError, match=r"length 3, not 1.*\(row 2\)"):
        EmbeddingTable.open(tmp_path / "e.parquet").read()


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    wrong = {"float16 holds numbers up to 65,504": UNIT * 1e5, "NaN": UNIT * np.nan, "length 0": UNIT * 0}
    for suffix in ("parquet", "npy"):
        for message, embeddings in wrong.items():
            with pytest.raises(InputError, match=message):
                written(tmp_path / f"e.{suffix}", embeddings, dtype="float16")
    assert not list(tmp_path.iterdir())


def test_an_empty_name_is_nobodys(tmp_path: Path) -> None:
    rows = {"image": list("abcd"), "identity": ["x", "", "y", ""]}
    with embedding_writer(tmp_path / "rows.parquet", 4, columns=["identity"], normalized=True) as writer:
        writer.write(np.eye(4), rows)
    code, names = EmbeddingTable.open(tmp_path / "rows.parquet").identity_id()
    assert (code.tolist(), names) == ([0, -1, 1, -1], ["x", "y"])


def test_a_kill_as_a_file_is_made_again_leaves_no_old_embeddings_beside_new_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows go into place first, so that they would have been taken for those of the old .npy."""
    path = tmp_path / "e.npy"
    written(path, UNIT, network="old", fingerprint="f1")
    replace = os.replace

    def killed(source: Any, target: Any, **how: Any) -> None:
        if str(target) == str(path):
            raise KeyboardInterrupt
        replace(source, target, **how)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        written(path, UNIT[::-1].copy(), network="new", fingerprint="f2")
    assert not path.exists()


def test_numbers_of_the_other_byte_order_are_refused_in_a_line(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", UNIT.astype(UNIT.dtype.newbyteorder()))
    with pytest.raises(InputError, match="the other byte order"):
        EmbeddingTable.open(tmp_path / "e.npy")
