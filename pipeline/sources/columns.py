"""Which column of a table says what: by an option, else by its customary name. What was chosen is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ...mining.errors import InputError
from .label_text import flag_column, text_column, whole_numbers, without_missing
from .options import SourceOptions

# Customary names of columns, tried in this order; capitals do not matter.
IDENTITY_NAMES = ("identity", "label", "person_id", "person", "subject_id", "subject", "celeb_id", "pid")
IDENTITY_NAMES += ("class", "class_name", "class_id", "target", "id")
PATH_NAMES = ("uri", "path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "image")
PATH_NAMES += ("image.path", "img.path")
SPLIT_NAMES = ("split", "subset", "partition")
GROUP_NAMES = ("group", "camera", "camera_id", "camid", "family")
BOX = ("x_1", "y_1", "x_2", "y_2")
"""The columns of a box, as OML names them: pixels of the upright image, the last two not included."""
FLAGS = ("is_query", "is_gallery")
_NUMBERS = ("offset", "length", *BOX)


@dataclass(frozen=True)
class Columns:
    """The columns in use: the name in the source of each role that it has."""

    names: dict[str, str]
    unused: tuple[str, ...]

    @classmethod
    def find(
        cls,
        names: Sequence[str],
        options: SourceOptions,
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
            name.lower(): name for name in reversed(names) if name != image and name not in by_option
        }

        def find(role: str, given: str | None, customary: Sequence[str]) -> None:
            name = given or next((by_custom[name] for name in customary if name in by_custom), None)
            if name is None:
                return
            if names.count(name) != 1:
                problem = "several columns" if name in names else "no column"
                raise InputError(f"{source} has {problem} named '{name}'; its columns are {', '.join(names)}")
            found[role] = name

        found: dict[str, str] = {}
        find("identity", options.identity_column, IDENTITY_NAMES)
        find("uri", options.path_column, PATH_NAMES if path_needed else ())
        find("split", options.split_column, SPLIT_NAMES)
        find("group", options.group_column, GROUP_NAMES)
        for role, option in (("identity", "identity"), ("uri", "path")):
            if role not in found and not (role == "uri" and (image or not path_needed)):
                what = "image path" if role == "uri" else role
                raise InputError(
                    f"{source} has no {what} column among {', '.join(names)}; name it with --{option}-column"
                )
        used = list(found.values())
        if len(set(used)) < len(used):
            twice = next(name for name in used if used.count(name) > 1)
            raise InputError(
                f"column '{twice}' of {source} cannot serve for two purposes; name the others by option"
            )
        if path_needed and not image and {"offset", "length"} <= set(names):
            found.update(offset="offset", length="length")
        for role in (*BOX, *FLAGS):
            find(role, None, [role])
        missing = [role for role in BOX if role not in found]
        if 0 < len(missing) < len(BOX):
            raise InputError(
                f"{source} has a part of a box, without {', '.join(missing)}; give all of {', '.join(BOX)}"
            )
        taken = {*found.values(), image}
        return cls(
            found, tuple(name for name in names if name not in taken and not name.startswith(f"{image}."))
        )

    def reading(self, image: str = "") -> str:
        """What was taken for what, in a line."""
        names = self.names
        where = f"image: {image}" if image else f"path: {names.get('uri', 'none')}"
        parts = [f"identity: {names['identity']}", where]
        parts += [f"{role}: {names.get(role, 'none')}" for role in ("split", "group")]
        if "offset" in names:
            parts.append("place in the file: offset and length")
        if "x_1" in names:
            parts.append(f"box: {' '.join(names[role] for role in BOX)}")
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
        for role, name in self.names.items():
            called, column = f"{source}: column '{name}'", table[name]
            if role in _NUMBERS:
                typed[role] = whole_numbers(column, called)
            elif role in FLAGS:
                typed[role] = flag_column(column, called)
            elif role in ("split", "group"):
                typed[role] = without_missing(text_column(column, called))
            else:
                typed[role] = text_column(column, called, class_names if role == "identity" else None)
        return pa.table(typed)
