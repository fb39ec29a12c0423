"""A sheet as a picture: images where they belong, names harmless, long sheets in columns."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from subspace.mining.errors import InputError
from subspace.pipeline.montages.draw_sheet import MARGIN, SIDE, _shown, draw_montage
from subspace.pipeline.montages.sheet import Cell, Sheet, SheetRow

RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(row: int) -> Image.Image | None:
    return None if row == 9 else Image.new("RGB", (32, 32), RED if row == 0 else BLUE)


def count(image: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(image) == colour).all(axis=2).sum())


def test_every_image_is_drawn_whole_and_enlarged_by_pixels() -> None:
    sheet = Sheet(
        "three",
        [SheetRow([Cell(0, ("one",)), Cell(1), Cell(None)], ("label",)), SheetRow([Cell(9)], apart="rest")],
    )
    drawn = draw_montage(sheet, picture)
    assert count(drawn, RED) == count(drawn, BLUE) == SIDE * SIDE
    red = np.argwhere((np.asarray(drawn) == RED).all(axis=2))
    assert tuple(red.max(0) - red.min(0)) == (SIDE - 1, SIDE - 1)
    assert red[:, 1].min() > MARGIN + 20  # right of its label


def test_long_sheets_are_set_in_columns() -> None:
    sheet = Sheet("many", [SheetRow([Cell(0)], (str(number),)) for number in range(60)])
    drawn = draw_montage(sheet, picture)
    assert count(drawn, RED) == 60 * SIDE * SIDE
    assert 0.7 < drawn.width / drawn.height < 2.5


def test_too_large_a_picture_is_refused_before_any_image_is_read() -> None:
    def never(row: int) -> None:
        raise AssertionError(row)

    sheet = Sheet("too many", [SheetRow([Cell(0)] * 100)] * 200)
    with pytest.raises(InputError, match="ask for fewer with --images"):
        draw_montage(sheet, never)


def test_names_are_one_line_told_apart_and_cut() -> None:
    assert _shown("Ann\x1b[2J\nBob", 12, 1000) == "Ann\\x1b[2J\\nBob"
    assert _shown("\u6f22", 12, 1000) == "\\u6f22"  # which Pillow's font would draw as an empty box
    assert _shown("Zoe", 12, 1000) == "Zoe"
    assert _shown("W" * 100, 12, 60).endswith("...")
    assert len(_shown("W" * 100, 12, 60)) < 10
