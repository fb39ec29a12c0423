"""Pieces of files, each an image, and runs of those that lie side by side, which one read gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def runs_of(pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
    """Neighbours of one file, whose pieces come in the order of their offsets; one without a length is alone."""
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


def of_run(run: Sequence[Piece], data: bytes | OSError) -> Iterator[tuple[int, bytes | OSError]]:
    """Place and bytes of each piece of a run, of whose bytes `data` has all that the file has."""
    if isinstance(data, OSError) or run[0].length is None:
        yield from ((piece.place, data) for piece in run)
        return
    begin = run[0].offset
    for piece in run:
        start, length = piece.offset - begin, piece.length or 0
        own = data if len(run) == 1 else data[start : start + length]
        if len(own) < length:
            yield piece.place, OSError(f"{piece.path} ends before byte {piece.offset + length}")
        else:
            yield piece.place, own
