"""What a query came to: cells of a table for people, or rows of plain values for a program."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

LIST_SHOWN = 6
"""Values of a list that a cell shows."""
TEXT_SHOWN = 300
"""Characters that a cell shows."""
_NUMBERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
    "NUMBER",
    "INT",
)


@dataclass(frozen=True)
class Answer:
    """Columns with their types, and rows."""

    columns: Sequence[tuple[str, str]]
    """Names, and types as DuckDB calls them."""
    rows: Sequence[tuple[Any, ...]]
    more: bool = False
    """Whether there are more rows than these."""

    def cells(self) -> list[list[str]]:
        """A head and the rows, for people: long lists and texts cut, images as so many bytes.

        >>> Answer([("n", "BIGINT"), ("mean", "FLOAT[3]")], [(3, (0.25, -1.0, 0.5))]).cells()
        [['n', 'mean'], ['3', '[0.25, -1, 0.5]']]
        """
        return [self._names(), *([_cell(value) for value in row] for row in self.rows)]

    @property
    def text_columns(self) -> list[int]:
        """Which columns hold no numbers."""
        return [
            place
            for place, (_, kind) in enumerate(self.columns)
            if kind.endswith("]") or not kind.upper().lstrip("U").startswith(_NUMBERS)
        ]

    def to_json(self) -> list[dict[str, Any]]:
        """An object for each row, for a program: bytes in base64, what is no number as null.

        >>> Answer([("a", "DOUBLE"), ("a", "BLOB")], [(float("nan"), b"x")]).to_json()
        [{'a': None, 'a_1': 'eA=='}]
        """
        names = self._names()
        return [dict(zip(names, map(_plain, row), strict=True)) for row in self.rows]

    def _names(self) -> list[str]:
        """The names of the columns, each once."""
        names: list[str] = []
        for name, _ in self.columns:
            own, number = name, 0
            while own in names:
                number += 1
                own = f"{name}_{number}"
            names.append(own)
        return names


def _cell(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{len(value):,} bytes"
    if isinstance(value, (list, tuple)):
        shown = ", ".join(_cell(one) for one in value[:LIST_SHOWN])
        return f"[{shown}{f', ... {len(value):,} values' if len(value) > LIST_SHOWN else ''}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_cell(one)}" for key, one in value.items()) + "}"
    text = str(value)
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}..."


def _plain(value: Any) -> Any:
    """`value` as JSON has it."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return str(value)
