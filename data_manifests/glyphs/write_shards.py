"""Pictures of characters -> shards: PNG files end to end, an identity's images side by side, repeats left out.

4-bit grey PNG without row filters: 200 bytes a picture, and of the formats that Pillow reads the quickest to
decode, 19,000 images/s against 10,000 for uncompressed PGM.

A shard and the table of what it holds are whole or absent, so an interrupted build goes on with the next one.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from draw_faces import PICTURE_BYTES, SIDE, unpack
from near_repeats import first_of_alike

from subspace.mining.artifacts import whole_file

IDENTITIES_PER_SHARD = 2_048
ROW = np.dtype([("code", np.int32), ("face", np.int32), ("offset", np.int32), ("length", np.int32)])
DRAWN = np.dtype([("code", np.int32), ("face", np.int32), ("file", np.int32), ("picture", np.int32)])

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTH = 4  # bits a pixel


class Shard(NamedTuple):
    """What to write, and where."""

    path: Path
    """Beside it lies `rows_path(path)`, which is written last."""
    drawn: np.ndarray
    """DRAWN[n]: the drawings of some characters, in the order in which they are preferred; codes are together."""
    pictures: tuple[Path, ...]
    """For each `file`, the .npy file of its pictures."""


def rows_path(shard: Path) -> Path:
    """The table of the images in a shard, ROW[n], as .npy."""
    return shard.with_suffix(".npy")


def write_shard(shard: Shard) -> Path:
    """Choose each character's images and write them, unless that was done before; return the shard's path."""
    if rows_path(shard.path).exists():
        return shard.path
    ends = np.flatnonzero(np.diff(shard.drawn["code"])) + 1
    rows, offset = [], 0
    with whole_file(shard.path) as aside, open(aside, "wb") as file:
        for drawn in np.split(shard.drawn, ends):
            for entry, picture in choose_images(drawn, shard.pictures):
                png = encode_png(picture)
                file.write(png)
                rows.append((entry["code"], entry["face"], offset, len(png)))
                offset += len(png)
    with whole_file(rows_path(shard.path)) as aside, open(aside, "wb") as file:
        np.save(file, np.array(rows, ROW))
    return shard.path


def choose_images(drawn: np.ndarray, pictures: tuple[Path, ...]) -> list[tuple[np.void, bytes]]:
    """The drawings of one character (DRAWN[n]) without repeats and near repeats, and their packed pictures."""
    distinct: dict[bytes, np.void] = {}
    for entry in drawn:
        distinct.setdefault(_pictures(pictures[entry["file"]])[entry["picture"]].tobytes(), entry)
    packed = np.frombuffer(b"".join(distinct), np.uint8).reshape(-1, PICTURE_BYTES)
    entries = list(distinct.values())
    return [(entries[row], packed[row].tobytes()) for row in first_of_alike(unpack(packed))]


def encode_png(packed: bytes, width: int = SIDE) -> bytes:
    """A PNG of a packed picture (512 bytes, where it is 32 pixels wide): rows of 4-bit pixels are PNG's own form."""
    row = width * _DEPTH // 8
    raw = b"".join(b"\0" + packed[start : start + row] for start in range(0, len(packed), row))
    header = struct.pack(">IIBBBBB", width, len(packed) // row, _DEPTH, 0, 0, 0, 0)
    png = _SIGNATURE
    for body in (b"IHDR" + header, b"IDAT" + zlib.compress(raw, 9), b"IEND"):
        png += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png


@cache
def _pictures(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r")
