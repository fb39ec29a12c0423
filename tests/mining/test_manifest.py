"""Grouping images by identity, against slow loops; and manifests that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.errors import InputError, StaleArtifactError
from subspace.mining.manifest import IdentityImages, Manifest, group_by_identity
from subspace.mining.parquet_tables import parquet_writer, write_parquet
from subspace.mining.schemas import BOX, MANIFEST, SCHEMA_VERSION

Groups = list[tuple[int, list[int]]]
"""Identity and its images, in order."""

images = st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30).map(sorted)
"""(identity, usable) of every image, sorted by identity."""


def slow_groups(rows: list[tuple[int, bool]]) -> Groups:
    groups: dict[int, list[int]] = {}
    for image, (identity, usable) in enumerate(rows):
        if usable:
            groups.setdefault(identity, []).append(image)
    return sorted(groups.items())


def as_groups(grouped: IdentityImages) -> Groups:
    return [
        (int(identity), grouped.image_id[grouped.offset[i] : grouped.offset[i + 1]].tolist())
        for i, identity in enumerate(grouped.identity_id)
    ]


def grouped(rows: list[tuple[int, bool]]) -> IdentityImages:
    identity = np.array([identity for identity, _ in rows], np.int32)
    return group_by_identity(identity, np.array([usable for _, usable in rows], bool))


def assert_well_formed(images: IdentityImages) -> None:
    assert (images.identity_id.dtype, images.offset.dtype, images.image_id.dtype) == (
        np.int32,
        np.int64,
        np.int64,
    )
    assert len(images.offset) == len(images) + 1
    assert (images.offset[0], images.offset[-1]) == (0, len(images.image_id))
    assert images.count.tolist() == [len(own) for _, own in as_groups(images)]


@given(images)
def test_identities_own_their_usable_images(rows: list[tuple[int, bool]]) -> None:
    found = grouped(rows)
    assert as_groups(found) == slow_groups(rows)
    assert_well_formed(found)


@given(images, st.integers(-12, 12), st.integers(0, 12))
def test_a_slice_of_identities_keeps_their_images(
    rows: list[tuple[int, bool]], start: int, length: int
) -> None:
    whole = grouped(rows)
    first = slice(start, None).indices(len(whole))[0]
    found = whole.rows(slice(start, first + length))
    assert as_groups(found) == slow_groups(rows)[first : first + length]
    assert_well_formed(found)


@given(images, st.data())
def test_masked_identities_keep_their_images(rows: list[tuple[int, bool]], data: st.DataObject) -> None:
    whole = grouped(rows)
    mask = data.draw(st.lists(st.booleans(), min_size=len(whole), max_size=len(whole)))
    found = whole.where(np.array(mask, bool))
    assert as_groups(found) == [group for group, kept in zip(slow_groups(rows), mask, strict=True) if kept]
    assert_well_formed(found)


@given(images, st.integers(1, 4), st.integers(0, 99))
def test_at_most_so_many_images_of_each_identity(rows: list[tuple[int, bool]], limit: int, seed: int) -> None:
    whole = grouped(rows)
    found = whole.at_most(limit, np.random.default_rng(seed))
    assert_well_formed(found)
    for (identity, images), (same, kept) in zip(slow_groups(rows), as_groups(found), strict=True):
        assert same == identity
        assert len(kept) == min(limit, len(images))
        assert set(kept) <= set(images)
        assert kept == sorted(kept)


def test_every_image_is_as_likely_to_be_one_of_so_many() -> None:
    whole = grouped([(0, True)] * 3 + [(1, True)] * 5)
    drawn = [whole.at_most(2, np.random.default_rng(seed)).image_id for seed in range(2000)]
    times = np.bincount(np.concatenate(drawn), minlength=8) / 2000
    np.testing.assert_allclose(times, [2 / 3] * 3 + [2 / 5] * 5, atol=0.05)


Row = tuple[str, str, bool, str | None]
"""Identity, split, keep, group."""

manifest_rows = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "zoë", "a b"]),
        st.sampled_from(["train", "val", "test"]),
        st.booleans(),
        st.sampled_from([None, "cam 1", "cam 2"]),
    ),
    min_size=1,
    max_size=20,
).map(lambda rows: sorted(rows, key=lambda row: row[0]))


def manifest_table(rows: list[Row], **changed: Any) -> pa.Table:
    names = sorted({row[0] for row in rows})
    columns = {
        "identity": pa.array([row[0] for row in rows]),
        "identity_id": pa.array([names.index(row[0]) for row in rows], pa.int32()),
        "uri": pa.array([f"{i}.png" for i in range(len(rows))]).dictionary_encode(),
        "offset": pa.nulls(len(rows), pa.int64()),
        "length": pa.nulls(len(rows), pa.int64()),
        "split": pa.array([row[1] for row in rows]).dictionary_encode(),
        "keep": pa.array([row[2] for row in rows]),
        "group": pa.array([row[3] for row in rows], pa.string()).dictionary_encode(),
    }
    columns |= changed
    return pa.table({name: column for name, column in columns.items() if column is not None})


def in_memory(rows: list[Row], **changed: Any) -> Manifest:
    return Manifest(Path("m.parquet"), manifest_table(rows, **changed), "f")


@given(manifest_rows, st.sets(st.sampled_from(["train", "val", "test", "unheard of"])), st.data())
def test_a_split_holds_its_kept_images(rows: list[Row], splits: set[str], data: st.DataObject) -> None:
    without = data.draw(st.none() | st.lists(st.integers(0, len(rows) - 1)))
    kept = [split in splits and keep for _, split, keep, _ in rows]
    manifest = in_memory(rows)
    assert manifest.in_splits(sorted(splits)).tolist() == kept
    assert manifest.splits == sorted({row[1] for row in rows})

    usable = [kept[i] and i not in (without or []) for i in range(len(rows))]
    names = sorted({row[0] for row in rows})
    expected = slow_groups([(names.index(row[0]), use) for row, use in zip(rows, usable, strict=True)])
    excluded = None if without is None else np.array(without, np.int64)
    assert as_groups(manifest.identities_in(list(splits), without=excluded)) == expected
    assert manifest.in_splits(sorted(splits)).tolist() == kept  # leaving images out was no lasting change


@given(manifest_rows, st.data())
def test_names_of_identities(rows: list[Row], data: st.DataObject) -> None:
    names = sorted({row[0] for row in rows})
    wanted = sorted(data.draw(st.sets(st.integers(0, len(names) - 1))))
    found = in_memory(rows).names_of(np.array(wanted, np.int32))
    assert found.type == pa.string()
    assert found.to_pylist() == [names[i] for i in wanted]


@given(manifest_rows)
def test_two_images_share_a_group_code_where_they_share_a_group(rows: list[Row]) -> None:
    code = in_memory(rows).groups()
    assert code is not None
    for i, first in enumerate(rows):
        assert (code[i] == -1) == (first[3] is None)
        for j, second in enumerate(rows):
            assert (code[i] == code[j]) == (first[3] == second[3])
    assert in_memory(rows, group=None).groups() is None


ROWS: list[Row] = [
    ("ann", "train", True, None),
    ("ann", "train", True, "cam 1"),
    ("bob", "train", False, None),
    ("bob", "test", True, "cam 1"),
]


def test_columns_may_be_cut_into_chunks_or_dictionaries() -> None:
    whole = in_memory(ROWS)
    pieces = [manifest_table(ROWS[i : i + 1], identity_id=pa.array([i // 2], pa.int32())) for i in range(4)]
    cut = Manifest(Path("m.parquet"), pa.concat_tables(pieces), "f")
    plain = in_memory(
        ROWS, split=pa.array([row[1] for row in ROWS]), identity=whole.table["identity"].dictionary_encode()
    )
    for manifest in (cut, plain):
        assert manifest.in_splits(["train"]).tolist() == [True, True, False, False]
        assert manifest.names_of(np.array([0, 1])).to_pylist() == ["ann", "bob"]
        assert as_groups(manifest.identities_in(["train", "test"])) == [(0, [0, 1]), (1, [3])]
        np.testing.assert_array_equal(manifest.groups(), whole.groups())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manifest.parquet"


def test_a_manifest_comes_back_from_disk(path: Path) -> None:
    write_parquet(path, MANIFEST, manifest_table(ROWS), "f" * 32)
    for spelling in (path, str(path)):
        manifest = Manifest.open(spelling)
        assert (len(manifest), manifest.path, manifest.fingerprint) == (4, path, "f" * 32)
        assert manifest.identity_id.tolist() == [0, 0, 1, 1]
        assert manifest.keep.tolist() == [True, True, False, True]


@given(manifest_rows, st.integers(1, 5), st.data())
def test_columns_are_read_alone_and_say_what_the_whole_does(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], together: int, data: st.DataObject
) -> None:
    path, table = tmp_path_factory.mktemp("m") / "manifest.parquet", manifest_table(rows)
    with parquet_writer(path, MANIFEST, table.schema, "f" * 32) as writer:
        for start in range(0, len(rows), together):
            writer.write_table(table.slice(start, together))
    opened, whole = Manifest.open(path), in_memory(rows)
    some = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1))), np.int64)
    assert opened.splits == whole.splits
    np.testing.assert_array_equal(opened.in_splits(["test", "val"]), whole.in_splits(["test", "val"]))
    np.testing.assert_array_equal(opened.groups(), whole.groups())
    np.testing.assert_array_equal(opened.files_of(some), whole.files_of(some))
    assert "table" not in vars(opened)


def test_a_file_is_opened_once_for_rows_of_many_row_groups(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = manifest_table([(letter, "train", True, None) for letter in "abcdefghijkl"])
    with parquet_writer(path, MANIFEST, table.schema, "f" * 32) as writer:
        for start in range(0, 12, 3):
            writer.write_table(table.slice(start, 3))
    manifest, opened, really = Manifest.open(path), [], pq.ParquetFile
    monkeypatch.setattr(pq, "ParquetFile", lambda *of, **how: opened.append(of) or really(*of, **how))
    rows = manifest.rows_of(np.array([11, 1, 0, 1, 9]), ["identity"])
    assert rows["identity"].to_pylist() == ["l", "b", "a", "b", "j"]
    assert len(opened) == 1


def test_group_codes_are_numbered_as_they_come() -> None:
    group = pa.DictionaryArray.from_arrays(pa.array([2, None, 0, 2]), ["cam 1", "unused", "cam 2"])
    assert in_memory(ROWS, group=group).groups().tolist() == [0, -1, 1, 0]


def test_unusable_manifests_are_told_in_one_line(path: Path) -> None:
    unsorted = manifest_table(ROWS, identity_id=pa.array([0, 1, 0, 1], pa.int32()))
    write_parquet(path, MANIFEST, manifest_table(ROWS), "f")
    truncated = path.read_bytes()[:-20]
    cases = [
        (unsorted, "is not sorted by identity (row 2); write it with `subspace ingest`"),
        (manifest_table(ROWS).slice(0, 0), "holds no images"),
        (manifest_table(ROWS).drop(["keep"]), "has no column 'keep'"),
        (manifest_table(ROWS, image=pa.array(["text"] * 4)), "column 'image' of string, not of binary"),
        (truncated, "is not a readable Parquet file"),
        (None, "does not exist"),
    ]
    for content, message in cases:
        path.unlink(missing_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content.replace_schema_metadata({"fingerprint": "f", "schema_version": "1"}), path)
        elif content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError) as error:
            Manifest.open(path)
        assert message in str(error.value)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_manifests_of_others_and_of_later_versions_are_refused(path: Path) -> None:
    pq.write_table(manifest_table(ROWS), path)
    with pytest.raises(StaleArtifactError, match="pass a foreign manifest through `subspace ingest`"):
        Manifest.open(path)
    later = {"fingerprint": "f", "schema_version": str(SCHEMA_VERSION + 1)}
    pq.write_table(manifest_table(ROWS).replace_schema_metadata(later), path)
    with pytest.raises(StaleArtifactError, match="schema version '2'"):
        Manifest.open(path)


@pytest.mark.parametrize(
    ("column", "values"),
    [("split", pa.array(["train", None, "train", "test"])), ("keep", pa.array([True, None, True, True]))],
)
def test_nulls_where_there_may_be_none_are_told_or_no_members(
    path: Path, column: str, values: pa.Array
) -> None:
    write_parquet(path, MANIFEST, manifest_table(ROWS, **{column: values}), "f")
    try:
        assert not Manifest.open(path).in_splits(["train"])[1]
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017  (refusing is as good as leaving the image out)


def test_images_are_one_file_where_uri_offset_and_length_are() -> None:
    places = [("a", None), ("b", None), ("a", None), ("a", 0), ("a", 8), ("a", 0), ("b", 8)]
    table = pa.table(
        {
            "uri": pa.array([uri for uri, _ in places]).dictionary_encode(),
            "offset": pa.array([offset for _, offset in places], pa.int64()),
            "length": pa.array([None if offset is None else 8 for _, offset in places], pa.int64()),
        }
    )
    some = np.array([6, 5, 4, 3, 2, 1, 0])
    number = Manifest(Path("m.parquet"), table, "0").files_of(some)
    for i in range(7):
        for j in range(7):
            assert (number[i] == number[j]) == (places[some[i]] == places[some[j]])


@pytest.mark.parametrize("inline", [False, True])
def test_boxes_of_one_photograph_are_two_images(inline: bool) -> None:
    sides = [(0, 0, 4, 4), (4, 0, 8, 4), (0, 0, 4, 4), None]
    columns = {
        name: pa.array([side and side[place] for side in sides], pa.int32()) for place, name in enumerate(BOX)
    }
    nothing = pa.nulls(4, pa.int64())
    uri = pa.array([None if inline else "p.jpg"] * 4, pa.string()).dictionary_encode()
    table = pa.table({"uri": uri, "offset": nothing, "length": nothing, **columns})
    if inline:
        table = table.append_column("image", pa.array([b"x"] * 4))
    number = Manifest(Path("m.parquet"), table, "0").files_of(np.arange(4))
    assert number[0] == number[2]
    assert len(set(number.tolist())) == 3


def test_of_inline_and_other_images_each_is_told_by_its_own() -> None:
    table = pa.table(
        {
            "uri": pa.array(["a", "b", None, "c", "a"]).dictionary_encode(),
            "offset": pa.nulls(5, pa.int64()),
            "length": pa.nulls(5, pa.int64()),
            "image": pa.array([None, None, b"x", b"x", None]),
        }
    )
    number = Manifest(Path("m.parquet"), table, "0").files_of(np.arange(5))
    assert (number[0] == number[4], number[2] == number[3]) == (True, True)
    assert len(set(number.tolist())) == 3


def test_inline_images_are_one_file_where_their_bytes_are() -> None:
    chunks = pa.chunked_array([[b"x", b"y"], [b"x"], [b"z", b"y"]])
    nothing = pa.nulls(5, pa.int64())
    table = pa.table({"uri": pa.nulls(5, pa.string()), "offset": nothing, "length": nothing, "image": chunks})
    number = Manifest(Path("m.parquet"), table, "0").files_of(np.arange(5))
    assert number[0] == number[2]
    assert number[1] == number[4]
    assert len(set(number.tolist())) == 3
