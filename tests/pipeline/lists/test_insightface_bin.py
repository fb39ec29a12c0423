"""InsightFace's .bin, written by pickle in every protocol; hostile and damaged ones.

Covers pipeline/lists/plain_pickle.py, pipeline/lists/pickled_calls.py, too.
"""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.errors import InputError
from subspace.pipeline.lists.insightface_bin import read_insightface_bin
from subspace.pipeline.lists.plain_pickle import read_plain

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\n'\"\\\xe9\x00"
IMAGES = [JPEG + bytes([number, 255 - number]) for number in range(6)]
SAME = [True, False, True]


def written(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def images_of(path: Path) -> list[bytes]:
    pairs = read_insightface_bin(path)
    held = pairs.manifest.table["image"].to_pylist()
    return [held[row] for pair in zip(pairs.first, pairs.second, strict=True) for row in pair]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["bytes", "arrays", "bytearrays", "array of flags", "numpy flags", "tuples"])
def test_every_protocol_is_read(tmp_path: Path, protocol: int, kind: str) -> None:
    images: Any = IMAGES
    same: Any = SAME
    if kind == "arrays":
        images = [np.frombuffer(image, np.uint8) for image in IMAGES]
    elif kind == "bytearrays":
        images = [bytearray(image) for image in IMAGES]
    elif kind == "array of flags":
        same = np.array(SAME)
    elif kind == "numpy flags":
        same = [np.bool_(flag) for flag in SAME]
    value = (tuple(images), tuple(same)) if kind == "tuples" else (images, same)
    path = written(tmp_path / "lfw.bin", value, protocol)
    assert images_of(path) == IMAGES
    pairs = read_insightface_bin(path)
    assert pairs.same.tolist() == SAME
    assert (pairs.names[0], pairs.fold, pairs.identities) == ("lfw.bin#0", None, None)
    assert pairs.in_words() == f"{path}: 3 pairs of 6 images, 2 genuine (66.7 %), no folds"


def test_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    """As Python 2 writes them: text opcodes hold the bytes; protocol 0 spells them out."""
    images = IMAGES[:2]
    binary = b"\x80\x02]q\x00(" + b"".join(b"U" + bytes([len(i)]) + i + b"q\x01" for i in images)
    (tmp_path / "two.bin").write_bytes(binary + b"e]q\x03\x88a\x86q\x04.")
    assert images_of(tmp_path / "two.bin") == images
    quoted = b"".join(b"S" + repr(i)[1:].encode() + b"\np1\na" for i in images)
    (tmp_path / "zero.bin").write_bytes(b"((lp0\n" + quoted + b"(lp3\nI01\natp4\n.")
    assert images_of(tmp_path / "zero.bin") == images


def test_many_images_are_read(tmp_path: Path) -> None:
    images = [JPEG + struct.pack("<I", number) for number in range(5000)]
    path = written(tmp_path / "many.bin", (images, [True, False] * 1250), 2)
    assert images_of(path) == images


def test_an_image_that_occurs_twice_is_held_once(tmp_path: Path) -> None:
    one = JPEG * 1000
    path = written(tmp_path / "twice.bin", ([one] * 2000, [True] * 1000))
    pairs = read_insightface_bin(path)
    assert len(pairs.manifest) == 1
    assert pairs.first.tolist() == [0] * 1000


class Runs:
    """A pickle of it runs a command when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "payload",
    [Runs(os.system, "touch owned"), Runs(eval, "open('owned', 'w')"), Runs(getattr, "", "join"), Runs(np.load, "owned"), os.system],
    ids=["system", "eval", "getattr", "numpy", "a function"],
)  # fmt: skip
def test_hostile_pickles_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, payload: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "hostile.bin", ([payload, *IMAGES[1:]], SAME), protocol)
    with pytest.raises(InputError, match=r"wants to call .* nothing of it was run") as error:
        read_insightface_bin(path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "owned").exists()


BOMBS = {
    "a length of 16 EiB": b"\x80\x04\x8e" + b"\xff" * 8 + b"x.",
    "a length of 4 GiB": b"B\xff\xff\xff\xffx.",
    "a negative length": b"T\xff\xff\xff\xffx.",
    "a number of 2 GiB": b"\x8b\xff\xff\xff\x7f.",
    "a number of many digits": b"L" + b"9" * 100_000 + b"L\n.",
    "marks": b"(" * 200_000 + b".",
    "one text made to bytes again and again": b"c_codecs\nencode\nq\x00X\x10\x27\x00\x00" + b"x" * 10_000
    + b"q\x01X\x06\x00\x00\x00latin1q\x02\x86q\x03](" + b"h\x00h\x03R" * 1000 + b"e.",
    "a wider array than its bytes": pickle.dumps(np.zeros(3, np.uint8), 2).replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_in_little_memory(tmp_path: Path, bomb: str) -> None:
    import tracemalloc

    (tmp_path / "bomb.bin").write_bytes(BOMBS[bomb])
    tracemalloc.start()
    with pytest.raises(InputError, match="nothing of it was run") as error:
        read_insightface_bin(tmp_path / "bomb.bin")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(error.value)
    assert peak < 4e6


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ([1, 2, 3], "a pickle of a list of 3"),
        ("text", "a pickle of text"),
        ((IMAGES, SAME[:2]), "6 images for 2 pairs"),
        ((IMAGES[:5], SAME), "5 images for 3 pairs"),
        (([], []), "lists no pairs"),
        ((IMAGES, [True, 2, False]), "whether pair 1 is genuine is 2"),
        ((IMAGES, "no"), "which pairs are genuine is text"),
        (([*IMAGES[:5], None], SAME), "image 5 is None"),
        (([np.zeros((2, 2, 3), np.uint8)] * 6, SAME), "image 0 is pixels of shape \\(2, 2, 3\\)"),
        (([np.zeros(3, np.float32)] * 6, SAME), "array of type f4"),
        ({"bins": IMAGES}, "opcode"),
        ((IMAGES, [1.0, 0.0, 1.0]), "opcode"),
    ],
)
def test_what_is_no_list_of_pairs_is_one_line(tmp_path: Path, value: Any, line: str) -> None:
    path = written(tmp_path / "other.bin", value)
    with pytest.raises(InputError, match=line) as error:
        read_insightface_bin(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "a folder"])
def test_no_pickle_at_all_is_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "no.bin"
    if damage == "a folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(
            b"" if damage == "empty" else b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n"
        )
    with pytest.raises(InputError, match=r"no\.bin") as error:
        read_insightface_bin(path)
    assert "\n" not in str(error.value)


def said_of(data: bytes) -> str:
    """The message of a refusal; empty where it is read. Any other error fails the test."""
    try:
        read_plain(data, "damaged.bin")
    except InputError as error:
        return str(error)
    return ""


@given(st.integers(0, 5), st.data())
def test_a_damaged_pickle_is_refused_or_read_whatever_the_byte(protocol: int, data: st.DataObject) -> None:
    images = [np.frombuffer(IMAGES[0], np.uint8), IMAGES[1]]
    whole = bytearray(pickle.dumps((images, [True, np.bool_(False)]), protocol))
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        del whole[place:]
    else:
        whole[place] = data.draw(st.integers(0, 255))
    assert "\n" not in said_of(bytes(whole))


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_read(noise: bytes) -> None:
    assert "\n" not in said_of(noise)
