"""The bytes of a source that is read in pieces: mapped where it is a local file, asked for in windows behind a URL."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ...mining.errors import InputError
from ...mining.remote import RemoteFile, open_remote, url_of

_WINDOW = 2**23
"""Bytes that are asked for at once: headers of tars lie close together, and each request takes its time."""


class Sliced(Protocol):
    """Anything that gives its bytes by slice, as `bytes` and `mmap` do; fewer of them at its end."""

    def __len__(self) -> int: ...

    def __getitem__(self, piece: slice, /) -> bytes: ...


@contextmanager
def opened(source: Path) -> Iterator[Sliced]:
    """The bytes of `source`.

    Raises:
        InputError: it is empty, or cannot be read.
    """
    url = url_of(source)
    if url is not None:
        with open_remote(url) as file:
            if not file.size:
                raise InputError(f"{url} is empty, or its server does not say how large it is; copy it")
            yield RemoteBytes(file)
        return
    try:
        with source.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror}") from error
    except ValueError as error:  # an empty file cannot be mapped
        raise InputError(f"{source} is empty; copy or make it again") from error
    with data:
        yield data


class RemoteBytes:
    """A remote file by slices. What is read forwards is asked for in windows, each of them once."""

    def __init__(self, file: RemoteFile) -> None:
        """Wrap an open file, whose size its server says."""
        self._file, self._begin, self._window = file, 0, b""

    def __len__(self) -> int:
        return self._file.size or 0

    def __getitem__(self, piece: slice) -> bytes:
        begin, end, _ = piece.indices(len(self))
        if begin < self._begin or end > self._begin + len(self._window):
            self._begin, self._window = begin, self._read(begin, max(end - begin, _WINDOW))
        return self._window[begin - self._begin : max(begin, end) - self._begin]

    def _read(self, begin: int, length: int) -> bytes:
        self._file.seek(begin)
        return self._file.read(length)
