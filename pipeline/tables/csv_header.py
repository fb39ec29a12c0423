"""The first line of a CSV: what is between its columns, and whether it names any."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...mining.errors import InputError

_DELIMITERS = {",": ",", ";": ";", "\t": "tab", "|": "|", " ": "space"}
_DATA = re.compile(r"-?\d+(\.\d*)?|.*\.(jpe?g|png|bmp|webp|tiff?|gif|jp2|heic|avif)|.*[/\\].*", re.IGNORECASE)
"""Numbers, files of images and paths: no names of columns."""


def delimiter_of(text: str) -> str:
    """The character that `--delimiter` names: itself, or tab, or space.

    Raises:
        InputError: it is longer, or no character that can be one.

    Example:
        >>> delimiter_of(";"), delimiter_of("tab"), delimiter_of("\\\\t")
        (';', '\\t', '\\t')
    """
    character = {"tab": "\t", "\\t": "\t", "space": " "}.get(text.lower(), text)
    if len(character) != 1 or not character.isascii() or character in '"\n\r\0' or character.isalnum():
        raise InputError(f"--delimiter {text}: give one character, such as ; or |, or tab, or space")
    return character


def header_problem(names: Sequence[str], delimiter: str) -> str:
    """Why no column was found among `names`, where the first line shows it; else empty.

    Example:
        >>> header_problem(["path;label"], ",")
        "columns are apart by ',' here, and its first line has ';': give --delimiter ';'"
        >>> header_problem(["a.jpg", "ann"], ",")
        "its first line is data ('a.jpg'), not names of columns: add a line such as path,label on top"
    """
    shown = repr(_DELIMITERS.get(delimiter, delimiter))
    for other, called in _DELIMITERS.items():
        if other == " " and len(names) > 1:  # it is common in names
            continue
        if other != delimiter and sum(name.count(other) for name in names) >= len(names):
            return f"columns are apart by {shown} here, and its first line has {called!r}: give --delimiter {called!r}"
    data = [name for name in names if _DATA.fullmatch(name.strip())]
    if data:
        return (
            f"its first line is data ({data[0][:60]!r}), not names of columns: add a line such as "
            f"{delimiter.join(('path', 'label'))} on top"
        )
    return ""


def first_names(line: str, delimiter: str) -> list[str]:
    """The names in the first line of a CSV that could not be parsed, without their quotes.

    Example:
        >>> first_names('"path";label\\n', ",")
        ['path;label']
    """
    return line.lstrip("\ufeff").strip("\r\n").replace('"', "").split(delimiter)
