"""Faces and what they draw: letters side by side, fitted to the picture, the same for the same word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from draw_words import HEIGHT, MARGIN, WIDTH, choose_faces, draw_word
from fetch_fonts import FontFile, list_fonts
from PIL import Image, ImageDraw, ImageFont
from word_faces import Coverage, WordFace, letters_of, word_faces
from word_families import word_family

from .conftest import FONTS

ALPHABET = "abcdefghijklmnopqrstuvwxyzäéßбвгжя"
MIDDLE = np.array([0.5, 0.5, 0.5])


@pytest.fixture(scope="module")
def faces(word_sources: Path) -> list[WordFace]:
    files = list_fonts(word_sources / "fonts")
    return [face for file in files[:-1] for face in word_faces(file, ALPHABET)]


def grey(word: str, face: WordFace, numbers: np.ndarray = MIDDLE) -> np.ndarray:
    packed = np.frombuffer(
        draw_word(word, letters_of(face.path, face.index, face.letters), numbers), np.uint8
    )
    return np.stack([packed >> 4, packed & 15], axis=-1).reshape(HEIGHT, WIDTH).astype(float)


def test_a_word_looks_as_pillow_draws_it(faces: list[WordFace]) -> None:
    """Pillow lays letters out by the same advances where there is no kerning; sizes and places are made equal."""
    serif = next(face for face in faces if face.file == "DejaVuSerif.ttf")
    ours = grey("häuslich", serif)
    ys, xs = np.nonzero(ours >= 8)
    font = ImageFont.truetype(str(serif.path), 200, layout_engine=ImageFont.Layout.BASIC)
    canvas = Image.new("L", (2_000, 400))
    ImageDraw.Draw(canvas).text((50, 50), "häuslich", fill=255, font=font, features=None)
    part = canvas.crop(canvas.getbbox()).resize((np.ptp(xs) + 1, np.ptp(ys) + 1), Image.Resampling.BOX)
    mine = ours[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    assert np.corrcoef(mine.ravel(), np.asarray(part, float).ravel())[0, 1] > 0.9


def test_a_long_word_is_condensed_and_none_touches_the_edge(faces: list[WordFace]) -> None:
    for face in faces:
        for word in ("wwwwwwwwwwwwwwww", "ill", "nose", "jfjfjf"):
            for numbers in np.random.default_rng(0).random((5, 3)):
                drawn = grey(word, face, numbers)
                rows, columns = np.nonzero(drawn)
                assert rows.size > 20
                assert columns.min() >= MARGIN - 1
                assert columns.max() <= WIDTH - MARGIN
                assert rows.min() >= 1 - 1
                if word[0] == "w":
                    assert np.ptp(columns) > WIDTH - 2 * MARGIN - 3


def test_letters_without_heads_stay_small(faces: list[WordFace]) -> None:
    for face in faces:
        heights = {word: np.ptp(np.nonzero(grey(word, face) >= 4)[0]) for word in ("nose", "glad")}
        assert heights["nose"] < 0.75 * heights["glad"]


def test_faces_of_a_word_are_of_other_families_and_have_its_letters(faces: list[WordFace]) -> None:
    coverage = Coverage(faces)
    words = ["abc", "größe", "бжя", "äaé", "hello", "unknownж", "qqq"]
    longest = max(map(len, words))
    counted = coverage.families_of(words, longest)
    for word, families in zip(words, counted.tolist(), strict=True):
        can = {face.family for face in faces if set(word) <= set(face.letters)}
        assert families == len(can)
        chosen = choose_faces(word, coverage, 4)
        assert len(chosen) == min(4, len(can))
        assert len({faces[face].family for face, _ in chosen}) == len(chosen)
        assert all(set(word) <= set(faces[face].letters) for face, _ in chosen)
        two = choose_faces(word, coverage, 2)
        assert [(face, numbers.tolist()) for face, numbers in two] == [
            (face, numbers.tolist()) for face, numbers in chosen[:2]
        ]


def test_every_face_of_a_family_is_drawn(faces: list[WordFace]) -> None:
    coverage = Coverage(faces)
    drawn = {
        face
        for number in range(200)
        for face, _ in choose_faces(f"x{'abcdefgh'[number % 8] * (number // 8 + 1)}", coverage, 4)
    }
    assert drawn == set(range(len(faces)))


def test_a_box_for_a_missing_letter_is_no_letter(tmp_path: Path, faces: list[WordFace]) -> None:
    from fontTools.ttLib import TTFont

    font = TTFont(FONTS / "DejaVuSerif.ttf")
    for table in font["cmap"].tables:
        table.cmap.update({ord(letter): "B" for letter in "äéßбвгжя"})
    font.save(tmp_path / "boxes.ttf")
    (face,) = word_faces(FontFile(tmp_path / "boxes.ttf", "", ""), ALPHABET)
    assert face.letters == "abcdefghijklmnopqrstuvwxyz"
    whole = next(one for one in faces if one.file == "DejaVuSerif.ttf")
    assert whole.letters == "".join(sorted(ALPHABET))


def test_a_font_without_the_alphabet_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    assert word_faces(FontFile(tmp_path / "broken.ttf", "", ""), ALPHABET) == []
    assert word_faces(FontFile(FONTS / "STIXNonUni.ttf", "", ""), ALPHABET) == []


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Nimbus Sans Narrow", "Helvetica"),
        ("Liberation Serif", "Times"),
        ("Liberation Mono", "Courier"),
        ("DejaVu Sans Condensed", "DejaVu Sans"),
        ("CMU Typewriter Text", "Computer Modern"),
        ("Lato Semibold", "Lato"),
        ("Kristi", "Kristi"),
    ],
)
def test_cuts_of_one_design_are_one_family(name: str, family: str) -> None:
    assert word_family(name) == family
