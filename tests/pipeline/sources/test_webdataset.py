"""WebDataset's tars are read in place: what its own writers, tarfile and GNU tar write, and a cut anywhere is one line.

Covers pipeline/sources/tar_members.py too.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelled_pictures import folder_sums, ingested, pictures, pixel_sums
from written_shards import Files, write_tar

from subspace.mining.errors import InputError
from subspace.mining.manifest import Manifest
from subspace.mining.parquet_tables import read_parquet
from subspace.mining.schemas import QUARANTINE
from subspace.pipeline.rows.manifest_writer import quarantine_path
from subspace.pipeline.sources import webdataset
from subspace.pipeline.sources.tar_members import members_of_tar

PATIENT = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
PAIRS: Files = [("0.jpg", b"x"), ("0.cls", b"a"), ("1.jpg", b"y"), ("1.cls", b"b")]


def refused(source: Path | list[Path], tmp_path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        ingested(source, tmp_path / "m.parquet", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("label", ["cls", "txt", "json"])
def test_shards_of_webdatasets_own_writer_decode_as_the_folder_does(tmp_path: Path, label: str) -> None:
    webdataset_package = pytest.importorskip("webdataset")
    made = pictures(20)
    (tmp_path / "shards").mkdir()
    pattern = str(tmp_path / "shards" / "set-%06d.tar")
    with webdataset_package.ShardWriter(pattern, maxcount=8, verbose=0) as writer:
        for one in made:
            said: Any = {
                "cls": one.label,
                "txt": str(one.label),
                "json": {"label": one.label, "camera": one.label % 2},
            }
            writer.write({"__key__": f"a/{one.name[:4]}", "jpg": one.data, label: said[label]})
    assert len(list((tmp_path / "shards").iterdir())) == 3
    summary = ingested(tmp_path / "shards", tmp_path / "m.parquet")
    assert pixel_sums(tmp_path / "m.parquet") == folder_sums(made, tmp_path)
    assert summary.reading.startswith(
        "identity: label of .json" if label == "json" else f"identity: .{label}; "
    )
    table = Manifest.open(tmp_path / "m.parquet").table
    if label == "json":
        assert [int(row["group"]) for row in table.to_pylist()] == [
            int(row["identity"]) % 2 for row in table.to_pylist()
        ]
    several = ingested(sorted((tmp_path / "shards").iterdir()), tmp_path / "m2.parquet")
    assert several.fingerprint == summary.fingerprint


def test_processes_read_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = [
        write_tar(tmp_path / f"{name}.tar", [(f"{name}.jpg", b"x"), (f"{name}.cls", name.encode())])
        for name in "abc"
    ]
    alone = ingested(shards, tmp_path / "1.parquet").fingerprint
    monkeypatch.setattr(webdataset, "_MANY_BYTES", 0)
    monkeypatch.setattr(webdataset.os, "cpu_count", lambda: 2)
    assert ingested(shards, tmp_path / "2.parquet").fingerprint == alone


def test_names_of_shards_are_splits(tmp_path: Path) -> None:
    train = write_tar(tmp_path / "train-000.tar", PAIRS)
    val = write_tar(tmp_path / "val-000.tar", [("0.jpg", b"z"), ("0.cls", b"c")])
    summary = ingested([train, val], tmp_path / "m.parquet")
    assert "split: the sources' names" in summary.reading
    assert [(count.split, count.identities) for count in summary.splits] == [("train", 2), ("val", 1)]
    alone = ingested([train, train.rename(tmp_path / "train-001.tar")][1:], tmp_path / "m.parquet")
    assert "split: none" in alone.reading
    shared = write_tar(tmp_path / "test-000.tar", [("0.jpg", b"z"), ("0.cls", b"a")])
    both = [tmp_path / "train-001.tar", shared]
    assert "draw the splits anew (--redraw-splits)" in refused(both, tmp_path)
    assert "left aside (--redraw-splits)" in " ".join(
        ingested(both, tmp_path / "m.parquet", redraw_splits=True).notes
    )


def test_the_label_is_chosen_or_named(tmp_path: Path) -> None:
    both = [("0.jpg", b"x"), ("0.txt", b"a"), ("0.json", b'{"who": "p", "label": 1.0}')]
    both += [("1.jpg", b"y"), ("1.txt", b"b"), ("1.json", b'{"who": "q", "label": 2}')]
    source = write_tar(tmp_path / "a.tar", both)

    def people(**options: Any) -> list[str]:
        ingested(source, tmp_path / "m.parquet", **options)
        return Manifest.open(tmp_path / "m.parquet").table["identity"].to_pylist()

    message = refused(source, tmp_path)
    assert "has .jpg .txt .json, either of which may be the label; name it with --label-key" in message
    assert people(label_key="txt") == ["a", "b"]
    assert people(label_key=".json") == ["1", "2"]
    assert people(label_key="json", identity_column="who") == ["p", "q"]
    assert "--label-key json" in refused(source, tmp_path, label_key="txt", identity_column="who")
    assert "has no .cls files" in refused(source, tmp_path, label_key="cls")
    assert "no column named 'cam'" in refused(source, tmp_path, label_key="json", group_column="cam")
    write_tar(source, [*both, ("0.cls", b"c"), ("1.cls", b"d")])
    assert people() == ["c", "d"]
    assert "not used: .txt .json" in ingested(source, tmp_path / "m.parquet").reading


def test_several_images_of_a_sample_are_named(tmp_path: Path) -> None:
    views = [(f"{n}.{side}.jpg", side.encode()) for n in "01" for side in ("left", "right")]
    source = write_tar(tmp_path / "a.tar", views + [("0.cls", b"a"), ("1.cls", b"b")])
    assert "0 has several images, .left.jpg and .right.jpg; name one with --image-key" in refused(
        source, tmp_path
    )
    summary = ingested(source, tmp_path / "m.parquet", image_key="right.jpg")
    assert (summary.images, "image: .right.jpg" in summary.reading) == (2, True)


LONG = "deep/" * 40 + "0"
"""More than the 100 and 155 bytes that a header holds."""


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_sizes_and_folders_of_every_format(tmp_path: Path, kind: int) -> None:
    name = "d" * 90 + "/" + "e" * 90 + "/0" if kind == tarfile.USTAR_FORMAT else LONG + "é" * 60
    files = [(f"{name}.jpg", b"x" * 700), (f"{name}.cls", b"a"), *PAIRS]
    source = write_tar(tmp_path / "a.tar", files, kind)
    data = source.read_bytes()
    found = [
        (member.name, data[member.offset : member.offset + member.length])
        for member in members_of_tar(data, source)
    ]
    assert found == files


def test_gnu_tar_and_tarfile_agree(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for name, content in [*PAIRS, (LONG + ".jpg", b"long"), (LONG + ".cls", b"a")]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for kind in ("gnu", "pax", "ustar", "v7", "oldgnu"):
        source = tmp_path / f"{kind}.tar"
        names = [name for name, _ in PAIRS] + ([] if kind == "v7" else ["deep"])
        subprocess.run(["tar", f"--format={kind}", "-cf", source, "-C", folder, *names], check=True)
        with tarfile.open(source) as tar:
            expected = [(entry.name, entry.offset_data, entry.size) for entry in tar if not entry.isdir()]
        assert [member[:3] for member in members_of_tar(source.read_bytes(), source)] == expected


def test_links_and_duplicates_are_refused_or_quarantined(tmp_path: Path) -> None:
    source = tmp_path / "a.tar"
    write_tar(
        source,
        [*PAIRS, ("2.jpg", b"z"), ("2.cls", b"a"), ("2.jpg", b"w"), ("3.cls", b"a"), ("5.jpg", b"alone")],
    )
    with tarfile.open(source, "a") as tar:
        for name, kind in (
            ("3.jpg", tarfile.SYMTYPE),
            ("4.jpg", tarfile.LNKTYPE),
            ("4.cls", tarfile.FIFOTYPE),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "0.jpg"
            tar.addfile(entry)
    message = refused(source, tmp_path)
    assert "4 of 6 images cannot be taken" in message
    assert "--on-bad-image quarantine" in message
    summary = ingested(source, tmp_path / "m.parquet", on_bad_image="quarantine")
    assert (summary.images, summary.quarantined) == (2, 4)
    listed = read_parquet(quarantine_path(tmp_path / "m.parquet"), QUARANTINE).to_pylist()
    assert {(row["uri"].rpartition(": ")[2], row["reason"].split(",")[0]) for row in listed} == {
        ("2.jpg", "two files in the tar are named 2.jpg"),
        ("3.jpg", "a link in a tar"),
        ("4.jpg", "a link in a tar"),
        ("5.jpg", "no .cls beside it"),
    }


@pytest.mark.parametrize(
    ("label", "complaint"),
    [
        (b"\xff", "the identity in its .cls is empty, not UTF-8"),
        (b" \n", "the identity in its .cls is empty"),
        (b"x" * 1001, "its .cls of 1,001 bytes is too long for a label"),
    ],
)
def test_bad_labels_are_one_line(tmp_path: Path, label: bytes, complaint: str) -> None:
    source = write_tar(tmp_path / "a.tar", [*PAIRS, ("2.jpg", b"z"), ("2.cls", label)])
    assert complaint in refused(source, tmp_path)
    assert ingested(source, tmp_path / "m.parquet", on_bad_image="quarantine").quarantined == 1


@pytest.mark.parametrize(
    "label", ["[1]", "1.5", "true", "null", '{"a": 1}', '"\\ud800"', "NaN", "1e999", '""']
)
def test_bad_json_labels_are_one_line(tmp_path: Path, label: str) -> None:
    files = [("0.jpg", b"x"), ("0.json", b'{"label": 1}'), ("1.jpg", b"x"), ("1.json", b'{"label": "b"}')]
    source = write_tar(
        tmp_path / "a.tar", [*files, ("2.jpg", b"z"), ("2.json", f'{{"label": {label}}}'.encode())]
    )
    assert "1 of 3 images cannot be taken" in refused(source, tmp_path)
    for broken in (b"[" * 100_000, b"{", b"[]", b"\xff"):
        write_tar(source, [*files, ("2.jpg", b"z"), ("2.json", broken)])
        assert "its .json is no JSON object" in refused(source, tmp_path)


def test_no_tars_are_one_line(tmp_path: Path) -> None:
    source = write_tar(tmp_path / "a.tar", PAIRS)
    whole = source.read_bytes()
    for content, complaint in [
        (b"", "is empty"),
        (whole * 2, "goes on behind its end mark"),
        (b"no tar" * 200, "cannot be read as a tar from byte 0"),
        (bytes(10_240), "holds no images"),
        (whole.replace(b"0.cls", b"0.clt"), "cannot be read as a tar"),
    ]:
        source.write_bytes(content)
        assert complaint in refused(source, tmp_path)
    for name in ("a.tar.gz", "a.tgz", "a.tar.zst", "a.zip"):
        (tmp_path / name).write_bytes(whole)
        assert "is refused: " in refused(tmp_path / name, tmp_path)


NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0."), min_size=1, max_size=80)


@PATIENT
@given(
    samples=st.dictionaries(NAME, st.tuples(st.binary(min_size=1, max_size=1500), st.sampled_from("abcd")), min_size=2, max_size=5)
    .filter(lambda samples: len({label for _, label in samples.values()}) > 1),
    kind=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    data=st.data(),
)  # fmt: skip
def test_samples_come_back_and_a_cut_anywhere_is_one_line(
    tmp_path: Path, samples: dict[str, tuple[bytes, str]], kind: int, data: st.DataObject
) -> None:
    files = [
        file
        for name, (image, label) in samples.items()
        for file in ((f"{name}.png", image), (f"{name}.cls", label.encode()))
    ]
    source = write_tar(tmp_path / "a.tar", files, kind)
    ingested(source, tmp_path / "m.parquet")
    content = source.read_bytes()
    found = [
        (row["identity"], content[row["offset"] : row["offset"] + row["length"]])
        for row in Manifest.open(tmp_path / "m.parquet").table.to_pylist()
    ]
    assert sorted(found) == sorted((label, image) for image, label in samples.values())
    with tarfile.open(source) as tar:
        last = tar.getmembers()[-1]
    end = last.offset_data + 512  # the end mark is one block of zeros at least, behind the padded last member
    source.write_bytes(content[: data.draw(st.integers(0, end + 511))])
    assert refused(source, tmp_path)


@PATIENT
@given(
    place=st.integers(0, 4000),
    value=st.integers(0, 255),
    kind=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_a_changed_byte_is_no_traceback(tmp_path: Path, place: int, value: int, kind: int) -> None:
    source = write_tar(tmp_path / "a.tar", [(LONG + ".jpg", b"x"), (LONG + ".cls", b"a"), *PAIRS], kind)
    content = bytearray(source.read_bytes())
    content[place] = value
    source.write_bytes(content)
    with suppress(InputError):
        ingested(source, tmp_path / "m.parquet")


def test_json_of_numpy_style_is_read_by_field(tmp_path: Path) -> None:
    rows = [{"person_id": number, "split": split} for number, split in ((7, "train"), (8, "test"))]
    files = [
        file
        for n, row in enumerate(rows)
        for file in ((f"{n}.webp", b"x"), (f"{n}.json", json.dumps(row).encode()))
    ]
    summary = ingested(write_tar(tmp_path / "a.tar", files), tmp_path / "m.parquet")
    assert [count.split for count in summary.splits] == ["train", "test"]


def shard_of(source: Path, *fields: dict[str, Any]) -> Path:
    """A tar of one image with each of those fields of JSON."""
    files: Files = []
    for n, row in enumerate(fields):
        files += [(f"{n}.jpg", f"{source.name}{n}".encode()), (f"{n}.json", json.dumps(row).encode())]
    return write_tar(source, files)


def test_fields_of_json_are_those_of_all_samples(tmp_path: Path) -> None:
    source = shard_of(
        tmp_path / "a.tar",
        {"label": 1},
        {"label": 2, "camera": 5, "exif": {}},
        {"label": 1, "split": "train"},
    )
    summary = ingested(source, tmp_path / "m.parquet")
    assert summary.reading.startswith(
        "identity: label of .json; image: by its ending; split: split of .json; "
    )
    assert summary.reading.endswith("; group: camera of .json; fields not used: exif")
    assert Manifest.open(tmp_path / "m.parquet").table["group"].to_pylist() == [None, None, "5"]


def test_a_shard_that_adds_a_split_or_a_group_is_refused(tmp_path: Path) -> None:
    plain = shard_of(tmp_path / "0.tar", {"label": 1}, {"label": 2})
    split = shard_of(
        tmp_path / "1.tar", {"label": 3, "split": "test", "exif": 1}, {"label": 4, "split": "train"}
    )
    message = refused([plain, split], tmp_path)
    assert (
        "1.tar: 0.json has the field 'split', which the first files have not; give a tar that has it"
        in message
    )
    summary = ingested([split, plain], tmp_path / "m.parquet")
    assert [(count.split, count.images) for count in summary.splits] == [("train", 3), ("test", 1)]


def test_files_of_no_sample_are_counted(tmp_path: Path) -> None:
    source = write_tar(tmp_path / "a.tar", [*PAIRS, (".hidden.jpg", b"x"), ("README", b"x")])
    notes = ingested(source, tmp_path / "m.parquet").notes
    assert f"{source}: 2 files that are hidden or have no ending left aside" in notes


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_compressed_tar_by_another_name_is_one_line(tmp_path: Path, kind: str) -> None:
    with tarfile.open(tmp_path / "a.tar", f"w:{kind}") as tar:  # type: ignore[call-overload]
        tar.addfile(tarfile.TarInfo("0.cls"))
    assert "is compressed, though it is called .tar" in refused(tmp_path / "a.tar", tmp_path)
