"""The faces of a font file: how they are called, and which of them share their outlines.

A collection (.ttc) holds several faces. Those of Noto CJK differ in which glyph a character gets and share the
glyphs themselves, so that one drawing of a glyph serves all of them.
"""

from __future__ import annotations

import ctypes
import struct
from pathlib import Path
from typing import NamedTuple

import freetype
from freetype import raw

UNICODE_NAMES = (0, 3)  # platforms whose names are UTF-16
VERSION_NAME = 5
SINGLE = (b"\0\1\0\0", b"OTTO", b"true")
"""How files of one face begin that have a table directory."""


class FaceName(NamedTuple):
    """What a font file says of one of its faces."""

    name: str
    """The PostScript name, else the family's."""
    family: str
    """Of the name table: it may hold a weight or a region."""
    font_version: str


def open_faces(path: Path) -> list[freetype.Face]:
    """The scalable faces of a file; [] where FreeType cannot read it, or it holds bitmaps alone."""
    try:
        first = freetype.Face(str(path))
        others = [freetype.Face(str(path), index) for index in range(1, first.num_faces)]
    except freetype.FT_Exception:
        return []
    return [face for face in (first, *others) if face.is_scalable]


def name_of(face: freetype.Face) -> FaceName:
    """Its names, as text without control characters."""
    family = _text(face.family_name)
    texts = [face.get_sfnt_name(i) for i in range(face.sfnt_name_count)]
    versions = [
        name.string.decode("utf-16-be" if name.platform_id in UNICODE_NAMES else "latin-1", "replace")
        for name in texts
        if name.name_id == VERSION_NAME
    ]
    return FaceName(_text(face.postscript_name) or family, family, _text(min(versions, default="")))


def characters_of(face: freetype.Face) -> list[tuple[int, int]]:
    """(code point, glyph) of every character that the face lists, by code point; [] without a Unicode table."""
    if face.charmap is None or face.charmap.encoding_name != "FT_ENCODING_UNICODE":
        return []
    glyph, listed = ctypes.c_uint(), []
    code = raw.FT_Get_First_Char(face._FT_Face, ctypes.byref(glyph))
    while glyph.value:
        listed.append((code, glyph.value))
        code = raw.FT_Get_Next_Char(face._FT_Face, code, ctypes.byref(glyph))
    return listed


def outline_keys(path: Path) -> list[tuple[int, ...]]:
    """For each face of a file, where its outlines and its scale lie in it: faces with equal keys share glyphs."""
    data = path.read_bytes()
    starts = (0,)
    if data[:4] == b"ttcf":
        (count,) = struct.unpack_from(">I", data, 8)
        starts = struct.unpack_from(f">{count}I", data, 12)
    elif data[:4] not in SINGLE:
        return [()]
    keys = []
    for start in starts:
        (tables,) = struct.unpack_from(">H", data, start + 4)
        entries = (struct.unpack_from(">4sIII", data, start + 12 + 16 * i) for i in range(tables))
        place = {tag: offset for tag, _, offset, _ in entries}
        keys.append(tuple(place.get(tag, -1) for tag in (b"CFF ", b"CFF2", b"glyf", b"loca", b"head")))
    return keys


def _text(name: bytes | str | None) -> str:
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name or ""
    return "".join(letter for letter in text if letter.isprintable()).strip()
