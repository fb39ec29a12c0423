"""What a montage shows: rows of images with captions, before anything is decoded or drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """One image and what stands below it."""

    row: int | None
    """Row of the manifest, the `image_id`; None leaves the place free."""
    captions: tuple[str, ...] = ()
    spans: int = 1
    """How many cells wide the captions may be."""


@dataclass(frozen=True)
class SheetRow:
    """Images side by side."""

    cells: Sequence[Cell]
    label: tuple[str, ...] = ()
    """Lines left of them."""
    apart: str | None = None
    """A heading above this row, which also sets it apart; empty: a gap alone."""


@dataclass
class Sheet:
    """A montage: a title and rows."""

    title: str
    rows: list[SheetRow] = field(default_factory=list)
    lenient: bool = False
    """Whether the readable part of a damaged image is shown, too."""

    @property
    def images(self) -> list[int]:
        """The images in it, by their rows of the manifest."""
        return [cell.row for row in self.rows for cell in row.cells if cell.row is not None]

    def add_grid(self, cells: Sequence[Cell], columns: int = 10) -> None:
        """Append cells, so many in a row.

        >>> sheet = Sheet("seven images")
        >>> sheet.add_grid([Cell(number) for number in range(7)], columns=3)
        >>> [len(row.cells) for row in sheet.rows]
        [3, 3, 1]
        """
        self.rows += [SheetRow(cells[start : start + columns]) for start in range(0, len(cells), columns)]
