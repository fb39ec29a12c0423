"""Pictures against the demo set's slow drawing, and the rules for blanks, placeholders and shared glyphs."""

from __future__ import annotations

from pathlib import Path

import draw_faces
import freetype
import make_demo
import matplotlib
import numpy as np
import pytest
from draw_faces import ENTRY, draw_file, unpack, without_placeholders

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
BAR, DOT = [(100, 0, 300, 700)], [(0, 0, 20, 20)]


@pytest.mark.parametrize("name", ["DejaVuSerif-Italic.ttf", "STIXGeneral.ttf"])
def test_pictures_are_those_of_the_demo_set(name: str) -> None:
    drawings = draw_file(FONTS / name)
    pictures = unpack(drawings.pictures)
    face = freetype.Face(str(FONTS / name))
    drawn = {entry["code"]: entry["picture"] for entry in drawings.entries}
    codes = sorted(code for code, _ in face.get_chars())[::7]
    compared = 0
    for code in codes:
        slow = make_demo.draw(face, code)
        if slow is None:
            assert code not in drawn
        elif code in drawn:  # not so for placeholders
            assert np.array_equal(pictures[drawn[code]] * 17, slow.ravel()), f"U+{code:04X}"
            compared += 1
    assert compared > 100


def test_blank_characters_and_placeholders_are_left_out(make_font) -> None:
    box = [(50, 50, 600, 600)]
    two = [*box, *BAR]
    nine, ten = range(0x4E00, 0x4E09), range(0x5000, 0x500A)
    path = make_font(
        "a.ttf",
        (
            "A",
            {0x41: BAR, 0x42: DOT, 0x43: [], **dict.fromkeys(nine, box), **dict.fromkeys(ten, two)},
        ),
    )
    drawings = draw_file(path)
    assert drawings.entries["code"].tolist() == [0x41, *nine]
    assert (drawings.blank, drawings.placeholders) == (2, 10)


def test_placeholders_are_counted_face_by_face() -> None:
    five = [(code, face, 7) for face in (0, 1) for code in range(5)]
    many = [(code, 2, 7) for code in range(draw_faces.PLACEHOLDER)]
    entries = np.array([*five, *many, (99, 2, 8)], ENTRY)
    assert without_placeholders(entries).tolist() == [*five, (99, 2, 8)]


def test_the_ink_is_centred_and_what_is_too_large_is_scaled_down(make_font) -> None:
    path = make_font("a.ttf", ("A", {0x41: [(-500, -900, 2500, 2100)], 0x42: [(900, 900, 1000, 1900)]}))
    drawings = draw_file(path)
    for picture, (width, height) in zip(unpack(drawings.pictures), [(30, 30), (3, 27)], strict=True):
        rows, columns = np.nonzero(picture.reshape(32, 32))
        for places, length in ((rows, height), (columns, width)):
            assert abs(places.min() + places.max() - 31) <= 1
            assert abs(places.max() + 1 - places.min() - length) <= 1


def test_faces_of_a_collection_draw_a_shared_glyph_once_and_their_own_ones_apart(
    make_font, monkeypatch
) -> None:
    square = [(0, 0, 500, 500)]
    # Equal shapes in equal order make equal glyf tables, which are shared; the third face has its own.
    path = make_font(
        "a.ttc",
        ("A", {0x41: BAR, 0x42: square}),
        ("A", {0x41: BAR, 0x43: square}),
        ("B", {0x41: square, 0x42: BAR}),
    )
    glyphs = []
    draw = draw_faces._draw
    monkeypatch.setattr(draw_faces, "_draw", lambda face, some: glyphs.extend(some) or draw(face, some))
    drawings = draw_file(path)
    assert len(glyphs) == 4
    told = [(entry["code"], entry["face"]) for entry in drawings.entries]
    assert told == [(0x41, 0), (0x41, 1), (0x41, 2), (0x42, 0), (0x42, 2), (0x43, 1)]
    picture = {pair: entry["picture"] for pair, entry in zip(told, drawings.entries, strict=True)}
    assert picture[0x41, 0] == picture[0x41, 1] == picture[0x42, 2]
    assert picture[0x42, 0] == picture[0x43, 1] == picture[0x41, 2] != picture[0x41, 0]


def test_what_is_no_font_draws_nothing(tmp_path: Path) -> None:
    path = tmp_path / "broken.ttf"
    path.write_bytes(b"\0\1\0\0 not a font")
    drawings = draw_file(path)
    assert (len(drawings.pictures), len(drawings.entries)) == (0, 0)
