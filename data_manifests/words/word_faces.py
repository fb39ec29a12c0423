"""The faces that write words: which letters each has, and how these are drawn.

A face counts where it has all letters from a to z. A letter counts where it has an outline that few others of the face
share: many letters of one outline are its "missing glyph" box.

Shapes: F faces, G type families, n points.
"""

from __future__ import annotations

import ctypes
import hashlib
import string
from collections import Counter
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import NamedTuple

import freetype
import numpy as np
from fetch_fonts import FontFile
from font_faces import characters_of, name_of, open_faces
from freetype import raw
from word_families import NO_WRITING, word_family

from subspace.mining.errors import InputError

ASCENDING, DESCENDING = "bdhkl", "gpqy"
PLACEHOLDER = 5
"""An outline of as many letters is no letter: four look alike where a face has Latin, Greek and Cyrillic ones."""
MOST_POINTS = 1_900
"""Of a letter: FreeType counts the points of 16 of them in 15 bits."""

_FLAGS = freetype.FT_LOAD_NO_SCALE | freetype.FT_LOAD_NO_HINTING | freetype.FT_LOAD_NO_BITMAP


class Letter(NamedTuple):
    """The outline of a letter, in units of the font."""

    points_n2: np.ndarray
    tags: bytes
    ends: np.ndarray
    """int16: the last point of each contour."""
    advance: int


class FaceLetters(NamedTuple):
    """What a face writes with."""

    letters: dict[str, Letter]
    top: float
    """Of b, d, h, k and l, above the line; a median."""
    bottom: float
    """Of g, p, q and y, below it, so negative."""


class WordFace(NamedTuple):
    """One face; all but the last two fields are columns of faces.csv."""

    package: str
    package_version: str
    file: str
    sha256: str
    index: int
    name: str
    family: str
    font_version: str
    letters: str
    """Those that it has, of the alphabet that it was asked for."""
    path: Path


def word_faces(file: FontFile, alphabet: Collection[str]) -> list[WordFace]:
    """The faces of a font file that have all letters from a to z, and which letters of `alphabet` they have."""
    digest = hashlib.sha256(file.path.read_bytes()).hexdigest()
    faces = []
    for face in open_faces(file.path):
        name = name_of(face)
        if NO_WRITING.fullmatch(name.name) or (found := _letters(face, sorted(alphabet))) is None:
            continue
        where = (file.package, file.version, file.path.name, digest, face.face_index & 0xFFFF)
        faces.append(
            WordFace(
                *where,
                name.name,
                word_family(name.family),
                name.font_version,
                "".join(sorted(found.letters)),
                file.path,
            )
        )
    return faces


@cache
def letters_of(path: Path, index: int, letters: str) -> FaceLetters:
    """The letters of a face that `word_faces` found; kept for the life of the process."""
    for face in open_faces(path):
        if face.face_index & 0xFFFF == index and (found := _letters(face, list(letters))) is not None:
            return found
    raise InputError(f"{path} has changed while words were drawn; run the same command again")


class Coverage:
    """Which families, and which of their faces, have all letters of a word."""

    def __init__(self, faces: list[WordFace]) -> None:
        """`faces` in the order of the set."""
        self.families, family_F = np.unique([face.family for face in faces], return_inverse=True)
        self.faces_of = [np.flatnonzero(family_F == family) for family in range(len(self.families))]
        self.alphabet = "".join(sorted({letter for face in faces for letter in face.letters}))
        self._row = {letter: row for row, letter in enumerate(self.alphabet)}
        self.has_LF = np.zeros((len(self.alphabet), len(faces)), bool)
        for place, face in enumerate(faces):
            self.has_LF[[self._row[letter] for letter in face.letters], place] = True

    def of(self, word: str) -> np.ndarray:
        """Whether each face can write the word, bool[F]."""
        rows = [self._row.get(letter, -1) for letter in word]
        return self.has_LF[rows].all(0) if min(rows) >= 0 else np.zeros(self.has_LF.shape[1], bool)

    def families_of(self, words: list[str], longest: int) -> np.ndarray:
        """How many families can write each word, int16[W]; a family counts where one face has all letters.

        Letters that the same faces have are one kind, and words of the same kinds of letters are counted together.
        """
        kinds_KF, kind_L = np.unique(self.has_LF, axis=0, return_inverse=True)
        none = len(kinds_KF)  # of letters that no face has
        kind_of_code = np.full(max(map(ord, self.alphabet)) + 2, none)
        kind_of_code[list(map(ord, self.alphabet))] = kind_L.ravel()
        codes = np.array(words, f"U{longest}").view(np.uint32).reshape(len(words), longest)
        bits_of_kind = np.zeros(
            (none + 2, -(-(none + 1) // 64)), np.uint64
        )  # the last: behind the end of a word
        for kind in range(none + 1):
            bits_of_kind[kind, kind // 64] = np.uint64(1) << np.uint64(kind % 64)
        kind_of_code[0] = none + 1
        bits = np.bitwise_or.reduce(
            bits_of_kind[kind_of_code[np.minimum(codes, len(kind_of_code) - 1)]], axis=1
        )
        different, which = np.unique(bits, axis=0, return_inverse=True)
        has = (different[:, :, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)).astype(bool)
        has_UK = has.reshape(len(different), -1)[:, : none + 1]
        count = np.zeros(len(different), np.int16)
        for place, kinds_K in enumerate(has_UK):
            if not kinds_K[none]:
                can_F = kinds_KF[kinds_K[:none]].all(0)
                count[place] = sum(bool(can_F[own].any()) for own in self.faces_of)
        return count[which.ravel()]


def _letters(face: freetype.Face, wanted: list[str]) -> FaceLetters | None:
    listed = dict(characters_of(face))
    if not set(map(ord, string.ascii_lowercase)) <= listed.keys():
        return None
    glyphs = {letter: listed[ord(letter)] for letter in wanted if ord(letter) in listed}
    glyphs |= {letter: listed[ord(letter)] for letter in string.ascii_lowercase}
    drawn = {letter: made for letter, glyph in glyphs.items() if (made := _outline(face, glyph)) is not None}
    alike = Counter(letter.points_n2.tobytes() for letter in drawn.values())
    drawn = {
        name: letter for name, letter in drawn.items() if alike[letter.points_n2.tobytes()] < PLACEHOLDER
    }
    if not set(string.ascii_lowercase) <= drawn.keys():
        return None
    top = np.median([drawn[letter].points_n2[:, 1].max() for letter in ASCENDING])
    bottom = np.median([drawn[letter].points_n2[:, 1].min() for letter in DESCENDING])
    if top <= 0 or top <= bottom:
        return None
    kept = {name: letter for name, letter in drawn.items() if name in wanted}
    return FaceLetters(kept, float(top), float(bottom))


def _outline(face: freetype.Face, glyph: int) -> Letter | None:
    if raw.FT_Load_Glyph(face._FT_Face, glyph, _FLAGS):
        return None
    slot = face._FT_Face.contents.glyph.contents
    outline, count = slot.outline, slot.outline.n_points
    if slot.format != freetype.FT_GLYPH_FORMAT_OUTLINE or not 0 < count <= MOST_POINTS:
        return None
    # FT_Vector is two C longs: eight bytes each but on Windows.
    width = ctypes.sizeof(ctypes.c_long)
    points = np.frombuffer(
        ctypes.string_at(outline.points, 2 * width * count), np.dtype(f"i{width}")
    ).reshape(count, 2)
    tags = ctypes.string_at(outline.tags, count)
    ends = np.frombuffer(ctypes.string_at(outline.contours, 2 * outline.n_contours), np.int16)
    return Letter(points.astype(np.int64), tags, ends, int(slot.metrics.horiAdvance))
