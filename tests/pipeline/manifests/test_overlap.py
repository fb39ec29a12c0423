"""What two manifests share, against sets of names and bytes made with obvious loops."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import subspace
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subspace.mining.errors import InputError
from subspace.pipeline.manifests.overlap import find_overlap
from subspace.pipeline.sources.ingest import ingest_images
from subspace.pipeline.sources.options import IngestOptions

SPLITS = {"a": "train", "b": "pretrain", "c": "val", "d": "test"}
ROWS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.binary(min_size=1, max_size=2)), min_size=2, max_size=25
).filter(lambda rows: len({who for who, _ in rows}) > 1)
PATIENT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


ALL = IngestOptions(test_fraction=0, check_repeats="none")


def inline(folder: Path, name: str, rows: list[tuple[str, bytes]], shift: int = 0) -> Path:
    """A manifest with inline images; identity's splits by `SPLITS`, those of `shift` letters further on."""
    names, images = zip(*rows, strict=True)
    letters = list(SPLITS)
    splits = [SPLITS[letters[(letters.index(who) + shift) % 4]] for who in names]
    pq.write_table(
        pa.table({"label": names, "image": images, "split": splits}), folder / f"{name}.list.parquet"
    )
    return ingest_images(folder / f"{name}.list.parquet", folder / f"{name}.parquet", ALL).out


def in_files(folder: Path, name: str, rows: list[tuple[str, bytes]]) -> Path:
    """A manifest of plain files and of pieces of one file, in turn."""
    pack, lines = b"", ["label,path,offset,length"]
    for place, (who, data) in enumerate(rows):
        if place % 2:
            (folder / f"{name}-{place}.bin").write_bytes(data)
            lines.append(f"{who},{name}-{place}.bin,,")
        else:
            lines.append(f"{who},{name}.pack,{len(pack)},{len(data)}")
            pack += data
    (folder / f"{name}.pack").write_bytes(pack)
    (folder / f"{name}.csv").write_text("\n".join(lines))
    return ingest_images(folder / f"{name}.csv", folder / f"{name}.parquet", ALL).out


def test_times_are_announced(tmp_path: Path) -> None:
    """Before anything is looked up, and again when it is known what is read."""
    manifest, said = in_files(tmp_path, "one", [("a", b"1"), ("b", b"2"), ("b", b"23")]), []
    find_overlap(manifest, manifest, say=said.append)
    assert said[0].startswith(
        "overlap: 3 and 3 images, less than a second until it is known which are read, at most "
    )
    assert said[1:] == [
        "overlap: 6 images are as long as one of the other manifest, and are read, less than a second"
    ]
    find_overlap(manifest, manifest, images=False, say=said.append)
    assert said[2:] == ["overlap: names of 3 and 3 images, less than a second"]


@PATIENT
@given(ours=ROWS, theirs=ROWS, shift=st.integers(0, 3), files=st.booleans())
def test_shared_names_and_bytes_are_those_of_sets(
    tmp_path: Path, ours: list[tuple[str, bytes]], theirs: list[tuple[str, bytes]], shift: int, files: bool
) -> None:
    a = in_files(tmp_path, "a", ours) if files else inline(tmp_path, "a", ours)
    found = find_overlap(a, inline(tmp_path, "b", theirs, shift), out=tmp_path / "pairs.parquet")
    there = {data for _, data in theirs}
    assert found.identities == len({who for who, _ in ours} & {who for who, _ in theirs})
    assert found.images == sum(
        data in there for _, data in (ours if files else set(ours))
    )  # repeats are left out
    assert found.unreadable == 0

    pairs = pq.read_table(tmp_path / "pairs.parquet").to_pylist()
    people = [row for row in pairs if row["shared"] == "identity"]
    assert {row["identity_a"] for row in people} == {row["identity_b"] for row in people}
    images = [row for row in pairs if row["shared"] == "image"]
    rows_a, rows_b = (pq.read_table(tmp_path / f"{name}.parquet").to_pylist() for name in "ab")
    for row in images:
        assert rows_a[row["image_id_a"]]["identity"] == row["identity_a"]
        assert rows_b[row["image_id_b"]]["split"] == row["split_b"]
        if not files:
            assert rows_a[row["image_id_a"]]["image"] == rows_b[row["image_id_b"]]["image"]
    for split in found.splits:
        own = [r for r in images if (r["split_a"], r["split_b"]) == (split.split_a, split.split_b)]
        assert split.images == len({r["image_id_a"] for r in own})
        assert split.renamed == len({r["image_id_a"] for r in own if r["identity_a"] != r["identity_b"]})
        assert split.leaks == (split.split_a.endswith("train") != split.split_b.endswith("train"))


def test_an_overlap_of_training_and_test_stands_first_and_is_named(tmp_path: Path) -> None:
    a = inline(tmp_path, "a", [("a", b"x"), ("b", b"y"), ("c", b"z")])
    b = inline(tmp_path, "b", [("d", b"x"), ("b", b"y"), ("c", b"z"), ("c", b"not")])
    found = find_overlap(a, b)
    assert [(s.split_a, s.split_b, s.identities, s.images, s.renamed) for s in found.splits] == [
        ("train", "test", 0, 1, 1),
        ("pretrain", "pretrain", 1, 1, 0),
        ("val", "val", 1, 1, 0),
    ]
    assert "trained on and held out" in found.lines()[3]
    assert found.hashed == 6, "an image of another length was read"


def test_crops_of_one_photograph_are_images_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"photograph")
    paths = {}
    for name, rows in {
        "a": ["ann,x.jpg,0,0,4,4", "bob,x.jpg,4,0,8,4", "cy,x.jpg,,,,"],
        "b": ["ann,x.jpg,0,0,4,4", "bob,x.jpg,4,0,8,5", "di,x.jpg,4,0,8,4"],
    }.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(["label,path,x_1,y_1,x_2,y_2", *rows]))
        options = IngestOptions(test_fraction=0)
        paths[name] = ingest_images(tmp_path / f"{name}.csv", tmp_path / f"{name}.parquet", options).out
    found = find_overlap(paths["a"], paths["b"])
    assert (found.images, [split.renamed for split in found.splits]) == (2, [1])
    (tmp_path / "w.csv").write_text("label,path\nann,x.jpg\nbob,y.jpg")
    (tmp_path / "y.jpg").write_bytes(b"another photo")
    whole = ingest_images(tmp_path / "w.csv", tmp_path / "w.parquet", IngestOptions(test_fraction=0)).out
    assert find_overlap(paths["a"], whole).images == 1  # cy's, which has no box


def test_unreadable_images_are_counted_not_compared(tmp_path: Path) -> None:
    rows = [("a", b"xx"), ("b", b"yy"), ("b", b"zz")]
    a, b = in_files(tmp_path, "a", rows), inline(tmp_path, "b", rows)
    (tmp_path / "a-1.bin").write_bytes(b"yy")
    (tmp_path / "a.pack").unlink()
    found = find_overlap(a, b)
    assert (found.images, found.unreadable) == (1, 2)
    assert "2 images could not be read" in found.lines()[-1]
    (tmp_path / "a-1.bin").unlink()
    gone = find_overlap(a, b)
    assert (gone.images, gone.unreadable) == (0, 3)


def test_the_command_line(tmp_path: Path) -> None:
    a = inline(tmp_path, "a", [("a", b"x"), ("b", b"y")])
    done = subspace("overlap", a, a, "--json", "--out", tmp_path / "pairs.parquet")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["identities"], facts["images"], facts["hashed"]) == (2, 2, 4)
    assert pq.read_table(tmp_path / "pairs.parquet").num_rows == 4
    done = subspace("overlap", a, a, "--names-only")
    assert "2 identities by name are in both" in done.stdout
    assert "images of the first" not in done.stdout
    for words in (("overlap", a, tmp_path / "x.parquet"), ("overlap", a, a, "--out", "s3://b/x.parquet")):
        done = subspace(*words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    with pytest.raises(InputError, match="is a URL"):
        find_overlap(a, a, out=Path("s3://b/x.parquet"))
