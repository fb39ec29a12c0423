"""Members of a tar that is not compressed: names and places, from the headers alone.

POSIX ustar, pax and GNU long names. Python's tarfile takes three times as long, and takes a tar that was cut between
two members for a whole one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...mining.errors import InputError
from ...mining.remote import in_words
from .source_bytes import Sliced

_BLOCK = 512
_FILE, _FOLDER, _LINKS = b"0\0007", b"5D", b"12"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL = b"L", b"K", b"xX", b"g"
_MOST_PAX = 1 << 20
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
"""How gzip, bzip2, xz and zstd begin; the name of a member would have to."""
_ZEROS = bytes(_BLOCK)


class Member(NamedTuple):
    """A file in a tar."""

    name: str
    offset: int
    """Where its bytes begin."""
    length: int
    problem: str
    """Why its bytes cannot be pointed at; empty where they can."""


def members_of_tar(data: Sliced, source: Path) -> Iterator[Member]:
    """Yield every file, link and special file; folders are passed over.

    Raises:
        InputError: cut, not a tar, damaged, followed by another tar, or a name that is not UTF-8.

    Example:
        >>> import io, tarfile
        >>> with tarfile.open(fileobj=(file := io.BytesIO()), mode="w") as tar:
        ...     tar.addfile(entry := tarfile.TarInfo("0.cls"))
        >>> list(members_of_tar(file.getvalue(), Path("a.tar")))
        [Member(name='0.cls', offset=512, length=0, problem='')]
    """
    if data[:6].startswith(_PACKED):
        raise InputError(
            f"{in_words(source)} is compressed, though it is called .tar: no place in it can be pointed at; unpack it once"
        )
    at, long_name, pax = 0, b"", {}
    while True:
        header = data[at : at + _BLOCK]
        if len(header) < _BLOCK:
            raise _damaged(source, at, "it was cut, or is no tar")
        if header == _ZEROS:
            break
        kind, length = header[156:157], _number(header[124:136])
        if length is None or length < 0 or not _sum_is_right(header):
            raise _damaged(source, at, "no header of a member is there")
        if kind in _PAX or kind in _PAX_FOR_ALL or kind in _LONG_NAME + _LONG_LINK:
            if length > _MOST_PAX:
                raise _damaged(source, at, "a name is longer than a million bytes")
            said = data[at + _BLOCK : at + _BLOCK + length]
            if len(said) < length:
                raise _damaged(source, at, "it was cut")
            if kind == _LONG_NAME:
                long_name = said.rstrip(b"\0")
            elif kind in _PAX:
                pax = _pax(said, source, at)
            at += _BLOCK + _padded(length)
            continue
        if b"size" in pax:
            if not pax[b"size"].isdigit():
                raise _damaged(source, at, "the size of a member is no number")
            length = int(pax[b"size"])
        held = 0 if kind in _FOLDER or kind in _LINKS else length
        if at + _BLOCK + _padded(held) > len(data):
            raise _damaged(source, at, "it was cut")
        if kind not in _FOLDER:
            name = pax.get(b"path") or long_name or _name(header)
            yield Member(_text(name, source, at), at + _BLOCK, held, _problem(kind, pax))
        at, long_name, pax = at + _BLOCK + _padded(held), b"", {}
    if long_name or pax:
        raise _damaged(source, at, "a name without its file is there")
    _refuse_more(data, at, source)


def _problem(kind: bytes, pax: dict[bytes, bytes]) -> str:
    if kind in _LINKS:
        return "a link in a tar, which has no bytes of its own"
    if kind not in _FILE or any(key.startswith(b"GNU.sparse") for key in pax):
        return "a sparse or special file in a tar, whose bytes are not in one place"
    return ""


def _padded(length: int) -> int:
    return -(-length // _BLOCK) * _BLOCK


def _number(digits: bytes) -> int | None:
    """A number of a header: octal digits, or the bytes themselves behind 0x80."""
    if digits[0] == 0x80:
        return int.from_bytes(digits[1:], "big")
    text = digits.split(b"\0", 1)[0].strip()
    try:
        return int(text or b"0", 8)
    except ValueError:
        return None


def _sum_is_right(header: bytes) -> bool:
    """Whether the header's sum is that of its bytes, with blanks in place of the sum."""
    return _number(header[148:156]) == sum(header) - sum(header[148:156]) + 8 * 0x20


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and header[345]:
        return header[345:500].split(b"\0", 1)[0] + b"/" + name
    return name


def _pax(said: bytes, source: Path, at: int) -> dict[bytes, bytes]:
    """Lines "LENGTH KEY=VALUE" of a pax header."""
    found = {}
    while said.strip(b"\0"):
        length, blank, _ = said.partition(b" ")
        if not blank or not length.isdigit() or not len(length) + 3 <= int(length[:9]) <= len(said):
            raise _damaged(source, at, "its pax header cannot be read")
        key, _, value = said[len(length) + 1 : int(length) - 1].partition(b"=")
        found[key] = value
        said = said[int(length) :]
    return found


def _text(name: bytes, source: Path, at: int) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise _damaged(source, at, f"the name {name!r} is not UTF-8") from error


def _refuse_more(data: Sliced, at: int, source: Path) -> None:
    for begin in range(at, len(data), 1 << 20):
        if data[begin : begin + (1 << 20)].strip(b"\0"):
            raise InputError(
                f"{in_words(source)} goes on behind its end mark at byte {at:,}, as two tars in one file do; take them apart"
            )


def _damaged(source: Path, at: int, why: str) -> InputError:
    return InputError(
        f"{in_words(source)} cannot be read as a tar from byte {at:,} on: {why}; copy or make it again"
    )
