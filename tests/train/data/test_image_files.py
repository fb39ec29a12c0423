"""Many images out of few files: every byte as it lies there, neighbours in one read, and what is missing said."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from subspace.train.data.image_files import GAP, RUN, Piece, read_pieces

DATA = np.random.default_rng(0).integers(0, 256, 4 * RUN, np.uint8).tobytes()


@pytest.fixture
def pack(tmp_path: Path) -> str:
    path = tmp_path / "pack"
    path.write_bytes(DATA)
    return str(path)


def test_any_pieces_in_any_order_are_their_bytes(pack: str, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"one")
    random = np.random.default_rng(1)
    offsets = [*random.integers(0, len(DATA) - RUN, 60).tolist(), 5, 5, 7, 0]
    lengths = [*random.integers(0, 90_000, 60).tolist(), 10, 100, 3, RUN + 5]
    pieces = [Piece(pack, o, n, place) for place, (o, n) in enumerate(zip(offsets, lengths, strict=True))]
    pieces += [Piece(str(tmp_path / "one"), 0, None, 64), Piece(pack, len(DATA) - 9, None, 65)]
    found = dict(read_pieces([pieces[i] for i in random.permutation(len(pieces))]))
    assert len(found) == 66
    for piece in pieces[:64]:
        assert found[piece.place] == DATA[piece.offset : piece.offset + (piece.length or 0)]
    assert (found[64], found[65]) == (b"one", DATA[-9:])


def test_neighbours_are_read_at_once_and_files_from_front_to_back(
    pack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[tuple[int, int]] = []
    pread = os.pread

    def counted(file: int, length: int, offset: int) -> bytes:
        reads.append((offset, length))
        return pread(file, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    near = [Piece(pack, 1000 * i, 900, i) for i in range(20)]
    far = [Piece(pack, 19_900 + GAP + 1, 10, 20), Piece(pack, 2 * RUN, 10, 21)]
    long = [Piece(pack, 2 * RUN + 10, RUN - 5, 22)]
    list(read_pieces([*long, *far[::-1], *near[::-1]]))
    assert reads == [(0, 19_900), (19_900 + GAP + 1, 10), (2 * RUN, 10), (2 * RUN + 10, RUN - 5)]


def test_what_is_missing_is_said_of_each_piece(pack: str, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    found = dict(
        read_pieces([
            Piece(gone, 0, None, 0), Piece(gone, 5, 5, 1), Piece(str(tmp_path), 0, 5, 2),
            Piece(pack, len(DATA) - 5, 10, 3), Piece(pack, len(DATA) - 9, 9, 4), Piece(pack, len(DATA) + 5, None, 5),
        ])
    )  # fmt: skip
    assert all(isinstance(found[place], FileNotFoundError) and gone in str(found[place]) for place in (0, 1))
    assert isinstance(found[2], IsADirectoryError)
    assert str(found[3]) == f"{pack} ends before byte {len(DATA) + 5}"
    assert (found[4], found[5]) == (DATA[-9:], b"")
