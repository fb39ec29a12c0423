"""Joined manifests hold all rows of each, whatever their order; who is in several is said, conflicts are refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import subspace
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subspace.mining.errors import InputError
from subspace.mining.parquet_tables import metadata_of, open_parquet, read_parquet, row_groups
from subspace.mining.schemas import MANIFEST
from subspace.pipeline.manifests import merge
from subspace.pipeline.manifests.merge import merge_manifests
from subspace.pipeline.sources.ingest import ingest_images
from subspace.pipeline.sources.options import IngestOptions

OPTIONS = IngestOptions(test_fraction=0, check_repeats="none")
PATIENT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)


def manifest(folder: Path, name: str, /, **columns: Any) -> Path:
    """A manifest of a table with those columns, and a `label`."""
    pq.write_table(pa.table(columns), folder / f"{name}.list.parquet")
    return ingest_images(folder / f"{name}.list.parquet", folder / f"{name}.parquet", OPTIONS).out


def pack(folder: Path, name: str, labels: str, **columns: Any) -> Path:
    """A manifest of a byte for each letter of `labels`, its identity, in a packed file."""
    (folder / f"{name}.bin").write_bytes(labels.encode())
    count = len(labels)
    uri = [f"{name}.bin"] * count
    return manifest(
        folder, name, label=list(labels), uri=uri, offset=range(count), length=[1] * count, **columns
    )


def rows_of(path: Path) -> list[dict[str, Any]]:
    return read_parquet(path, MANIFEST).to_pylist()


LABELS = st.text("abcdef", min_size=2, max_size=9).filter(lambda text: len(set(text)) > 1)


@PATIENT
@given(sets=st.lists(LABELS, min_size=2, max_size=4), data=st.data(), inline=st.booleans())
def test_merging_is_counting_rows(tmp_path: Path, sets: list[str], data: st.DataObject, inline: bool) -> None:
    paths = []
    for place, labels in enumerate(sets):
        if inline:
            images = [bytes([place, at]) for at in range(len(labels))]
            paths.append(manifest(tmp_path, f"m{place}", label=list(labels), image=images))
        else:
            paths.append(pack(tmp_path, f"m{place}", labels))
    out, again = tmp_path / "all.parquet", tmp_path / "again.parquet"
    summary = merge_manifests(paths, out, OPTIONS)
    merge_manifests(data.draw(st.permutations(paths)), again, OPTIONS)
    assert out.read_bytes() == again.read_bytes()

    def content(path: Path) -> Counter[Any]:
        columns = ("identity", "uri", "offset", "length", "split", "image")
        return Counter(tuple(row.get(name) for name in columns) for row in rows_of(path))

    assert content(out) == sum((content(path) for path in paths), Counter())
    owners = Counter(label for labels in sets for label in set(labels))
    shared = sum(count > 1 for count in owners.values())
    assert summary.identities == len(owners)
    assert any(note.startswith(f"{shared} identities are in several manifests") for note in summary.notes)
    found = [(row["identity"], row["identity_id"]) for row in rows_of(out)]
    assert found == sorted(found)
    assert sorted({number for _, number in found}) == list(range(len(owners)))

    apart = merge_manifests(paths, tmp_path / "apart.parquet", OPTIONS, prefix="stem")
    assert apart.identities == sum(owners.values())
    assert apart.images == summary.images

    steps = merge_manifests(paths[:2], tmp_path / "steps.parquet", OPTIONS)
    for path in paths[2:]:
        steps = merge_manifests([steps.out, path], tmp_path / f"{path.stem}.steps.parquet", OPTIONS)
    assert steps.out.read_bytes() == out.read_bytes()


def test_what_manifests_say_of_images_is_kept(tmp_path: Path) -> None:
    one = pack(
        tmp_path, "one", "ab", split=["train", "test"], camera=["1", "2"], is_query=[None, True], is_gallery=[None, False],
        x_1=[0, None], y_1=[0, None], x_2=[3, None], y_2=[4, None],
    )  # fmt: skip
    two = pack(tmp_path, "two", "bc", split=["test", "val"])
    table = pq.read_table(two)
    index = table.schema.get_field_index("keep")
    metadata = {"kind": "manifest", "schema_version": "1", "fingerprint": metadata_of(open_parquet(two))["fingerprint"]}  # fmt: skip
    dropped = table.set_column(index, "keep", pa.array([True, False])).replace_schema_metadata(metadata)
    pq.write_table(dropped, two)
    summary = merge_manifests([one, two], tmp_path / "m.parquet", OPTIONS, prefix="x, y")
    found = [
        (r["identity"], r["split"], r["keep"], r["group"], r["is_query"], r["is_gallery"], r["x_2"], r["y_2"])
        for r in rows_of(summary.out)
    ]
    assert found == [
        ("x/a", "train", True, "1", None, None, 3, 4),
        ("x/b", "test", True, "2", True, False, None, None),
        ("y/b", "test", True, None, None, None, None, None),
        ("y/c", "val", False, None, None, None, None, None),
    ]
    twice = merge_manifests([one, one], tmp_path / "twice.parquet", OPTIONS)
    assert (twice.images, rows_of(twice.out)) == (2, rows_of(one))
    assert "2 images left out: their rows repeat others in all that is known of them" in twice.notes
    again = merge_manifests([two, one], tmp_path / "again.parquet", OPTIONS, prefix="y,x")
    assert again.fingerprint == summary.fingerprint


def test_an_identity_that_is_trained_on_in_one_and_tested_in_another_is_refused(tmp_path: Path) -> None:
    one = pack(tmp_path, "one", "aab", split=["train"] * 3)
    two = pack(tmp_path, "two", "aac", split=["test", "test", "train"])
    with pytest.raises(InputError, match="identity 'a' is in a held-out split and in a training split"):
        merge_manifests([one, two], tmp_path / "m.parquet", OPTIONS)
    assert merge_manifests([one, two], tmp_path / "m.parquet", OPTIONS, prefix="stem").identities == 4
    redrawn = replace(OPTIONS, redraw_splits=True)
    assert [s.split for s in merge_manifests([one, two], tmp_path / "m.parquet", redrawn).splits] == ["train"]


def test_new_images_of_people_already_there_follow_their_splits(tmp_path: Path) -> None:
    """New images of a test person are in training where they were ingested alone, and the join was refused."""
    old = pack(tmp_path, "old", "aabbc", split=["train", "train", "test", "test", "pretrain"])
    more = pack(tmp_path, "more", "abbcde", split=["train"] * 5 + ["val"])
    last = pack(tmp_path, "last", "bde", split=["train", "test", "train"])
    before = pq.read_table(old)
    with pytest.raises(
        InputError, match=r"give it the split of the first manifest that has it \(--keep-splits\)"
    ):
        merge_manifests([old, more], tmp_path / "m.parquet", OPTIONS)
    summary = merge_manifests([old, more, last], tmp_path / "m.parquet", OPTIONS, keep_splits=True)
    found = {(row["identity"], row["split"]) for row in rows_of(summary.out)}
    assert found == {("a", "train"), ("b", "test"), ("c", "pretrain"), ("d", "train"), ("e", "val")}
    assert summary.images == 5 + 6 + 3
    # b and c of more; b, d and e of last
    assert any(note.startswith("5 identities follow an earlier manifest") for note in summary.notes)
    assert pq.read_table(old) == before
    for words in ({"prefix": "stem"}, {"options": replace(OPTIONS, redraw_splits=True)}):
        with pytest.raises(InputError, match="--keep-splits says nothing beside --"):
            merge_manifests(
                [old, more], tmp_path / "m.parquet", **{"options": OPTIONS, **words}, keep_splits=True
            )


def test_splits_are_kept_across_row_groups_and_images_stay_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "abcdefgh"
    one = manifest(
        tmp_path, "one", label=list(names[:6] * 2), image=[bytes([at]) for at in range(12)],
        split=["test" if name in "bdf" else "train" for name in names[:6] * 2],
    )  # fmt: skip
    two = manifest(tmp_path, "two", label=list(names), image=[bytes([99, at]) for at in range(8)])
    monkeypatch.setattr(merge, "row_groups", lambda path, *rest: _by_one(row_groups(path, *rest)))
    summary = merge_manifests([one, two], tmp_path / "m.parquet", OPTIONS, keep_splits=True)
    rows = rows_of(summary.out)
    assert {row["identity"] for row in rows if row["split"] == "test"} == set("bdf")
    assert Counter(row["image"] for row in rows) == Counter(
        row["image"] for path in (one, two) for row in rows_of(path)
    )
    assert any(note.startswith("3 identities follow") for note in summary.notes)


def _by_one(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Row groups of one row."""
    for table in tables:
        yield from (table.slice(at, 1) for at in range(len(table)))


def test_few_and_many_images_count_after_the_merge(tmp_path: Path) -> None:
    paths = [pack(tmp_path, "one", "aaab"), pack(tmp_path, "two", "aabc")]
    summary = merge_manifests(
        paths, tmp_path / "m.parquet", IngestOptions(min_images=2, max_images=4, check_repeats="none")
    )
    assert [row["identity"] for row in rows_of(summary.out)] == ["a"] * 4 + ["b"] * 2
    assert "1 identities left out: they have fewer than 2 good images" in summary.notes


def drop(path: Path, *image_ids: int) -> None:
    """Write a manifest anew with `keep` false for some images."""
    table = pq.read_table(path)
    keep = pa.array([number not in image_ids for number in range(len(table))])
    metadata = {key.encode(): value.encode() for key, value in metadata_of(open_parquet(path)).items()}
    table = table.set_column(table.schema.get_field_index("keep"), "keep", keep)
    pq.write_table(table.replace_schema_metadata(metadata), path)


@pytest.mark.parametrize("seed", range(4))
def test_images_that_are_not_kept_neither_count_nor_are_they_drawn(tmp_path: Path, seed: int) -> None:
    one, two = pack(tmp_path, "one", "aaabbc"), pack(tmp_path, "two", "cdd")
    drop(one, 0, 1, 5)  # two of a, one of c
    options = replace(OPTIONS, max_images=1, seed=seed)
    summary = merge_manifests([one, two], tmp_path / "m.parquet", options)
    kept = Counter((row["identity"], row["keep"]) for row in rows_of(summary.out))
    assert kept == {
        ("a", True): 1,
        ("a", False): 2,
        ("b", True): 1,
        ("c", True): 1,
        ("c", False): 1,
        ("d", True): 1,
    }
    assert f"2 images left out by seed {seed}: 2 identities have more than 1" in summary.notes
    summary = merge_manifests([one, two], tmp_path / "m.parquet", replace(OPTIONS, min_images=2))
    assert {row["identity"] for row in rows_of(summary.out)} == {"b", "d"}


def test_queries_and_galleries_all_stay(tmp_path: Path) -> None:
    roles = {
        "is_query": [True, False, False, None, None, None],
        "is_gallery": [False, True, True, None, None, None],
    }
    one = pack(tmp_path, "one", "aaabbb", split=["test"] * 3 + ["train"] * 3, **roles)
    two = pack(tmp_path, "two", "bc", split=["train"] * 2)
    summary = merge_manifests([one, two], tmp_path / "m.parquet", replace(OPTIONS, max_images=1))
    assert [row["identity"] for row in rows_of(summary.out)] == ["a", "a", "a", "b", "c"]
    assert "3 query and gallery images all stay: --max-images draws among the others" in summary.notes


@pytest.mark.parametrize(
    ("names", "options", "complaint"),
    [
        (["one"], {}, "joins two manifests or more"),
        (["one", "one"], {"prefix": "stem"}, "'one' cannot tell manifests apart"),
        (["one", "two"], {"prefix": "a"}, "has 1 names for 2 manifests"),
        (["one", "two"], {"prefix": "a,"}, "'' cannot tell manifests apart"),
        (["one", "inline"], {}, "inline.parquet holds its images and"),
        (["one", "one.list"], {}, "is not a manifest table"),
        (["one", "nowhere"], {}, "nowhere.parquet does not exist"),
    ],
)
def test_what_cannot_be_joined_is_one_line(
    tmp_path: Path, names: list[str], options: dict[str, str], complaint: str
) -> None:
    pack(tmp_path, "one", "ab")
    pack(tmp_path, "two", "ab")
    manifest(tmp_path, "inline", label=["a", "b"], image=[b"x", b"y"])
    with pytest.raises(InputError, match=complaint) as error:
        merge_manifests(
            [tmp_path / f"{n}.parquet" for n in names], tmp_path / "m.parquet", OPTIONS, **options
        )
    assert "\n" not in str(error.value)


def test_the_command_line_joins(tmp_path: Path) -> None:
    one, two = pack(tmp_path, "one", "aab"), pack(tmp_path, "two", "abb")
    out = tmp_path / "m.parquet"
    done = subspace("ingest", "--merge", one, two, "--out", out, "--prefix", "stem", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["identities"] == 4
    assert {row["identity"] for row in rows_of(out)} == {"one/a", "one/b", "two/a", "two/b"}
    for words, complaint in [
        (("--merge", one, two, "--out", out, "--root", "x"), "--root says nothing about manifests"),
        ((one, "--out", out, "--prefix", "stem"), "--prefix stem says nothing without --merge"),
        ((one, "--out", out, "--keep-splits"), "--keep-splits says nothing without --merge"),
        (("--merge", one, two, "--out", one), "would be overwritten"),
    ]:
        done = subspace("ingest", *words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert complaint in done.stderr
