"""LFW's pairs.txt, tables of pairs, and which reader a list gets.

Covers pipeline/lists/listed_images.py, pipeline/lists/pair_table.py, pipeline/lists/read_pairs.py, too.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subspace.mining.errors import InputError
from subspace.pipeline.lists.listed_images import PairList
from subspace.pipeline.lists.pair_table import missing_images, read_pair_table
from subspace.pipeline.lists.read_pairs import read_pair_list

FOLD = "Ann\t1\t2\nBob\t2\t3\nAnn\t1\tBob\t2\nCy\t1\tAnn\t2\n"
OTHER = "Cy\t1\t2\nAnn\t2\t3\nBob\t3\tCy\t2\nAnn\t3\tCy\t1\n"


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder of LFW's shape."""
    for name in ("Ann", "Bob", "Cy"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        for number in (1, 2, 3):
            (tmp_path / "faces" / name / f"{name}_{number:04d}.jpg").write_bytes(b"x")
    return tmp_path / "faces"


def listed(folder: Path, text: str, name: str = "pairs.txt") -> Path:
    (folder / name).write_text(text)
    return folder / name


def spelt(pairs: PairList) -> list[tuple[str, str, bool]]:
    return [
        (pairs.names[a], pairs.names[b], bool(same))
        for a, b, same in zip(pairs.first, pairs.second, pairs.same, strict=True)
    ]


def test_folds_are_read(faces: Path, tmp_path: Path) -> None:
    path = listed(tmp_path, f"2\t2\n{FOLD}{OTHER}")
    pairs = read_pair_list(path, faces)
    assert spelt(pairs)[:3] == [
        ("Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", True),
        ("Bob/Bob_0002.jpg", "Bob/Bob_0003.jpg", True),
        ("Ann/Ann_0001.jpg", "Bob/Bob_0002.jpg", False),
    ]
    assert pairs.fold.tolist() == [0] * 4 + [1] * 4
    first, second = pairs.identities
    assert ((first == second) == pairs.same).all()
    uri = pairs.manifest.table["uri"].to_pylist()
    assert [Path(name).read_bytes() for name in uri] == [b"x"] * 7
    note = f"images: {faces}/NAME/NAME_0001.jpg"
    assert pairs.in_words() == f"{path}: 8 pairs of 7 images, 4 genuine (50.0 %), 2 folds; {note}"


def test_a_development_list_has_no_folds_and_lies_beside_its_images(faces: Path) -> None:
    pairs = read_pair_list(listed(faces, f"2\n{FOLD}", "pairsDevTest.txt"))
    assert (pairs.fold, len(pairs.same)) == (None, 4)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "is empty"),
        ("ann.jpg,bob.jpg,1\n", "line 1: .* go in a CSV"),
        ("10 300\n", "promises 10 x 2 x 300 = 6,000 pairs, 0 follow"),
        (f"2\t2\n{FOLD}", "8 pairs, 4 follow"),
        ("0\t2\n", "promises no pairs"),
        (f"2\n{FOLD}".replace("Bob\t2\t3", "Bob\ttwo\t3"), "line 3: 'Bob\ttwo\t3' is neither"),
        (f"2\n{FOLD}".replace("Bob\t2\t3", "Bob\t2\tCy\t3"), "line 3: .* is no genuine pair"),
        (f"2\n{FOLD}".replace("Ann\t1\tBob\t2", "Ann\t1\t3"), "line 4: .* is no impostor pair"),
        (f"2\n{FOLD}".replace("Ann\t1\t2", "../../etc\t1\t2"), "line 2: .* is neither"),
        ("1\u00b2\n", "line 1"),
    ],
)  # fmt: skip
def test_what_is_no_such_list_is_one_line(faces: Path, text: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        read_pair_list(listed(faces, text))
    assert "\n" not in str(error.value)


def test_another_folder_is_asked_for(faces: Path, tmp_path: Path) -> None:
    path = listed(tmp_path, f"2\n{FOLD}")
    missing = missing_images(read_pair_list(path)) or ""
    assert missing.startswith(
        f"5 of 5 images of {path} are missing, the first: {tmp_path}/Ann/Ann_0001.jpg; name"
    )
    assert missing_images(read_pair_list(path, faces)) is None
    (faces / "Cy" / "Cy_0001.jpg").unlink()
    assert (missing_images(read_pair_list(path, faces)) or "").startswith("1 of 5 images")
    with pytest.raises(InputError, match=r"--root .* is no folder"):
        read_pair_list(path, tmp_path / "nowhere")


def test_images_may_be_png(faces: Path) -> None:
    """Whichever of them are there."""
    for image in faces.glob("*/*.jpg"):
        image.rename(image.with_suffix(".png"))
    (faces / "Ann" / "Ann_0001.png").unlink()
    pairs = read_pair_list(listed(faces, f"2\n{FOLD}"))
    assert pairs.names[0] == "Ann/Ann_0001.png"
    assert (missing_images(pairs) or "").startswith("1 of 5 images")


# --- tables ---


def test_tables_are_read(faces: Path, tmp_path: Path) -> None:
    text = "image_a,image_b,same,fold,who\nAnn/Ann_0001.jpg,Ann/Ann_0002.jpg,1,x,y\nAnn/Ann_0001.jpg,Bob/Bob_0001.jpg,0,z,y\n"
    path = listed(tmp_path, text, "pairs.csv")
    pairs = read_pair_list(path, faces)
    assert spelt(pairs) == [
        ("Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", True),
        ("Ann/Ann_0001.jpg", "Bob/Bob_0001.jpg", False),
    ]
    assert (pairs.fold.tolist(), pairs.identities) == ([0, 1], None)
    assert pairs.in_words() == f"{path}: 2 pairs of 3 images, 1 genuine (50.0 %), 2 folds; not used: who"
    assert missing_images(pairs) is None
    assert "name their folder with --root" in (missing_images(read_pair_list(path)) or "")
    moved = listed(tmp_path, text.replace("Ann/", "/moved/Ann/"), "moved.csv")
    assert "which --root does not move" in (missing_images(read_pair_list(moved, faces)) or "")
    columns = {"image_a": ["a", "a"], "image_b": ["b", "c"], "same": [True, False]}
    pq.write_table(
        pa.table(columns | {"identity_a": [7, 7], "identity_b": [7, 8]}), tmp_path / "pairs.parquet"
    )
    pairs = read_pair_list(tmp_path / "pairs.parquet")
    assert spelt(pairs) == [("a", "b", True), ("a", "c", False)]
    first, second = pairs.identities
    assert (first == second).tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("image_a,image_b,same\n", "lists no pairs"),
        ("", "cannot parse"),
        ("a.jpg,b.jpg,1\n", "no column 'image_a' .* its first line is data"),
        ("image_a;image_b;same\na;b;1\n", "give --delimiter|no column"),
        ("image_a,image_b\na,b\n", "no column 'same'"),
        ("image_a,image_b,same\na,b,maybe\n", "row 1: 'same' is 'maybe'; give 1 or 0"),
        ("image_a,image_b,same\na,b,1\n,b,0\n", "row 2: 'image_a' is empty"),
        ("image_a,image_b,same\na,b\n", "cannot parse"),
        ("image_a,image_b,same,same\na,b,1,1\n", "several columns 'same'"),
        ("image_a,image_b,same,fold\na,b,1,0\na,c,0,0\n", "all pairs are in fold 0"),
        ("image_a,image_b,same,identity_a,identity_b\na,b,1,x,y\n", "row 1: same is True, its identities say otherwise"),
    ],
)  # fmt: skip
def test_tables_that_say_nothing_are_one_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        read_pair_table(listed(tmp_path, text, "pairs.csv"))
    assert "\n" not in str(error.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name, line in (("pairs.zip", "no list of pairs"), ("no.csv", "does not exist"), ("no.txt", "does not exist"),
                       ("no.parquet", "does not exist")):  # fmt: skip
        with pytest.raises(InputError, match=line):
            read_pair_list(tmp_path / name)
    with pytest.raises(InputError, match="is a folder"):
        read_pair_list(tmp_path)
    with pytest.raises(InputError, match=r"--root says nothing about .*lfw\.bin"):
        read_pair_list(tmp_path / "lfw.bin", tmp_path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["pairs.txt", "pairs.csv", "pairs.parquet"]), st.data())
def test_damaged_lists_are_refused_or_read(faces: Path, name: str, data: st.DataObject) -> None:
    path = faces / name
    if name == "pairs.parquet":
        pq.write_table(pa.table({"image_a": ["a", "b"], "image_b": ["b", "c"], "same": [1, 0]}), path)
    else:
        path.write_text(f"2\n{FOLD}" if name == "pairs.txt" else "image_a,image_b,same\na,b,1\nb,c,0\n")
    whole = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=3))
    path.write_bytes(bytes(whole))
    said = ""
    try:
        read_pair_list(path)
    except InputError as error:
        said = str(error)
    assert "\n" not in said
