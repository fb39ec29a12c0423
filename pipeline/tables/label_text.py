"""Columns of other people's tables as text, whole numbers and flags, or a line that says why not."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from ...mining.errors import InputError

TEXT = pa.large_string()
_MISSING = r"^(?i:nan|na|<na>)?$"
"""How data frames write that a value is missing."""
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")


def names_in_words(names: Iterable[str]) -> str:
    """Names of columns for a message; one with blanks around it is quoted, which would else not be seen.

    >>> print(names_in_words(["path", " label"]))
    path, ' label'
    """
    return ", ".join(name if name == name.strip() else repr(name) for name in names)


def is_text(kind: pa.DataType) -> bool:
    """Whether values of `kind` are strings, of any of Arrow's layouts."""
    return kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)


def text_column(
    column: pa.ChunkedArray, called: str, class_names: list[str] | None = None
) -> pa.ChunkedArray:
    """`column` as large_string without nulls: strings as they are, whole numbers in digits (1.0 is "1").

    `called` names it in messages. Whole numbers are places in `class_names` where these are given; -1, which
    stands for no class, stays.

    Raises:
        InputError: numbers with a fraction, text that is not UTF-8, a place without a name, lists, or any other type.

    Example:
        >>> text_column(pa.chunked_array([[1.0, 2.0, None]]), "column 'label'").to_pylist()
        ['1', '2', '']
        >>> text_column(pa.chunked_array([[1, 0]]), "column 'label'", ["cat", "dog"]).to_pylist()
        ['dog', 'cat']
    """
    column = _plain(column)
    if kinds.is_null(column.type):
        return pa.chunked_array([pa.repeat(pa.scalar("", TEXT), len(column))])
    if is_text(column.type):
        try:
            for chunk in column.chunks:
                chunk.validate(full=True)
        except pa.ArrowInvalid as error:
            raise InputError(f"{called} is not UTF-8; write it again as UTF-8") from error
        return column.cast(TEXT).fill_null("")
    if not (kinds.is_integer(column.type) or kinds.is_floating(column.type)):
        raise InputError(f"{called} is {column.type}; convert it to strings or integers, or name another")
    numbers = whole_numbers(column, called)
    if class_names is None:
        return numbers.cast(TEXT).fill_null("")
    outside = pc.or_(pc.less(numbers, -1), pc.greater_equal(numbers, len(class_names)))
    if pc.any(outside).as_py():
        first = numbers.filter(outside)[0]
        raise InputError(
            f"{called} holds {first}, and there are names of {len(class_names)} classes; correct it"
        )
    place = pc.if_else(pc.equal(numbers, -1), len(class_names), numbers)
    return pc.take(pa.array([*class_names, "-1"], TEXT), place).fill_null("")


def single_label(value: Any) -> str | None:
    """One label that JSON or a file of text holds, as `text_column` writes it; None where it is none.

    Example:
        >>> single_label(b" ann "), single_label(7.0), single_label(0.5), single_label(True), single_label(None)
        ('ann', '7', None, None, '')
    """
    if isinstance(value, bytes):
        try:
            return value.decode().strip()
        except UnicodeDecodeError:
            return None
    if isinstance(value, str):
        return value if _is_utf8(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return None
    if value is None:
        return ""
    return str(int(value)) if value == value and abs(value) < 2**63 and value == int(value) else None


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half a pair of surrogates, which JSON can say
        return False
    return True


def whole_numbers(column: pa.ChunkedArray, called: str) -> pa.ChunkedArray:
    """`column` as int64, nulls kept; 1.0 is 1.

    Raises:
        InputError: one has a fraction or is not a number, or the column is of another type.
    """
    column = _plain(column)
    if kinds.is_floating(column.type):
        column = column.cast(pa.float64())
        odd = pc.not_equal(column, pc.floor(column))  # true for NaN
        odd = pc.or_(odd, pc.greater(pc.abs(column), 2.0**53))
        if pc.any(odd).as_py():
            raise InputError(
                f"{called} is {column.type} with values that are no whole numbers, such as {column.filter(odd)[0]}; "
                "convert it to integers, or name another"
            )
    elif not (kinds.is_integer(column.type) or kinds.is_null(column.type)):
        raise InputError(f"{called} is {column.type}; convert it to integers, or name another")
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise InputError(f"{called} holds numbers beyond 64 bits; correct it") from error


def flag_column(column: pa.ChunkedArray, called: str) -> pa.ChunkedArray:
    """`column` as bool, nulls kept: of booleans, of 0 and 1, or of words such as True and no.

    Raises:
        InputError: anything else; the message has the first.
    """
    column = _plain(column)
    if kinds.is_boolean(column.type) or kinds.is_null(column.type):
        return column.cast(pa.bool_())
    words = pc.utf8_lower(without_missing(text_column(column, called)))
    words = pc.replace_substring_regex(words, r"^([01])\.0$", r"\1")  # beside a missing one in a data frame
    true = pc.is_in(words, value_set=pa.array(_TRUE, TEXT))
    known = pc.or_(true, pc.is_in(words, value_set=pa.array((*_FALSE, ""), TEXT)))
    if not pc.all(known, min_count=0).as_py():
        raise InputError(f"{called} holds {words.filter(pc.invert(known))[0]}; write true, false or nothing")
    return pc.if_else(pc.equal(words, ""), pa.scalar(None, pa.bool_()), true)


def without_missing(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text with "nan", "NA" and "<NA>" as empty.

    Example:
        >>> without_missing(pa.chunked_array([["nan", "c1", "NA"]])).to_pylist()
        ['', 'c1', '']
    """
    return pc.if_else(pc.match_substring_regex(text, _MISSING), "", text)


def label_form(columns: Iterable[pa.ChunkedArray], called: str) -> Literal["text", "numbers", "with .0"]:
    """What labels of a text file are, all columns together; it reads no more of them than it must.

    Numbers may lack some, as data frames write that ("", "nan", "NA"); "with .0" are integers some of which became
    1.0 on their way through a data frame.

    Raises:
        InputError: numbers, of which some have a fraction; the message has the first.

    Example:
        >>> label_form([pa.chunked_array([["1.0", "nan"]]), pa.chunked_array([["2"]])], "label")
        'with .0'
        >>> label_form([pa.chunked_array([["1.0", "x"]])], "label")
        'text'
    """
    any_number, any_point, fraction = False, False, ""
    for column in columns:
        number = pc.match_substring_regex(column, r"^-?\d+(\.\d*)?$")
        if not pc.all(pc.or_(number, pc.match_substring_regex(column, _MISSING)), min_count=0).as_py():
            return "text"
        any_number = any_number or pc.any(number, min_count=0).as_py()
        any_point = any_point or pc.any(pc.match_substring(column, "."), min_count=0).as_py()
        if not fraction:
            odd = column.filter(pc.match_substring_regex(column, r"\.0*[1-9]"))
            fraction = odd[0].as_py() if len(odd) else ""
    if fraction:
        raise InputError(
            f"{called} holds numbers with a fraction, such as {fraction}, which name nobody; name another column, or write "
            "integers"
        )
    return "with .0" if any_point else "numbers" if any_number else "text"


def class_names_of(schema: pa.Schema, name: str) -> list[str] | None:
    """Names of the classes of a ClassLabel column, which Hugging Face `datasets` keeps beside the schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[name]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return names if isinstance(names, list) and all(isinstance(one, str) for one in names) else None


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without a dictionary, which is how categories and enums of data frames arrive."""
    return column.cast(column.type.value_type) if kinds.is_dictionary(column.type) else column
