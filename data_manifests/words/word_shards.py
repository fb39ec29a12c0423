"""Words -> shards: PNG files end to end, an identity's images side by side, as the glyph set has them.

A shard and the table of what it holds are whole or absent, so an interrupted build goes on with the next one.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from draw_words import DRAWING, WIDTH, choose_faces, draw_word
from drawn_fonts import FREETYPE
from word_faces import Coverage, WordFace, letters_of
from write_shards import encode_png, rows_path

from subspace.mining.artifacts import whole_file
from subspace.mining.fingerprints import fingerprint_of

IDENTITIES_PER_SHARD = 4_096
ROW = np.dtype([("identity", np.int32), ("face", np.int16), ("offset", np.int32), ("length", np.int32)])


class WordShard(NamedTuple):
    """What to write, and where."""

    path: Path
    """Beside it lies `rows_path(path)`, which is written last."""
    first: int
    """The identity of the first word."""
    text: str
    """The words, a space between them: millions of strings would fill a gigabyte."""
    images: bytes
    """Of each word; fewer where fewer families can write it."""
    faces: tuple[WordFace, ...]

    def each(self) -> Iterator[tuple[str, int]]:
        """The words, and how many images of each."""
        return zip(self.text.split(" "), self.images, strict=True)

    @property
    def is_there(self) -> bool:
        """Whether it is written."""
        return rows_path(self.path).exists()


def shards_of(
    words: pa.LargeStringArray, images: np.ndarray, faces: list[WordFace], out: Path
) -> list[WordShard]:
    """The shards of a set: words in order, how many images of each (int8[I]), and the faces in their order.

    They lie in a folder of `out` that is named after all that their bytes depend on.
    """
    pieces = [
        (
            " ".join(words[at : at + IDENTITIES_PER_SHARD].to_pylist()),
            images[at : at + IDENTITIES_PER_SHARD].tobytes(),
        )
        for at in range(0, len(words), IDENTITIES_PER_SHARD)
    ]
    of = hashlib.sha256()
    for text, count in pieces:
        of.update(text.encode() + b"\n" + count)
    drawing = {
        "of": of.hexdigest(),
        "faces": [(face.sha256, face.index, face.family, face.letters) for face in faces],
        "drawing": DRAWING,
        "identities": IDENTITIES_PER_SHARD,
        "freetype": FREETYPE,
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }
    folder = out / f"shards-{fingerprint_of(drawing)[:12]}"
    return [
        WordShard(folder / f"{place:04d}.pngs", place * IDENTITIES_PER_SHARD, text, count, tuple(faces))
        for place, (text, count) in enumerate(pieces)
    ]


def write_shard(shard: WordShard) -> Path:
    """Draw the words and write them, unless that was done before; return the shard's path."""
    if shard.is_there:
        return shard.path
    coverage = _coverage(shard.faces)
    rows, offset = [], 0
    with whole_file(shard.path) as aside, open(aside, "wb") as file:
        for identity, (word, images) in enumerate(shard.each(), shard.first):
            for face, png in pictures(word, images, shard.faces, coverage):
                file.write(png)
                rows.append((identity, face, offset, len(png)))
                offset += len(png)
    with whole_file(rows_path(shard.path)) as aside, open(aside, "wb") as file:
        np.save(file, np.array(rows, ROW))
    return shard.path


def pictures(
    word: str, images: int, faces: tuple[WordFace, ...], coverage: Coverage
) -> list[tuple[int, bytes]]:
    """The faces that write a word, at most so many, and the PNG of each."""
    return [
        (place, encode_png(draw_word(word, letters_of(*_key(faces[place])), numbers), WIDTH))
        for place, numbers in choose_faces(word, coverage, images)
    ]


def _key(face: WordFace) -> tuple[Path, int, str]:
    return face.path, face.index, face.letters


@cache
def _coverage(faces: tuple[WordFace, ...]) -> Coverage:
    return Coverage(list(faces))
