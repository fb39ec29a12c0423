"""Hashes of the bytes of images, by which equal ones are found: read some at a time, by several threads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...train.data.image_files import Piece

Digests = list[bytes | None]
"""One an image; None where it cannot be read."""
AT_ONCE, THREADS = 128, 8


def digest_of(data: bytes) -> bytes:
    """16 bytes of BLAKE2b."""
    return hashlib.blake2b(data, digest_size=16).digest()


def digests_of(pieces: Sequence[Piece]) -> dict[int, bytes | None]:
    """The hash of each piece of a file by its place; None where it cannot be read."""
    from ...train.data.image_files import read_pieces

    return {
        place: None if isinstance(data, OSError) else digest_of(data) for place, data in read_pieces(pieces)
    }


def in_blocks(count: int, digests: Callable[[slice], Digests]) -> Iterator[Digests]:
    """`digests` of all of `count` images, a slice at a time in their order; memory for 1,024 images.

    >>> [len(block) for block in in_blocks(300, lambda some: [None] * len(range(*some.indices(300))))]
    [128, 128, 44]
    """
    with ThreadPoolExecutor(THREADS) as pool:
        for first in range(0, count, AT_ONCE * THREADS):
            last = min(first + AT_ONCE * THREADS, count)
            starts = range(first, last, AT_ONCE)
            yield from pool.map(lambda start: digests(slice(start, min(start + AT_ONCE, count))), starts)
