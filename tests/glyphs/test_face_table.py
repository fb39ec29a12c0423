"""The faces of a set: their order, which characters count, and what each size is made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_fonts import draw_font
from face_table import face_table, is_named
from fetch_fonts import FontFile
from make_glyphs import SIZES, recipe_of

BAR, SQUARE = [(100, 0, 300, 700)], [(0, 0, 500, 500)]
PRIVATE, UNASSIGNED = 0xF0000, 0x0378


def test_private_characters_count_only_of_packages_that_agree_on_them(make_font, tmp_path: Path) -> None:
    characters = {0x2041: BAR, 0x41: SQUARE, PRIVATE: BAR, UNASSIGNED: SQUARE}
    files = [
        FontFile(make_font(f"{name}.ttf", (name, characters)), name, "1") for name in ("fonts-a", "fonts-b")
    ]
    folders = [draw_font(file.path, tmp_path / "drawn") for file in files]
    table = face_table(files, folders, private_use=["fonts-b"])
    drawn = [(hex(entry["code"]), entry["face"]) for entry in table.drawn]
    assert drawn == [("0x41", 0), ("0x41", 1), ("0x2041", 0), ("0x2041", 1), ("0xf0000", 1)]
    assert table.nameless == 3
    assert [(face.package, face.family, face.characters) for face in table.faces] == [
        ("fonts-a", "fonts-a", 2),
        ("fonts-b", "fonts-b", 3),
    ]


def test_identities_are_in_the_order_of_their_names(make_font, tmp_path: Path) -> None:
    codes = [0x41, 0x3B1, 0x4E00, 0x1F600, 0x20000]
    path = make_font("a.ttf", ("A", dict.fromkeys(codes, BAR)))
    table = face_table([FontFile(path, "", "")], [draw_font(path, tmp_path / "drawn")])
    names = [f"U+{code:04X}" for code in table.drawn["code"].tolist()]
    assert names == sorted(names)
    assert sorted(table.drawn["code"].tolist()) == codes


def test_a_face_without_a_character_is_left_out(make_font, tmp_path: Path) -> None:
    faces = ("A", {0x41: BAR}), ("B", {PRIVATE: BAR}), ("C", {0x42: BAR})
    path = make_font("a.ttc", *faces)
    table = face_table([FontFile(path, "", "")], [draw_font(path, tmp_path / "drawn")])
    assert [(face.family, face.index) for face in table.faces] == [("A", 0), ("C", 2)]
    assert table.drawn["face"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("code", "named"), [(0x41, True), (0x4E00, True), (0xE000, False), (UNASSIGNED, False)]
)
def test_a_name_is_what_unicode_assigns(code: int, named: bool) -> None:
    assert is_named(code, private=False) == named


def test_each_size_adds_packages_to_the_one_before() -> None:
    before: tuple[str, ...] = ()
    for size in SIZES:
        recipe = recipe_of(size)
        assert recipe.packages[: len(before)] == before
        assert len(set(recipe.packages)) == len(recipe.packages) > len(before)
        assert set(recipe.private_use) <= set(recipe.packages)
        before = recipe.packages
