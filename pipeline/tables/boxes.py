"""Columns that say which part of an image counts: found by their customary names, and made corners in whole pixels."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from ...mining.errors import InputError
from ...mining.schemas import BOX
from .column_options import BoxFormat, ColumnOptions
from .label_text import is_text, names_in_words, whole_numbers

_FORMS: tuple[tuple[BoxFormat, tuple[str, str, str, str]], ...] = (
    ("xyxy", ("x1", "y1", "x2", "y2")),
    ("xyxy", ("xmin", "ymin", "xmax", "ymax")),
    ("xyxy", ("minx", "miny", "maxx", "maxy")),
    ("xyxy", ("x0", "y0", "x1", "y1")),
    ("xyxy", ("left", "top", "right", "bottom")),
    ("xywh", ("left", "top", "width", "height")),
    ("xywh", ("left", "top", "w", "h")),
    ("xywh", ("x1", "y1", "width", "height")),
    ("xywh", ("x1", "y1", "w", "h")),
    ("xywh", ("x", "y", "width", "height")),
    ("xywh", ("x", "y", "w", "h")),
    ("xywh", ("xmin", "ymin", "width", "height")),
)
_LISTS = ("bbox", "box", "boundingbox", "facebox", "facebbox")
_PREFIX = re.compile(r"^(face|face_)?(bounding_box|bbox|box|bb)[_.]?")


@dataclass(frozen=True)
class BoxColumns:
    """Columns of a box: four, or one of lists."""

    names: tuple[str, ...]
    form: BoxFormat

    def reading(self) -> str:
        """What was taken for what."""
        what = "" if self.form == "xyxy" else ", left top width height"
        return f"box: {' '.join(self.names)}{what}"

    def corners(self, table: pa.Table, called: str) -> dict[str, pa.ChunkedArray]:
        """The columns x_1, y_1, x_2 and y_2, int64, null where there is no box; `called` names the table in messages.

        Raises:
            InputError: numbers with a fraction, lists of another length, or no numbers.
        """
        if len(self.names) == 1:
            numbers = _of_lists(table[self.names[0]], f"{called}: column '{self.names[0]}'")
        else:
            numbers = [table[name] for name in self.names]
        names = self.names if len(self.names) > 1 else self.names * 4
        try:
            whole = [
                whole_numbers(column, f"{called}: column '{name}'")
                for column, name in zip(numbers, names, strict=True)
            ]
        except InputError as error:
            raise InputError(f"{error}, or take images whole (--no-box-columns)") from error
        if self.form == "xywh":
            whole[2:] = [pc.add(begin, size) for begin, size in zip(whole[:2], whole[2:], strict=True)]
        return dict(zip(BOX, whole, strict=True))


def find_boxes(names: Sequence[str], options: ColumnOptions, called: str) -> BoxColumns | None:
    """The columns of boxes among `names`, by option or by custom; None where there are none, or none are wanted.

    Raises:
        InputError: columns that are not there, a part of a box, or one whose numbers may be corners or sizes.

    Example:
        >>> find_boxes(["path", "bbox_x", "bbox_y", "bbox_w", "bbox_h"], ColumnOptions(), "a.csv").form
        'xywh'
    """
    if options.no_box_columns:
        return None
    if options.box_columns is not None:
        given = tuple(name.strip() for name in options.box_columns.split(","))
        if missing := [name for name in given if name not in names]:
            raise InputError(
                f"{called} has no column named '{missing[0]}'; its columns are {names_in_words(names)}"
            )
        if len(given) not in (1, 4):
            raise InputError(
                f"--box-columns {options.box_columns}: give four columns by commas, or one of lists"
            )
        form = options.box_format or _form_of(given)
        if form is None:
            raise InputError(
                f"--box-columns {options.box_columns} may be left, top, right, bottom or left, top, width, height; say which "
                "with --box-format xyxy or xywh"
            )
        return BoxColumns(given, form)
    plain = {_plain(name): name for name in reversed(names)}
    for form, wanted in _FORMS:
        if all(name in plain for name in wanted):
            return BoxColumns(tuple(plain[name] for name in wanted), options.box_format or form)
    if part := [name for name in names if name in BOX]:
        missing = [name for name in BOX if name not in part]
        raise InputError(
            f"{called} has a part of a box, without {', '.join(missing)}; give all of {', '.join(BOX)}, or take images whole "
            "(--no-box-columns)"
        )
    lists = box_like(names)
    if not lists:
        return None
    if options.box_format is None:
        raise InputError(
            f"{called} has boxes in '{lists[0]}', which may be left, top, right, bottom or left, top, width, height; say which "
            "with --box-format xyxy or xywh, or take images whole (--no-box-columns)"
        )
    return BoxColumns((lists[0],), options.box_format)


def box_like(names: Sequence[str]) -> tuple[str, ...]:
    """Columns among `names` that would be a box in a table, whatever their numbers are.

    Example:
        >>> box_like(["who", "x1", "y1", "x2", "y2"]), box_like(["bbox"]), box_like(["who"])
        (('x1', 'y1', 'x2', 'y2'), ('bbox',), ())
    """
    plain = {_plain(name): name for name in reversed(names)}
    four = next((wanted for _, wanted in _FORMS if all(name in plain for name in wanted)), ())
    lists = [name for name in names if re.sub(r"[^a-z]", "", name.lower()) in _LISTS]
    return tuple(plain[name] for name in four) or tuple(lists[:1])


def _plain(name: str) -> str:
    """A name without what says that it is of a box: "bbox_x_min" is "xmin"."""
    low = name.lower().replace(" ", "_").replace("-", "_")
    return _PREFIX.sub("", low).replace("_", "")


def _form_of(names: tuple[str, ...]) -> BoxFormat | None:
    plain = tuple(_plain(name) for name in names)
    return next((form for form, wanted in _FORMS if plain == wanted), None)


def _of_lists(column: pa.ChunkedArray, called: str) -> list[pa.ChunkedArray]:
    """The four numbers of each list, or of text such as "[1, 2, 3, 4]"; nulls where there is none."""
    if is_text(column.type):
        inner = pc.utf8_trim(column.cast(pa.large_string()), " []()")
        column = pc.split_pattern_regex(pc.if_else(pc.equal(inner, ""), None, inner), r"[,;\s]+")
    if not (
        kinds.is_list(column.type)
        or kinds.is_large_list(column.type)
        or kinds.is_fixed_size_list(column.type)
    ):
        raise InputError(
            f"{called} is {column.type}, not lists of four numbers; name others with --box-columns"
        )
    length = pc.list_value_length(column)
    if not pc.all(pc.equal(length, 4), min_count=0).as_py():
        odd = length.filter(pc.not_equal(length, 4))[0]
        raise InputError(
            f"{called} has a list of {odd} numbers, and a box has four; correct it, or --no-box-columns"
        )
    try:
        return [pc.list_element(column, at).cast(pa.float64()) for at in range(4)]
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{called} holds a list that is not of numbers; correct it, or --no-box-columns"
        ) from error
