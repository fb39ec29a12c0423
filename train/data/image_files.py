"""Bytes of many images out of their files: in the order in which they lie there, neighbours in one read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

GAP = 2**16
"""Bytes between two images that cost less to read than another read does."""
RUN = 2**22
"""Bytes of neighbours that are read at once, at most, unless one image is larger."""


class Piece(NamedTuple):
    """Where the bytes of an image lie."""

    path: str
    offset: int
    length: int | None
    """None: to the end of the file."""
    place: int
    """Whatever the caller calls the image by."""


def read_pieces(pieces: Sequence[Piece]) -> Iterator[tuple[int, bytes | OSError]]:
    """Yield place and bytes of every piece, file by file, or what is wrong with it: missing, or shorter than it says."""
    for path, own in groupby(sorted(pieces, key=lambda piece: piece[:2]), lambda piece: piece.path):
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            yield from ((piece.place, error) for piece in own)
            continue
        try:
            for run in _runs(own):
                yield from _read_run(file, run)
        finally:
            os.close(file)


def _runs(pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
    """Neighbours of one file, which come in the order of their offsets."""
    run, begin, end = [], 0, 0
    for piece in pieces:
        stop = piece.offset + (piece.length or 0)
        far = piece.offset > end + GAP or stop > begin + RUN
        if run and (far or piece.length is None or run[-1].length is None):
            yield run
            run = []
        if not run:
            begin, end = piece.offset, piece.offset
        run.append(piece)
        end = max(end, stop)
    if run:
        yield run


def _read_run(file: int, run: list[Piece]) -> Iterator[tuple[int, bytes | OSError]]:
    begin = run[0].offset
    try:
        if run[0].length is None:
            yield run[0].place, _read(file, max(0, os.fstat(file).st_size - begin), begin)
            return
        data = _read(file, max(piece.offset + (piece.length or 0) for piece in run) - begin, begin)
    except OSError as error:
        error.filename = run[0].path
        yield from ((piece.place, error) for piece in run)
        return
    for piece in run:
        start, length = piece.offset - begin, piece.length or 0
        own = data if len(run) == 1 else data[start : start + length]
        if len(own) < length:
            yield piece.place, OSError(f"{piece.path} ends before byte {piece.offset + length}")
        else:
            yield piece.place, own


def _read(file: int, length: int, offset: int) -> bytes:
    """So many bytes, or those up to the end of the file."""
    data = os.pread(file, length, offset)
    parts, missing = [data], length - len(data)
    while data and missing:
        data = os.pread(file, missing, offset + length - missing)
        parts.append(data)
        missing -= len(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)
