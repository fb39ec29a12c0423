"""Calls in a pickle by which bytes and NumPy arrays are written: what each would give, without calling anything.

They are recognised by name. No name is looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple


class UnwantedError(ValueError):
    """What no list of images needs; the message says what.

    >>> str(UnwantedError("wants to call 'os.system'"))
    "wants to call 'os.system'"
    """


@dataclass
class PlainArray:
    """A NumPy array: its bytes, and what they are.

    >>> PlainArray("u1", (2,), bytes([3, 4])).shape
    (2,)
    """

    kind: str = ""
    """u1 or b1."""
    shape: tuple[int, ...] = ()
    raw: bytes = b""


class ArrayKind(NamedTuple):
    """The type of an array's elements.

    >>> ArrayKind("u1").name
    'u1'
    """

    name: str


class Name(NamedTuple):
    """A function or class that a pickle names; it is compared, never imported.

    >>> Name("os", "system") in KNOWN
    False
    """

    module: str
    name: str


_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
KNOWN = {
    **{Name(module, name): name for module in _ARRAYS for name in ("_reconstruct", "scalar", "_frombuffer")},
    Name("numpy", "ndarray"): "ndarray",
    Name("numpy", "dtype"): "dtype",
    Name("_codecs", "encode"): "encode",
    **{Name(module, name): name for module in ("builtins", "__builtin__") for name in ("bytes", "bytearray")},
}
_KINDS = {"u1": "u1", "uint8": "u1", "b1": "b1", "bool": "b1", "?": "b1"}


def named(module: str, name: str) -> Name:
    """The name, if it is one of those by which bytes and arrays are written.

    >>> named("numpy", "ndarray")
    Name(module='numpy', name='ndarray')

    Raises:
        UnwantedError: it is not.
    """
    asked = Name(module, name)
    if asked not in KNOWN:
        shown = f"{module}.{name}"[:80]
        raise UnwantedError(f"wants to call {shown!r}, which no list of images needs")
    return asked


def called(function: Any, given: Any) -> Any:
    """What the call would give.

    >>> called(named("_codecs", "encode"), ("\xff", "latin1"))
    b'\xff'

    Raises:
        UnwantedError: an array or number of a type that images and true or false do not have.
        TypeError: arguments that Python does not write.
    """
    if type(function) is not Name or type(given) is not tuple:
        raise TypeError
    name = KNOWN[function]
    if name == "encode" and text(given[1]).replace("-", "") in ("latin1", "iso88591"):
        return given[0].encode("latin-1")
    if name in ("bytes", "bytearray"):
        value: Any = given[0] if given else b""
        return value if type(value) is bytes else value.encode("latin-1")
    if name == "_reconstruct":
        return PlainArray()
    if name == "dtype":
        return ArrayKind(_KINDS.get(text(given[0]).lstrip("|<>="), text(given[0])))
    if name == "scalar":
        kind, raw = given
        if kind.name not in ("b1", "u1") or len(raw) != 1:
            raise UnwantedError(f"holds a number of type {kind.name}, no true or false")
        return bool(raw[0]) if kind.name == "b1" else raw[0]
    if name == "_frombuffer":
        return fill(PlainArray(), given[2], given[1], given[0])
    raise TypeError


def fill(array: PlainArray, shape: Any, kind: Any, raw: Any) -> PlainArray:
    """Fill an array, whose bytes must be as many as its shape wants.

    >>> fill(PlainArray(), (2,), ArrayKind("u1"), b"ab").raw
    b'ab'

    Raises:
        UnwantedError: another type, or another number of bytes.
    """
    if kind.name not in ("u1", "b1"):
        raise UnwantedError(f"holds an array of type {kind.name}, neither bytes nor true and false")
    if type(raw) is not bytes or any(type(size) is not int or size < 0 for size in shape):
        raise TypeError
    if prod(shape) != len(raw):
        raise UnwantedError(f"holds an array of shape {tuple(shape)} with {len(raw):,} bytes")
    array.kind, array.shape, array.raw = kind.name, tuple(shape), raw
    return array


def text(value: Any) -> str:
    """Text that Python 2 may have written as bytes.

    >>> text(b"u1"), text("u1")
    ('u1', 'u1')
    """
    return value.decode("ascii") if type(value) is bytes else value if type(value) is str else str(None)
