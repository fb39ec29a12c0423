"""InsightFace's .rec and .idx are read from their definition, and a cut anywhere is one line."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelled_pictures import folder_sums, ingested, pictures, pixel_sums
from written_shards import MAGIC, insightface, marks, packed, record, write_rec

from subspace.mining.errors import InputError
from subspace.mining.manifest import Manifest
from subspace.pipeline.rows.manifest_writer import quarantine_path

PATIENT = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("index", [False, True])
def test_insightface_records_decode_as_the_folder_does(tmp_path: Path, several: bool, index: bool) -> None:
    made = pictures()
    (tmp_path / "faces").mkdir()
    bodies = insightface([(one.label, one.data) for one in made], several)
    source = write_rec(tmp_path / "faces" / "train.rec", bodies, index)
    (tmp_path / "faces" / "property").write_text("5,112,112")
    summary = ingested(source.parent, tmp_path / "m.parquet")
    assert pixel_sums(tmp_path / "m.parquet") == folder_sums(made, tmp_path)
    table = Manifest.open(tmp_path / "m.parquet").table
    assert set(table["uri"].to_pylist()) == {str(source.resolve())}
    assert summary.reading.startswith(
        "identity: first of 2 labels of the record" if several else "identity: label of the record"
    )
    assert ("places: train.idx" in summary.reading) == index
    assert "1 header and 4 records of identities have no images" in summary.notes
    assert f"{source.with_name('property')} speaks of 5 identities, and 4 are there" in summary.notes


def test_records_without_a_header_are_all_images(tmp_path: Path) -> None:
    made = pictures(kind="PNG")
    source = write_rec(tmp_path / "a.rec", [packed(float(one.label), 0, one.data) for one in made])
    ingested(source, tmp_path / "m.parquet")
    assert pixel_sums(tmp_path / "m.parquet") == folder_sums(made, tmp_path)


def test_an_index_in_any_order_gives_the_same(tmp_path: Path) -> None:
    source = write_rec(tmp_path / "a.rec", insightface([(one.label, one.data) for one in pictures()]))
    first = ingested(source, tmp_path / "1.parquet").fingerprint
    index = source.with_suffix(".idx")
    index.write_text("".join(sorted(index.read_text().splitlines(True), reverse=True)))
    assert ingested(source, tmp_path / "2.parquet").fingerprint == first


def test_a_record_in_parts_is_refused_or_quarantined(tmp_path: Path) -> None:
    made = pictures()
    bodies = [packed(float(one.label), 0, one.data) for one in made] + [
        packed(1.0, 0, b"\xff\xd8" * 2 + MAGIC + b"x")
    ]
    for index in (False, True):
        source = write_rec(tmp_path / f"{index}.rec", bodies, index)
        with pytest.raises(InputError, match=r"1 of 9 images cannot be taken.*in several parts"):
            ingested(source, tmp_path / "m.parquet")
        summary = ingested(source, tmp_path / "m.parquet", on_bad_image="quarantine")
        assert (summary.images, summary.quarantined) == (8, 1)
        assert quarantine_path(tmp_path / "m.parquet").exists()


@pytest.mark.parametrize("last", [9, 13])
def test_a_header_at_the_end_and_no_records_of_identities(tmp_path: Path, last: int) -> None:
    """As arcface_torch's shuffle_rec.py leaves them: key 0 is written last, and its labels are the count of images."""
    made = pictures()
    bodies = [packed(float(one.label), number, one.data) for number, one in enumerate(made, 1)]
    source = write_rec(tmp_path / "a.rec", [*bodies, packed([9.0, float(last)], 0)])
    index = source.with_suffix(".idx")
    places = [line.split("\t")[1] for line in index.read_text().splitlines()]
    index.write_text(
        "".join(f"{key}\t{place}\n" for key, place in zip([*range(1, 9), 0], places, strict=True))
    )
    summary = ingested(source, tmp_path / "m.parquet")
    assert pixel_sums(tmp_path / "m.parquet") == folder_sums(made, tmp_path)
    assert "1 header and 0 records of identities have no images" in summary.notes


@pytest.mark.parametrize(
    ("bodies", "complaint"),
    [
        ([packed(0.5, 0, b"x"), packed(1.0, 0, b"x")], "no whole numbers, such as 0.5"),
        ([packed(float("nan"), 0, b"x"), packed(1.0, 0, b"x")], "no whole numbers, such as nan"),
        ([packed([5.0, 9.0], 0), packed(1.0, 1, b"x")], "images up to record 4 and identities up to 8, and there are 1 images in 2 records"),
        ([packed([1.0, 2.0], 0), packed(1.0, 1, b"x")], "images up to record 0 and identities up to 1, and there are 1 images"),
        ([packed(0.0, 0, b"x"), b"short"], "was cut|no header of an image"),
        ([packed(0.0, 0, b"x"), packed(1.0, 0, b"x") + bytes(2)], ""),
        ([packed(0.0, 0, b""), packed(1.0, 0, b"x"), packed(2.0, 0, b"x")], "zero bytes"),
        ([struct.pack("<IfQQ", 2**31, 0, 0, 0) + b"x", packed(1.0, 0, b"x")], "no header of an image"),
    ],
)  # fmt: skip
def test_bad_records_are_one_line(tmp_path: Path, bodies: list[bytes], complaint: str) -> None:
    source = write_rec(tmp_path / "a.rec", bodies)
    if not complaint:
        assert ingested(source, tmp_path / "m.parquet").images == 2
        return
    with pytest.raises(InputError, match=complaint) as caught:
        ingested(source, tmp_path / "m.parquet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("index", "complaint"),
    [
        ("0\t0\n", "does not list the records"),
        ("", "was cut"),
        ("0\t0\n1\tx\n", "was cut"),
        ("0\t0\n1\t\n", "was cut"),
        ("0\t0\n0\t40\n", "names a record twice"),
        ("0\t0\n1\t40\n2\t41\n", "does not list the records"),
        ("0\t0\n1\t-4\n", "does not list the records"),
        ("0\t0\n1\t20\n", "no record at byte 20"),
        ("0\t0\n1\t99999999\n", "was cut"),
    ],
)
def test_an_index_of_another_file_is_one_line(tmp_path: Path, index: str, complaint: str) -> None:
    source = write_rec(tmp_path / "a.rec", [packed(0.0, 0, b"x" * 8), packed(1.0, 0, b"x" * 8)])
    source.with_suffix(".idx").write_text(index)
    with pytest.raises(InputError, match=complaint):
        ingested(source, tmp_path / "m.parquet")


@PATIENT
@given(
    images=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.lists(st.just(MAGIC) | st.binary(min_size=1, max_size=9)).map(b"".join).filter(bool),
        ),
        min_size=2,
        max_size=8,
    ).filter(lambda images: len({label for label, _ in images}) > 1),
    header=st.booleans(),
    index=st.booleans(),
    data=st.data(),
)
def test_records_come_back_and_a_cut_anywhere_is_one_line(
    tmp_path: Path, images: list[tuple[int, bytes]], header: bool, index: bool, data: st.DataObject
) -> None:
    bodies = insightface(images) if header else [packed(float(label), 0, image) for label, image in images]
    source = write_rec(tmp_path / "a.rec", bodies, index)
    if not index:
        source.with_suffix(".idx").unlink(missing_ok=True)
    whole = [image for image in images if not marks(image[1])]
    options = {"on_bad_image": "quarantine"}
    if len({label for label, _ in whole}) > 1:
        summary = ingested(source, tmp_path / "m.parquet", **options)
        assert summary.quarantined == len(images) - len(whole)
        content = source.read_bytes()
        found = [
            (int(row["identity"]), content[row["offset"] : row["offset"] + row["length"]])
            for row in Manifest.open(tmp_path / "m.parquet").table.to_pylist()
        ]
        assert sorted(found) == sorted(whole)
    cut = source.with_suffix(".idx") if index and data.draw(st.booleans()) else source
    content = cut.read_bytes()
    cut.write_bytes(content[: data.draw(st.integers(0, len(content) - (2 if cut != source else 1)))])
    if cut == source and not index and source.stat().st_size in _ends(bodies) and not header:
        return  # a whole file, of fewer records
    with pytest.raises(InputError) as caught:
        ingested(source, tmp_path / "m.parquet", **options)
    assert "\n" not in str(caught.value)


@PATIENT
@given(place=st.integers(0, 400), value=st.integers(0, 255), index=st.booleans(), header=st.booleans())
def test_a_changed_byte_is_no_traceback(
    tmp_path: Path, place: int, value: int, index: bool, header: bool
) -> None:
    images = [(number % 2, b"image %d" % number) for number in range(8)]
    bodies = (
        insightface(images) if header else [packed([float(label), 0.0], 0, image) for label, image in images]
    )
    source = write_rec(tmp_path / f"{index}.rec", bodies, index)
    content = bytearray(source.read_bytes())
    content[place % len(content)] = value
    source.write_bytes(content)
    with suppress(InputError):
        ingested(source, tmp_path / "m.parquet")


def _ends(bodies: list[bytes]) -> set[int]:
    """Sizes at which a file of these records is whole."""
    return {sum(len(record(body)) for body in bodies[:count]) for count in range(1, len(bodies))}


def test_what_cannot_be_seen_without_an_index_is_said(tmp_path: Path) -> None:
    bodies = [packed(float(label), n, b"image") for n, label in enumerate((1, 2, 1))]
    said = "without a.idx beside a.rec, a cut between two records cannot be seen"
    write_rec(tmp_path / "a.rec", bodies, index=False)
    assert said in ingested(tmp_path / "a.rec", tmp_path / "m.parquet").notes
    write_rec(tmp_path / "a.rec", bodies)
    assert said not in ingested(tmp_path / "a.rec", tmp_path / "m.parquet").notes
    (tmp_path / "a.idx").unlink()
    write_rec(tmp_path / "a.rec", insightface([(1, b"x"), (2, b"y")]), index=False)
    assert said not in ingested(tmp_path / "a.rec", tmp_path / "m.parquet").notes
