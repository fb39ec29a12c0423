"""Which column of a table says what, as the user names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ...mining.errors import InputError

BoxFormat = Literal["xyxy", "xywh"]
"""xyxy: left, top, right, bottom, the last two not included; xywh: left, top, width, height. In pixels."""


@dataclass(frozen=True)
class ColumnOptions:
    """Names of columns; one that is None is found by its customary name."""

    identity_column: str | None = None
    """Column that says who is in the image: strings or integers."""
    path_column: str | None = None
    """Column of image paths; when given, it is preferred to images inside a Parquet file."""
    split_column: str | None = None
    """Column of split names; an empty one is train."""
    no_split_column: bool = False
    """Whether no column says the split, whatever its name."""
    group_column: str | None = None
    """Column of what an evaluation pair must not share, such as a camera; empty where unknown."""
    no_group_column: bool = False
    """Whether no column says the group, whatever its name."""
    no_keep_column: bool = False
    """Whether a column `keep` says nothing."""
    box_columns: str | None = None
    """Four columns of a box, by commas, or one column of lists of four numbers."""
    box_format: BoxFormat | None = None
    """What the four numbers are, where the names of their columns do not say it."""
    no_box_columns: bool = False
    """Whether images are taken whole, although there are columns of boxes."""
    unlabelled: bool = False
    """Whether images are nobody's: identities are not looked for, and all are empty."""

    def __post_init__(self) -> None:
        for role in ("split", "group", "box"):
            named = f"{role}_columns" if role == "box" else f"{role}_column"
            if getattr(self, named) is not None and getattr(self, f"no_{named}"):
                option = named.replace("_", "-")
                raise InputError(f"--{option} and --no-{option} exclude each other; give one of them")
        if self.box_format is not None and self.box_format not in get_args(BoxFormat):
            raise InputError(f"--box-format {self.box_format}: give {' or '.join(get_args(BoxFormat))}")
