"""A sheet of images as one picture, drawn by Pillow with the font that it brings along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ...mining.errors import InputError
from ..pictures.run_images import placeholder
from ..terminal_text import printable_line
from .sheet import Sheet, SheetRow

SIDE = 96
"""Pixels of the longer side of an image; smaller ones are enlarged by whole numbers, pixel by pixel."""
SPACE, MARGIN, APART, BETWEEN = 6, 16, 14, 28
"""Pixels between images, around all, between groups, between columns."""
SHAPE = 1.4
"""Width over height that columns come near to."""
TEXT, LINE, TITLE = 12, 15, 18
"""Pixels: size of the captions, height of their lines, size of the title."""
MOST_PIXELS = 120_000_000
"""Pixels of a montage; larger ones are refused before anything is decoded."""
LABELS_AT_MOST = 260
GROUND, INK, SOFT, RULE = (255, 255, 255), (32, 33, 36), (95, 99, 104), (218, 220, 224)

Picture = Callable[[int], Image.Image | None]


def draw_montage(sheet: Sheet, picture: Picture) -> Image.Image:
    """Draw a sheet; a long one in columns, as a newspaper is set.

    Args:
        picture: the image of a row of the manifest, at most `SIDE` pixels; None where it cannot be read.

    Raises:
        InputError: it would be larger than any viewer opens.
    """
    labels = [line for row in sheet.rows for line in row.label]
    left = min(LABELS_AT_MOST, max(map(_width, labels))) + 2 * SPACE if labels else 0
    wide = left + max((len(row.cells) for row in sheet.rows), default=0) * (SIDE + SPACE)
    columns = _columns(sheet.rows, wide)
    heading = TITLE + 2 * SPACE + 4
    width = 2 * MARGIN + len(columns) * (wide + BETWEEN) - BETWEEN
    width = max(width, 2 * MARGIN + int(_font(TITLE).getlength(_spelt(sheet.title))) + 1)
    height = 2 * MARGIN + heading + max(sum(map(_height, column)) for column in columns)
    if width * height > MOST_PIXELS:
        raise InputError(
            f"a montage of {len(sheet.images):,} images would be {width:,} x {height:,} pixels; ask for fewer with --images"
        )
    canvas = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, MARGIN), _shown(sheet.title, TITLE, width - 2 * MARGIN), INK, _font(TITLE))
    for number, column in enumerate(columns):
        x, top = MARGIN + number * (wide + BETWEEN), MARGIN + heading
        for row in column:
            top = _begin(draw, row, x, top, wide)
            _lines(draw, row.label, x, top, left - 2 * SPACE)
            for place, cell in enumerate(row.cells):
                at = x + left + place * (SIDE + SPACE)
                if cell.row is not None:
                    _paste(canvas, picture(cell.row), at, top)
                _lines(draw, cell.captions, at, top + SIDE + 2, cell.spans * (SIDE + SPACE) - SPACE)
            top += _own_height(row)
    return canvas


def _columns(rows: Sequence[SheetRow], wide: int) -> list[list[SheetRow]]:
    """Rows in columns of about the same height, so many that the whole is somewhat wider than high."""
    total = sum(map(_height, rows))
    count = max(1, round((SHAPE * total / (wide + BETWEEN)) ** 0.5))
    columns: list[list[SheetRow]] = [[]]
    height = 0
    for row in rows:
        if columns[-1] and len(columns) < count and height + _height(row) / 2 > total / count:
            columns.append([])
            height = 0
        columns[-1].append(row)
        height += _height(row)
    return columns


def _begin(draw: ImageDraw.ImageDraw, row: SheetRow, left: int, top: int, wide: int) -> int:
    """Set a row apart from those above it; return where it begins."""
    if row.apart is None:
        return top
    draw.line((left, top + APART // 2, left + wide - SPACE, top + APART // 2), RULE)
    top += APART
    if row.apart:
        draw.text((left, top), _shown(row.apart, TEXT, wide), SOFT, _font(TEXT))
        top += LINE + 4
    return top


def _paste(canvas: Image.Image, found: Image.Image | None, x: int, y: int) -> None:
    """An image in the middle of its square; a cross where there is none."""
    shown = placeholder(SIDE, SIDE) if found is None else found
    factor = SIDE // max(shown.size)
    if factor > 1:  # as it is, pixel by pixel: a smooth one would show more than the network sees
        shown = shown.resize((shown.width * factor, shown.height * factor), Image.Resampling.NEAREST)
    canvas.paste(shown, (x + (SIDE - shown.width) // 2, y + (SIDE - shown.height) // 2))


def _lines(draw: ImageDraw.ImageDraw, lines: Sequence[str], x: int, y: int, room: int) -> None:
    """Lines of text, the first in black, each cut where there is no more room."""
    for number, line in enumerate(lines):
        draw.text((x, y + number * LINE), _shown(line, TEXT, room), INK if number == 0 else SOFT, _font(TEXT))


def _height(row: SheetRow) -> int:
    """Pixels of a row with what sets it apart."""
    above = 0 if row.apart is None else APART + (LINE + 4 if row.apart else 0)
    return above + _own_height(row)


def _own_height(row: SheetRow) -> int:
    lines = max((len(cell.captions) for cell in row.cells), default=0)
    return max(SIDE + lines * LINE + (4 if lines else 0), len(row.label) * LINE) + SPACE


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@cache
def _is_drawn(character: str) -> bool:
    """Whether the font has a character; what it lacks would be one and the same empty box."""
    if character.isascii():
        return True
    own: Any
    missing: Any
    own, missing = (_font(TEXT).getmask(one) for one in (character, "\uffff"))
    return (own.size, bytes(own)) != (missing.size, bytes(missing))


def _width(text: str) -> int:
    return int(_font(TEXT).getlength(_spelt(text))) + 1


def _spelt(text: str) -> str:
    """Text in one line; what the font lacks is spelt out, as names of all scripts are told apart."""
    line = printable_line(text)
    return "".join(one if _is_drawn(one) else one.encode("unicode_escape").decode() for one in line)


def _shown(text: str, size: int, room: float) -> str:
    """`text`, cut where it is wider than `room` pixels."""
    text, font = _spelt(text), _font(size)
    if font.getlength(text) <= room:
        return text
    low, high = 0, len(text)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(text[:middle] + "...") <= room else (low, middle - 1)
    return text[:low] + "..."
