"""Which column of a table says what: by an option, else by its customary name. What was chosen is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from ...mining.errors import InputError
from .boxes import BoxColumns, find_boxes
from .column_options import ColumnOptions
from .label_text import flag_column, names_in_words, text_column, whole_numbers, without_missing

# Customary names of columns, tried in this order; capitals do not matter.
IDENTITY_NAMES = ("identity", "label", "person_id", "person", "subject_id", "subject", "celeb_id", "pid")
IDENTITY_NAMES += ("class", "class_name", "class_id", "target", "id")
PATH_NAMES = ("uri", "path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "image")
PATH_NAMES += ("image.path", "img.path")
SPLIT_NAMES = (
    "split",
    "subset",
    "partition",
    "fold",
    "data_split",
    "dataset_split",
    "image_set",
    "evaluation_status",
)
GROUP_NAMES = ("group", "camera", "camera_id", "camid", "family")
FLAGS = ("is_query", "is_gallery", "keep")
_NUMBERS = ("offset", "length")


@dataclass(frozen=True)
class Columns:
    """The columns in use: the name in the source of each role that it has."""

    names: dict[str, str]
    unused: tuple[str, ...]
    boxes: BoxColumns | None = None
    by_custom: frozenset[str] = field(default=frozenset())
    """Roles whose column no option named."""

    @classmethod
    def find(
        cls,
        names: Sequence[str],
        options: ColumnOptions,
        source: Path,
        image: str = "",
        path_needed: bool = True,
    ) -> Columns:
        """Choose among `names`. `image` is the column of images that lie inside, which needs no path.

        Raises:
            InputError: none or several of a name, one column for two purposes, a part of a box.
        """
        by_option = (options.identity_column, options.path_column, options.split_column, options.group_column)
        by_custom = {
            name.strip().lower(): name for name in reversed(names) if name != image and name not in by_option
        }

        def find(role: str, given: str | None, customary: Sequence[str]) -> None:
            name = given or next((by_custom[name] for name in customary if name in by_custom), None)
            if name is None:
                return
            if names.count(name) != 1:
                problem = "several columns" if name in names else "no column"
                raise InputError(
                    f"{source} has {problem} named '{name}'; its columns are {names_in_words(names)}"
                )
            found[role] = name
            if given is None:
                custom.add(role)

        found: dict[str, str] = {}
        custom: set[str] = set()
        if not options.unlabelled:
            find("identity", options.identity_column, IDENTITY_NAMES)
        find("uri", options.path_column, PATH_NAMES if path_needed else ())
        find("split", options.split_column, () if options.no_split_column else SPLIT_NAMES)
        find("group", options.group_column, () if options.no_group_column else GROUP_NAMES)
        given = {"identity": options.unlabelled, "uri": bool(image) or not path_needed}
        for role, option in (("identity", "identity"), ("uri", "path")):
            if role not in found and not given[role]:
                what = "image path" if role == "uri" else role
                raise InputError(
                    f"{source} has no {what} column among {names_in_words(names)}; name it with --{option}-column"
                )
        used = list(found.values())
        if len(set(used)) < len(used):
            twice = next(name for name in used if used.count(name) > 1)
            raise InputError(
                f"column '{twice}' of {source} cannot serve for two purposes; name the others by option"
            )
        if path_needed and not image and {"offset", "length"} <= set(by_custom):
            found.update(offset=by_custom["offset"], length=by_custom["length"])
        for role in FLAGS:
            find(role, None, () if role == "keep" and options.no_keep_column else [role])
        boxes = find_boxes([name for name in names if name not in used], options, str(source))
        taken = {*found.values(), image, *(boxes.names if boxes else ())}
        unused = tuple(name for name in names if name not in taken and not name.startswith(f"{image}."))
        return cls(found, unused, boxes, frozenset(custom))

    @property
    def in_use(self) -> list[str]:
        """Names of all columns that are read, each once."""
        return list(dict.fromkeys([*self.names.values(), *(self.boxes.names if self.boxes else ())]))

    @property
    def guessed(self) -> Mapping[str, str]:
        """The columns by their roles that no option named."""
        return {role: name for role, name in self.names.items() if role in self.by_custom}

    def reading(self, image: str = "") -> str:
        """What was taken for what, in a line."""
        names = self.names
        where = f"image: {image}" if image else f"path: {names.get('uri', 'none')}"
        parts = [f"identity: {names.get('identity', 'none')}", where]
        parts += [f"{role}: {names.get(role, 'none')}" for role in ("split", "group")]
        if "offset" in names:
            parts.append("place in the file: offset and length")
        if self.boxes:
            parts.append(self.boxes.reading())
        parts += [f"{role.removeprefix('is_')}: {names[role]}" for role in FLAGS if role in names]
        if self.unused:
            more = len(self.unused) - 6
            parts.append(f"not used: {', '.join(self.unused[:6])}{f' and {more} more' if more > 0 else ''}")
        return "; ".join(parts)

    def typed(self, table: pa.Table, source: Path, class_names: list[str] | None = None) -> pa.Table:
        """The columns of `table` in use, by their roles here and in their types here.

        Raises:
            InputError: a column of another type, or with values that are no such thing.
        """
        typed = {}
        if "identity" not in self.names:
            typed["identity"] = pa.repeat(pa.scalar("", pa.large_string()), len(table))
        for role, name in self.names.items():
            called, column = f"{source}: column '{name}'", table[name]
            if role in _NUMBERS:
                typed[role] = whole_numbers(column, called)
            elif role in FLAGS[:2]:
                typed[role] = flag_column(column, called)
            elif role == "keep":
                try:
                    typed[role] = flag_column(column, called).fill_null(True)
                except InputError as error:
                    raise InputError(f"{error}, or leave the column aside with --no-keep-column") from error
            elif role in ("split", "group"):
                typed[role] = without_missing(text_column(column, called))
            else:
                typed[role] = text_column(column, called, class_names if role == "identity" else None)
        return pa.table(typed | (self.boxes.corners(table, str(source)) if self.boxes else {}))
