"""The recipe's files import one another as a script's do, from their own folder; fonts are small and made here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection

RECIPE = Path(__file__).resolve().parent.parent.parent / "data_manifests" / "glyphs"
sys.path[:0] = [str(RECIPE), str(RECIPE.parent)]

Box = tuple[int, int, int, int]
"""Left, bottom, right, top; 1000 to the em."""


def build_font(family: str, characters: Mapping[int, list[Box]]) -> FontBuilder:
    """A TrueType font whose characters are boxes; characters with equal boxes share one glyph."""
    shapes = {
        tuple(boxes): f"shape{i}" for i, boxes in enumerate(dict.fromkeys(map(tuple, characters.values())))
    }
    glyphs = {".notdef": TTGlyphPen(None).glyph()}
    for boxes, name in shapes.items():
        pen = TTGlyphPen(None)
        for left, bottom, right, top in boxes:
            pen.moveTo((left, bottom))
            for corner in ((left, top), (right, top), (right, bottom)):
                pen.lineTo(corner)
            pen.closePath()
        glyphs[name] = pen.glyph()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(list(glyphs))
    font.setupCharacterMap({code: shapes[tuple(boxes)] for code, boxes in characters.items()})
    font.setupGlyf(glyphs)
    font.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 0)))
    font.setupHorizontalHeader(ascent=900, descent=-100)
    font.setupNameTable({"familyName": family, "styleName": "Regular", "version": "Version 1.5"})
    font.setupOS2()
    font.setupPost()
    return font


@pytest.fixture
def make_font(tmp_path: Path) -> Callable[..., Path]:
    """Write a font file, or a collection where several faces are given, that share what tables they can."""

    def make(name: str, *faces: tuple[str, Mapping[int, list[Box]]]) -> Path:
        path = tmp_path / "fonts" / name
        path.parent.mkdir(exist_ok=True)
        fonts = [build_font(family, characters).font for family, characters in faces]
        if path.suffix == ".ttc":
            collection = TTCollection()
            collection.fonts = fonts
            collection.save(path, shareTables=True)
        else:
            fonts[0].save(path)
        return path

    return make
