"""JSON as it is read: bounded in size, depth and numbers, then checked in full against the model of its kind."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import DamagedFileError, InputError, StaleArtifactError

MOST_BYTES = 16 << 20
"""No document of a run comes near; what is larger is not read at all."""
DEEPEST = 64
"""Objects and arrays inside each other."""
MOST_BITS = 1000
"""The most bits of a whole number; larger ones are no float64."""


if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Known = TypeVar("Known", bound="DataclassInstance")


class Document(BaseModel):
    """A kind of JSON file: its keys, their types and ranges. Keys of later versions pass.

    Example:
        >>> class Winner(Document):
        ...     network: str
        ...     value: float
        >>> Winner.model_validate({"network": "start", "value": 1}).value
        1.0
    """

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="allow", protected_namespaces=())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: missing or damaged.
    """
    try:
        return parse_json(read_bounded(path))
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {path}: {_in_words(error)}") from error


def read_document(path: Path, kind: type[Document], remedy: str | None = None) -> dict[str, Any]:
    """Read a JSON file that this program wrote, checked in full.

    Args:
        remedy: what to do where it is damaged: the end of the message; None where the place of the file says it.

    Raises:
        InputError: there is none.
        StaleArtifactError: damaged; without a remedy a DamagedFileError.
    """
    try:
        return checked(parse_json(read_bounded(path)), kind)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        if remedy is None:
            raise damaged_file(path, _in_words(error)) from error
        raise damaged(path, _in_words(error), remedy) from error


def damaged_file(path: Path, why: str) -> DamagedFileError:
    """The one line for a file whose place says what remakes it."""
    return DamagedFileError(f"{path} is damaged: {_shortened(why)}", str(path))


def damaged(path: Path | str, why: str, remedy: str) -> StaleArtifactError:
    """The one line for a file of a run that is not as this program writes it."""
    return StaleArtifactError(
        f"{path} is damaged: {_shortened(why)}; {remedy}", change=f"{Path(path).name} is damaged"
    )


def checked(value: Any, kind: type[Document]) -> dict[str, Any]:
    """`value` as it is, where it fits its kind.

    Raises:
        ValueError: it does not; the message says where.
    """
    if not isinstance(value, dict):
        raise ValueError(f"it holds {_named(value)} where an object is wanted")
    try:
        kind.model_validate(value)
    except ValidationError as error:
        raise ValueError(_problem(error)) from error
    return value


def known(kind: type[Known], values: Mapping[str, Any]) -> Known:
    """A dataclass from a checked object, without the keys that a later version of this program wrote beside them.

    >>> @dataclasses.dataclass
    ... class Figure:
    ...     value: float
    >>> known(Figure, {"value": 0.5, "of_later": 1})
    Figure(value=0.5)
    """
    names = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in values.items() if name in names})


def read_bounded(path: Path, at_most: int = MOST_BYTES) -> bytes:
    """The bytes of a plain file that is not too large.

    Raises:
        InputError: missing.
        OSError: it cannot be read. ValueError: it is too large, or no plain file.
    """
    try:
        # A pipe of that name would wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no plain file")
        if found.st_size > at_most:
            raise ValueError(f"it has {found.st_size:,} bytes, at most {at_most:,} are read")
        return file.read()


def parse_json(data: bytes | str) -> Any:
    """The value of a JSON text in UTF-8, with or without a byte order mark; every number in it is finite.

    >>> parse_json(b'{"step": 3}')
    {'step': 3}
    >>> parse_json(b'{"loss": NaN}')
    Traceback (most recent call last):
    ValueError: it holds NaN, which is no number

    Raises:
        ValueError: no such text; the message is a line without the file's name.
    """
    text = ""
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        value = json.loads(text, parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start:,})") from error
    except json.JSONDecodeError as error:
        what = "it is empty" if not text.strip() else f"it is not JSON: {error}"
        raise ValueError(what) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:
        if str(error).startswith("it "):
            raise
        raise ValueError("it holds a number of thousands of digits") from error
    _check(value)
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}, which is no number")


def _check(value: Any) -> None:
    """Refuse depth, numbers and text that no later reader, writer or printer could take."""
    level, depth = [value], 0
    while level:
        if (depth := depth + 1) > DEEPEST:
            raise ValueError("it is nested too deeply")
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, float):
                if not math.isfinite(item):
                    raise ValueError("it holds a number that is not finite")
            elif isinstance(item, int):
                if item.bit_length() > MOST_BITS:
                    raise ValueError("it holds a number of hundreds of digits")
            elif isinstance(item, str) and not item.isascii():
                try:
                    item.encode()
                except UnicodeEncodeError as error:
                    raise ValueError("it holds half of a character (a lone surrogate)") from error
        level = below


def _problem(error: ValidationError) -> str:
    """The first problem in words: where it is, what is wanted."""
    problem = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"it has no {where}"
    if problem["type"] == "value_error":
        own = problem["msg"].removeprefix("Value error, ")
        return f"{where}: {own}" if where else own
    return f"{where} is {_named(problem['input'])}, {problem['msg'].lower()}"


def _named(value: Any) -> str:
    """A value in few words."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return _shortened(json.dumps(value, ensure_ascii=False), 40)


def _shortened(text: str, most: int = 400) -> str:
    """What a file says may be as long as the file; a line that quotes it is not."""
    return text if len(text) <= most else text[: most - 3] + "..."


def _in_words(error: OSError | ValueError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
