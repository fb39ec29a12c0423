"""Pickles of plain values, read without running them: an opcode is followed only if it builds data.

A pickle is a program. Followed here are the opcodes that put numbers, text, bytes, tuples and lists together, in protocols 0 to
5 of Python 2 and 3, and the calls by which bytes and NumPy arrays are written, which are recognised by name and never
looked up or called. Anything else is refused at the byte where it stands. There are no jumps, so time is linear in the size
of the file; memory is at most a few times its size.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...mining.errors import InputError
from .pickled_calls import ArrayKind, PlainArray, UnwantedError, called, fill, named, text

MOST_ON_STACK, MOST_REMEMBERED, LONGEST_NUMBER = 100_000, 2**22, 16
"""Pickles that Python writes stay far below: lists are put together by thousands."""


class _Mark:
    """Where a tuple or a list begins on the stack."""


_MARK = _Mark()


def read_plain(data: Any, name: str) -> Any:
    """The value that a pickle holds: None, bool, int, str, bytes, tuple, list, or a `PlainArray` of bytes or booleans.

    Text of Python 2 is bytes. An object that occurs twice in the pickle is one object here.

    >>> import pickle
    >>> read_plain(pickle.dumps(([b"x", b"y"], [True])), "pairs.bin")
    ([b'x', b'y'], [True])

    Args:
        data: bytes, or a mapped file. name: what it is called in messages.

    Raises:
        InputError: it ends too early, or holds what is none of these; nothing of it was run.
    """
    reading = _Reading(data, name)
    try:
        return reading.value()
    except InputError:
        raise
    except UnwantedError as error:
        raise reading.refusal(str(error)) from error
    except (
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        struct.error,
        OverflowError,
        AttributeError,
    ) as error:
        raise reading.refusal("is damaged, or no pickle that Python writes") from error


@dataclass
class _Reading:
    data: Any
    name: str
    at: int = 0
    made: int = 0
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def refusal(self, why: str) -> InputError:
        return InputError(
            f"{self.name} {why} (byte {self.at:,} of {len(self.data):,}); nothing of it was run"
        )

    def value(self) -> Any:
        while True:
            start, code = self.at, self.take(1)
            if code == b".":
                return self.stack.pop()
            follow = _FOLLOWED.get(code)
            if follow is None:
                self.at = start
                raise self.refusal(f"asks for what no list of images needs (opcode {code!r})")
            follow(self)
            if len(self.stack) > MOST_ON_STACK or len(self.memo) > MOST_REMEMBERED:
                raise self.refusal("is no list of images: it holds too much at once")

    def take(self, count: int) -> bytes:
        """The next bytes; their number is checked before any room is made."""
        if count < 0 or self.at + count > len(self.data):
            raise self.refusal("ends in the middle; copy it again")
        taken = bytes(self.data[self.at : self.at + count])
        self.at += count
        return taken

    def number(self, form: str) -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise self.refusal("ends in the middle; copy it again")
        taken = self.take(end - self.at)
        self.at += 1
        return taken

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise IndexError
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError
        self.stack[-1].extend(items)

    def remember(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def reduce(self) -> None:
        given, function = self.stack.pop(), self.stack.pop()
        made = called(function, given)
        self.made += len(made) if type(made) is bytes else 0
        if self.made > len(self.data):
            raise self.refusal("makes more bytes than it has")
        self.push(made)

    def build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if type(made) is PlainArray:
            fill(made, state[1], state[2], state[4])
        elif type(made) is not ArrayKind or type(state) is not tuple:
            raise TypeError


def _whole(reading: _Reading, digits: bytes) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise reading.refusal("holds a number of too many digits")
    return int(digits)


def _int(reading: _Reading) -> None:
    digits = reading.line()
    reading.push(digits == b"01" if digits in (b"00", b"01") else _whole(reading, digits))


def _long(reading: _Reading, size: int) -> None:
    if not 0 <= size <= LONGEST_NUMBER:
        raise reading.refusal("holds a number of too many digits")
    reading.push(int.from_bytes(reading.take(size), "little", signed=True))


def _quoted(reading: _Reading) -> None:
    literal = reading.line().strip()
    if len(literal) < 2 or literal[:1] != literal[-1:] or literal[:1] not in (b"'", b'"'):
        raise ValueError
    reading.push(codecs.escape_decode(literal[1:-1])[0])  # pyright: ignore[reportAttributeAccessIssue]


def _tuple(reading: _Reading, size: int) -> None:
    if len(reading.stack) < size:
        raise IndexError
    items = tuple(reading.stack[len(reading.stack) - size :])
    if _MARK in items:
        raise IndexError
    del reading.stack[len(reading.stack) - size :]
    reading.push(items)


def _append(reading: _Reading) -> None:
    item = reading.stack.pop()
    reading.extend([item])


def _appends(reading: _Reading) -> None:
    items = reading.since_mark()
    reading.extend(items)


def _stack_global(reading: _Reading) -> None:
    name, module = reading.stack.pop(), reading.stack.pop()
    reading.push(named(text(module), text(name)))


def _of_bytes(form: str) -> Callable[[_Reading], None]:
    return lambda r: r.push(r.take(r.number(form)))


def _of_text(form: str) -> Callable[[_Reading], None]:
    return lambda r: r.push(r.take(r.number(form)).decode("utf-8", "surrogatepass"))


_FOLLOWED: dict[bytes, Callable[[_Reading], Any]] = {
    b"\x80": lambda r: r.take(1),  # the protocol
    b"\x95": lambda r: r.take(8),  # a frame, of which only the content counts
    b"(": lambda r: r.push(_MARK),
    b"0": lambda r: r.stack.pop(),
    b"1": lambda r: r.since_mark(),
    b"N": lambda r: r.push(None),
    b"\x88": lambda r: r.push(True),
    b"\x89": lambda r: r.push(False),
    b"I": _int,
    b"J": lambda r: r.push(r.number("<i")),
    b"K": lambda r: r.push(r.number("<B")),
    b"M": lambda r: r.push(r.number("<H")),
    b"L": lambda r: r.push(_whole(r, r.line().rstrip(b"L"))),
    b"\x8a": lambda r: _long(r, r.number("<B")),
    b"\x8b": lambda r: _long(r, r.number("<i")),
    b"S": _quoted,
    b"T": _of_bytes("<i"), b"U": _of_bytes("<B"), b"B": _of_bytes("<I"), b"C": _of_bytes("<B"),
    b"\x8e": _of_bytes("<Q"), b"\x96": _of_bytes("<Q"),
    b"V": lambda r: r.push(r.line().decode("raw-unicode-escape")),
    b"X": _of_text("<I"), b"\x8c": _of_text("<B"), b"\x8d": _of_text("<Q"),
    b")": lambda r: r.push(()),
    b"t": lambda r: r.push(tuple(r.since_mark())),
    b"\x85": lambda r: _tuple(r, 1), b"\x86": lambda r: _tuple(r, 2), b"\x87": lambda r: _tuple(r, 3),
    b"]": lambda r: r.push([]),
    b"l": lambda r: r.push(r.since_mark()),
    b"a": _append, b"e": _appends,
    b"c": lambda r: r.push(named(r.line().decode("ascii"), r.line().decode("ascii"))),
    b"\x93": _stack_global,
    b"R": lambda r: r.reduce(), b"b": lambda r: r.build(),
    b"p": lambda r: r.remember(_whole(r, r.line())),
    b"q": lambda r: r.remember(r.number("<B")), b"r": lambda r: r.remember(r.number("<I")),
    b"\x94": lambda r: r.remember(len(r.memo)),
    b"g": lambda r: r.push(r.memo[_whole(r, r.line())]),
    b"h": lambda r: r.push(r.memo[r.number("<B")]), b"j": lambda r: r.push(r.memo[r.number("<I")]),
}  # fmt: skip
