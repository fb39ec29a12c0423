"""The characters of a font file, drawn at 32×32 in 16 grey levels: light ink on black, the ink's box centred.

Drawn as the demo set is: 27 pixels to the em, scaled down where the ink would be larger than 30. A glyph is drawn
once for all the characters and faces that share it. 16 levels keep later arithmetic on the pictures exact in
float32, so that no machine's rounding decides which pictures are near repeats, and pack two pixels into a byte.

FreeType draws into our array through the plain functions of freetype-py: 44,000 to 66,000 glyphs/s on one core.

Shapes: E entries (a face's drawing of a character), R pictures, 512 bytes = 32 × 32 pixels of 4 bits.
"""

from __future__ import annotations

import ctypes
import unicodedata
from pathlib import Path
from typing import NamedTuple

import freetype
import numpy as np
from font_faces import characters_of, open_faces, outline_keys
from freetype import raw

SIDE, EM, INK = 32, 27, 30
"""Pixels: the image, the font size, the largest drawing (larger ones are scaled, not cut)."""
LEAST_INK, DARK = 8, 4
"""A picture with fewer than 8 pixels of level 4 or more is blank."""
PLACEHOLDER = 10
"""A picture that stands for this many characters of one face is its "missing glyph" box."""
PICTURE_BYTES = SIDE * SIDE // 2
ENTRY = np.dtype([("code", np.int32), ("face", np.int32), ("picture", np.int32)])

_BLOCK = 4_096
_ATTEMPTS = 4  # to scale a glyph down; one is enough but for broken fonts
_FLAGS = freetype.FT_LOAD_NO_HINTING | freetype.FT_LOAD_NO_BITMAP
_NOT_DRAWN = ("Cc", "Cs")  # controls and surrogates


class Drawings(NamedTuple):
    """What the faces of a font file draw."""

    pictures: np.ndarray
    """uint8[R, 512]: the distinct ones, two pixels a byte, the left one in the high bits."""
    entries: np.ndarray
    """ENTRY[E]: character, index of the face in the file, row of `pictures`; by character, then face."""
    blank: int
    """Entries left out because nothing, or next to nothing, is drawn."""
    placeholders: int
    """Entries left out because their picture is a placeholder."""


def draw_file(path: Path) -> Drawings:
    """Draw every character of every face of a font file."""
    pictures: dict[bytes, int] = {}
    drawn: dict[tuple[tuple[int, ...], int], int] = {}  # row of the picture of a glyph; -1: blank
    entries = []
    faces = open_faces(path)
    keys = outline_keys(path) if faces else []
    for face in faces:
        index = face.face_index & 0xFFFF
        listed = [
            pair for pair in characters_of(face) if unicodedata.category(chr(pair[0])) not in _NOT_DRAWN
        ]
        new = sorted({glyph for _, glyph in listed if (keys[index], glyph) not in drawn})
        for start in range(0, len(new), _BLOCK):
            glyphs = new[start : start + _BLOCK]
            packed, blank = _pack(_draw(face, glyphs))
            for glyph, picture, empty in zip(glyphs, packed, blank, strict=True):
                row = -1 if empty else pictures.setdefault(picture.tobytes(), len(pictures))
                drawn[keys[index], glyph] = row
        entries += [(code, index, drawn[keys[index], glyph]) for code, glyph in listed]
    table = np.array(entries, ENTRY)
    inked = table[table["picture"] >= 0]
    kept = without_placeholders(inked)
    rows = np.frombuffer(b"".join(pictures), np.uint8).reshape(-1, PICTURE_BYTES)
    blank, placeholders = len(table) - len(inked), len(inked) - len(kept)
    return Drawings(rows, np.sort(kept, order=("code", "face")), blank, placeholders)


def without_placeholders(entries: np.ndarray) -> np.ndarray:
    """The entries (ENTRY[E]) whose picture stands for fewer than `PLACEHOLDER` characters of their face."""
    if not len(entries):
        return entries
    _, which, count = np.unique(entries[["face", "picture"]], return_inverse=True, return_counts=True)
    return entries[count[which] < PLACEHOLDER]


def unpack(packed: np.ndarray) -> np.ndarray:
    """Grey levels 0 to 15, uint8[n, 1024], of packed pictures, uint8[n, 512]."""
    return np.stack([packed >> 4, packed & 15], axis=2).reshape(len(packed), SIDE * SIDE)


def _pack(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Packed pictures, uint8[n, 512], of grey values, uint8[n, 1024]; and which of them are blank, bool[n]."""
    levels = ((grey.astype(np.uint16) + 8) // 17).astype(np.uint8)
    return levels[:, ::2] << 4 | levels[:, 1::2], (levels >= DARK).sum(1) < LEAST_INK


def _draw(face: freetype.Face, glyphs: list[int]) -> np.ndarray:
    """Grey values of glyphs, uint8[n, 1024]; zeros where there is no outline or it is broken."""
    grey = np.zeros((len(glyphs), SIDE * SIDE), np.uint8)
    library, font = freetype.get_handle(), face._FT_Face
    outline = font.contents.glyph.contents.outline
    box, bitmap = raw.FT_BBox(), raw.FT_Bitmap()
    bitmap.rows = bitmap.width = bitmap.pitch = SIDE
    bitmap.num_grays, bitmap.pixel_mode = 256, freetype.FT_PIXEL_MODE_GRAY
    to_outline, to_box, to_bitmap = ctypes.byref(outline), ctypes.byref(box), ctypes.byref(bitmap)
    full = EM * 64  # in 1/64 pixel, as are all lengths of an outline
    face.set_char_size(full, 0, 72, 72)
    for row, glyph in enumerate(glyphs):
        size = full
        for _ in range(_ATTEMPTS):
            if raw.FT_Load_Glyph(font, glyph, _FLAGS) or raw.FT_Outline_Get_BBox(to_outline, to_box):
                break
            width, height = box.xMax - box.xMin, box.yMax - box.yMin
            longest = max(width, height)
            if longest <= INK * 64:
                right, up = SIDE * 32 - width // 2 - box.xMin, SIDE * 32 - height // 2 - box.yMin
                raw.FT_Outline_Translate(to_outline, right, up)
                bitmap.buffer = ctypes.cast(grey.ctypes.data + row * SIDE * SIDE, type(bitmap.buffer))
                raw.FT_Outline_Get_Bitmap(library, to_outline, to_bitmap)
                break
            size = max(64, size * (INK * 64 - 4) // longest)
            face.set_char_size(size, 0, 72, 72)
        if size != full:
            face.set_char_size(full, 0, 72, 72)
    return grey
