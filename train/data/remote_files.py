"""Bytes of images out of remote files: ranges of many files in one go, through fsspec.

A process that was forked gets a file system and a thread of its own: fsspec keeps them by process, so none is kept here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from ...mining.errors import InputError
from ...mining.remote import file_system
from .piece_runs import Piece, of_run, runs_of

AT_ONCE = 64
"""Ranges that are asked for at the same time."""


def read_remote(pieces: Sequence[Piece]) -> Iterator[tuple[int, bytes | OSError]]:
    """Yield place and bytes of every piece, whose paths are URLs, or what is wrong with it.

    Neighbours of one file are one range. Memory: the bytes of all pieces.

    Raises:
        InputError: a scheme that is not read, or whose package is not installed.
    """
    by_scheme = sorted(pieces, key=lambda piece: (_scheme(piece), *piece[:2]))
    for _, own in groupby(by_scheme, key=_scheme):
        runs = [run for _, same in groupby(own, lambda piece: piece.path) for run in runs_of(same)]
        for start in range(0, len(runs), AT_ONCE):
            some = runs[start : start + AT_ONCE]
            for run, data in zip(some, _ranges(some), strict=True):
                yield from of_run(run, data)


def _scheme(piece: Piece) -> str:
    return piece.path.partition("://")[0]


def _ranges(runs: Sequence[list[Piece]]) -> list[bytes | OSError]:
    """The bytes of each run, or what is wrong with all of it."""
    whole = [run[0].offset == 0 and run[0].length is None for run in runs]
    starts = [None if is_whole else run[0].offset for is_whole, run in zip(whole, runs, strict=True)]
    ends = [None if run[0].length is None else _end(run) for run in runs]
    paths = [run[0].path for run in runs]
    files = file_system(paths[0])
    try:
        found = files.cat_ranges(paths, starts, ends, on_error="return")
    except InputError:
        raise
    except Exception as error:  # each storage raises errors of its own library
        found = [error] * len(runs)
    return [_checked(*row) for row in zip(found, paths, starts, ends, strict=True)]


def _end(run: Sequence[Piece]) -> int:
    return max(piece.offset + (piece.length or 0) for piece in run)


def _checked(found: Any, path: str, start: int | None, end: int | None) -> bytes | OSError:
    if isinstance(found, BaseException):
        if isinstance(found, FileNotFoundError):
            return FileNotFoundError(2, "not found", path)
        why = (str(found) or type(found).__name__).splitlines()[0]
        return OSError(f"{path}: {why}")
    if start is not None and end is not None and len(found) > end - start:
        return OSError(f"{path}: its server sends the whole file where a part is asked for")
    return bytes(found)
