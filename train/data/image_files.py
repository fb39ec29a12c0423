"""Bytes of many images out of their files: in the order in which they lie there, neighbours in one read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import groupby

from ...mining.remote import is_url
from .piece_runs import GAP, RUN, Piece, of_run, runs_of
from .remote_files import read_remote

__all__ = ["GAP", "RUN", "Piece", "read_pieces"]


def read_pieces(pieces: Sequence[Piece]) -> Iterator[tuple[int, bytes | OSError]]:
    """Yield place and bytes of every piece, file by file, or what is wrong with it: missing, or shorter than it says.

    Pieces of remote files come after those of local ones.
    """
    local = [piece for piece in pieces if not is_url(piece.path)]
    for path, own in groupby(sorted(local, key=lambda piece: piece[:2]), lambda piece: piece.path):
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
            bad = error if isinstance(error, OSError) else OSError(f"{error}: {path!r}")
            yield from ((piece.place, bad) for piece in own)
            continue
        try:
            for run in runs_of(own):
                yield from of_run(run, _bytes_of(file, run))
        finally:
            os.close(file)
    if len(local) < len(pieces):
        yield from read_remote([piece for piece in pieces if is_url(piece.path)])


def _bytes_of(file: int, run: list[Piece]) -> bytes | OSError:
    """All that the file has of a run's bytes, or what is wrong with it."""
    begin = run[0].offset
    try:
        if run[0].length is None:
            return _read(file, max(0, os.fstat(file).st_size - begin), begin)
        return _read(file, max(piece.offset + (piece.length or 0) for piece in run) - begin, begin)
    except OSError as error:
        error.filename = run[0].path
        return error


def _read(file: int, length: int, offset: int) -> bytes:
    """So many bytes, or those up to the end of the file."""
    data = os.pread(file, length, offset)
    parts, missing = [data], length - len(data)
    while data and missing:
        data = os.pread(file, missing, offset + length - missing)
        parts.append(data)
        missing -= len(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)
