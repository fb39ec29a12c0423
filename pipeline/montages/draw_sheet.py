"""A sheet of images as one picture, drawn by Pillow with the font that it brings along."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from ...mining.errors import InputError
from ..pictures.run_images import placeholder
from ..terminal_text import printable_line
from .sheet import Cell, Sheet, SheetRow

SIDE = 96
"""Pixels of the longer side of an image; smaller ones are enlarged by whole numbers, pixel by pixel."""
SPACE, MARGIN, APART = 6, 16, 14
"""Pixels between images, around all, and between groups."""
TEXT, LINE, TITLE = 12, 15, 18
"""Pixels: size of the captions, height of their lines, size of the title."""
MOST_PIXELS = 120_000_000
"""Of a montage; larger ones are refused before anything is decoded."""
LABELS_AT_MOST = 260
GROUND, INK, SOFT, RULE = (255, 255, 255), (32, 33, 36), (95, 99, 104), (218, 220, 224)

Picture = Callable[[int], Image.Image | None]


def draw_sheet(sheet: Sheet, picture: Picture) -> Image.Image:
    """Draw a sheet.

    Args:
        picture: the image of a row of the manifest, at most `SIDE` pixels; None where it cannot be read.

    Raises:
        InputError: it would be larger than any viewer opens.
    """
    labels = [line for row in sheet.rows for line in row.label]
    left = min(LABELS_AT_MOST, max(map(_width, labels))) + 2 * SPACE if labels else 0
    columns = max((len(row.cells) for row in sheet.rows), default=0)
    heading = TITLE + 2 * SPACE + 4
    width = 2 * MARGIN + left + columns * (SIDE + SPACE)
    width = max(width, 2 * MARGIN + int(_font(TITLE).getlength(sheet.title)) + 1)
    height = 2 * MARGIN + heading + sum(map(_height, sheet.rows))
    if width * height > MOST_PIXELS:
        raise InputError(
            f"a montage of {len(sheet.images):,} images would be {width:,} x {height:,} pixels; ask for fewer with --images"
        )
    canvas = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, MARGIN), _shown(sheet.title, TITLE, width - 2 * MARGIN), INK, _font(TITLE))
    top = MARGIN + heading
    for row in sheet.rows:
        top = _begin(draw, row, top, width)
        for number, line in enumerate(row.label):
            at = (MARGIN, top + number * LINE)
            draw.text(at, _shown(line, TEXT, left - 2 * SPACE), INK if number == 0 else SOFT, _font(TEXT))
        for place, cell in enumerate(row.cells):
            x = MARGIN + left + place * (SIDE + SPACE)
            if cell.row is not None:
                _paste(canvas, picture(cell.row), x, top)
            _caption(draw, cell, x, top + SIDE + 2)
        top += _own_height(row)
    return canvas


def _begin(draw: ImageDraw.ImageDraw, row: SheetRow, top: int, width: int) -> int:
    """Set a row apart from those above it; return where it begins."""
    if row.apart is None:
        return top
    draw.line((MARGIN, top + APART // 2, width - MARGIN, top + APART // 2), RULE)
    top += APART
    if row.apart:
        draw.text((MARGIN, top), _shown(row.apart, TEXT, width - 2 * MARGIN), SOFT, _font(TEXT))
        top += LINE + 4
    return top


def _paste(canvas: Image.Image, found: Image.Image | None, x: int, y: int) -> None:
    """An image in the middle of its square; a cross where there is none."""
    shown = placeholder(SIDE, SIDE) if found is None else found
    factor = SIDE // max(shown.size)
    if factor > 1:  # as it is, pixel by pixel: a smooth one would show more than the network sees
        shown = shown.resize((shown.width * factor, shown.height * factor), Image.Resampling.NEAREST)
    canvas.paste(shown, (x + (SIDE - shown.width) // 2, y + (SIDE - shown.height) // 2))


def _caption(draw: ImageDraw.ImageDraw, cell: Cell, x: int, y: int) -> None:
    room = cell.spans * (SIDE + SPACE) - SPACE
    for number, line in enumerate(cell.captions):
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
