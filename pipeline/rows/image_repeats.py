"""Images that are there more than once: the same bytes, or the same place in the same file, with the same box.

Within one identity they are taken once. Gallery and probe of one another, they would lift Rank-1 on pure noise from
3 % to 33 %; in training they are a positive pair that teaches nothing. Under two identities one label at least is wrong.
"""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...mining.remote import is_url
from ...mining.schemas import BOX, QUARANTINE
from .image_digests import Digests, digest_of, digests_of, in_blocks

_TAIL = 4_096
"""Bytes at the end of an image that are compared first. A JPEG or PNG begins as all others do, and hardly two end alike."""


class SharedImage(NamedTuple):
    """An image whose bytes are another identity's too."""

    row: int
    identity_id: int
    split: str | None
    """None where splits are yet to be drawn."""
    called: str
    other_identity_id: int
    other: str
    """What messages call the first such image of another identity."""


def repeats_within(rows: pa.Table, images: pa.Array, compare: bool) -> np.ndarray:
    """For each row the row of its identity that it repeats, int64[n]; -1 where it repeats none.

    Only files of equal size are read. An image in two splits is none: that is refused elsewhere. Of equal images the first that is kept stays, a query before others.

    Args:
        rows: all of some identities: identity_id and size in bytes, and what else a manifest has.
        images: inline images, by the column `row`.
        compare: look at bytes; else at places (uri and offset) alone.
    """
    size, identity_id = _image_sizes(rows), rows["identity_id"].to_numpy()
    repeated = np.full(len(size), -1)
    order = np.lexsort((size, identity_id))
    alike = (np.diff(size[order]) == 0) & (np.diff(identity_id[order]) == 0)
    candidate = np.zeros(len(size), bool)
    candidate[order[1:][alike]] = candidate[order[:-1][alike]] = True
    candidate &= size > 0
    places = np.flatnonzero(candidate)
    if not len(places):
        return repeated
    some = rows.take(pa.array(places))
    digests = [digest for block in _digests(some, images, compare, None) for digest in block]
    kept, query = _flag(some, "keep", True), _flag(some, "is_query", False)
    boxes, first = _boxes(some), {}
    split = some["split"].to_pylist() if "split" in some.column_names else [""] * len(places)
    for at in np.lexsort((np.arange(len(places)), ~query, ~kept)).tolist():
        if digests[at] is not None:
            key = (int(identity_id[places[at]]), digests[at], boxes[at], split[at])
            repeated[places[at]] = first.setdefault(key, places[at])
    repeated[repeated == np.arange(len(size))] = -1
    return repeated


def with_flags_of_repeats(rows: pa.Table, repeated: np.ndarray) -> pa.Table:
    """The rows, where one that is repeated is a query or a gallery image if a row that repeats it, and is kept, is one.

    Args:
        repeated: as `repeats_within` has them.

    Example:
        >>> rows = pa.table({"is_query": [True, False], "is_gallery": [False, True]})
        >>> with_flags_of_repeats(rows, np.array([-1, 0]))["is_gallery"].to_pylist()
        [True, True]
    """
    kept = _flag(rows, "keep", True)
    for name in ("is_query", "is_gallery"):
        if name in rows.column_names:
            gains = np.zeros(len(rows), bool)
            gains[repeated[(repeated >= 0) & kept & _flag(rows, name, False)]] = True
            flag = pc.if_else(pa.array(gains), pa.scalar(True), rows[name])
            rows = rows.set_column(rows.schema.get_field_index(name), name, flag)
    return rows


def image_sizes(tables: Iterable[pa.Table]) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of each image, int64[n], and which images have the size of another, bool[n]: those are to be compared."""
    sizes = np.concatenate([np.zeros(0, np.int64), *map(_image_sizes, tables)])
    return sizes, _occurs_twice(sizes) & (sizes > 0)


def shared_images(
    tables: Callable[[], Iterable[pa.Table]],
    images: pa.Array,
    compare: bool,
    sizes: np.ndarray,
    read: np.ndarray,
    seen: Callable[[int], object] = lambda images: None,
) -> list[SharedImage]:
    """Images that have the bytes of an image of another identity, in the order of the rows.

    The ends of the images in `read` are read, 4 KiB of each, then the whole of those that end alike. Memory: 17 bytes an
    image, and what is said of images that share their bytes.

    Args:
        tables: gives all rows, as often as it is called.
        sizes, read: as `image_sizes` has them. `seen` hears of each image that was read.
    """
    keys = np.zeros(len(sizes), np.uint64)
    start = 0
    for rows in tables():
        places = np.flatnonzero(read[start : start + len(rows)])
        at = start
        for block in _digests(rows.take(pa.array(places)), images, compare, _TAIL):
            ends = [0 if digest is None else int.from_bytes(digest[:8], "little") for digest in block]
            keys[start + places[at - start : at - start + len(block)]] = ends
            at += len(block)
            seen(len(block))
        start += len(rows)
    alike = _occurs_twice(keys ^ sizes.astype(np.uint64)) & (keys != 0)
    return _of_two_identities(tables, images, compare, alike)


def shared_table(shared: list[SharedImage], names: pa.Array) -> pa.Table:
    """Images of two identities as a QUARANTINE table; their image_id is their row, where they stay."""
    reason = [
        f"same image as {one.other or 'one'} of identity {names[one.other_identity_id].as_py()}"
        for one in shared
    ]
    identity = names.take(pa.array([one.identity_id for one in shared], pa.int64()))
    columns = [[one.row for one in shared], identity, [one.called for one in shared], reason]
    types = (pa.int64(), pa.large_string(), pa.string(), pa.string())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    return pa.table(arrays, names=QUARANTINE.columns.names).cast(QUARANTINE.columns)


def _of_two_identities(
    tables: Callable[[], Iterable[pa.Table]], images: pa.Array, compare: bool, alike: np.ndarray
) -> list[SharedImage]:
    """Rows of `alike` whose whole bytes are another identity's too."""
    by_content: dict[tuple[bytes, str], list[tuple[int, int, str | None, str]]] = {}
    start = 0
    for rows in tables() if alike.any() else ():
        places = np.flatnonzero(alike[start : start + len(rows)])
        some = rows.take(pa.array(places))
        digests = [digest for block in _digests(some, images, compare, None) for digest in block]
        split = some["split"].to_pylist() if "split" in some.column_names else [None] * len(places)
        said = zip(some["identity_id"].to_pylist(), split, _called(some), strict=True)
        for place, digest, box, one in zip(places.tolist(), digests, _boxes(some), said, strict=True):
            if digest is not None:
                by_content.setdefault((digest, box), []).append((start + place, *one))
        start += len(rows)
    shared = []
    for equal in by_content.values():
        other = next((one for one in equal if one[1] != equal[0][1]), None)
        if other is not None:
            for one in equal:
                of = equal[0] if one[1] != equal[0][1] else other
                shared.append(SharedImage(*one, of[1], of[3]))
    return sorted(shared)


def _digests(rows: pa.Table, images: pa.Array, compare: bool, tail: int | None) -> Iterator[Digests]:
    """A hash of each image, or of its last `tail` bytes, some at a time.

    Where bytes are not compared, and for remote images, it is one of the place.
    """
    from ...train.data.image_files import Piece

    def hashes(block: slice) -> Digests:
        some = rows.slice(block.start, block.stop - block.start)
        if len(images):
            inline = images.take(some["row"].combine_chunks()).to_pylist()
            return [digest_of(image[-tail:] if tail else image) for image in inline]
        uris = some["uri"].to_pylist()
        offsets = some["offset"].to_pylist() if "offset" in some.column_names else [None] * len(uris)
        found, pieces = Digests([None] * len(uris)), []
        for place, (uri, offset, length) in enumerate(
            zip(uris, offsets, _image_sizes(some).tolist(), strict=True)
        ):
            if not compare or is_url(uri):
                found[place] = digest_of(f"{uri}\0{offset}\0{length}".encode())
                continue
            skipped = max(0, length - tail) if tail else 0
            pieces.append(Piece(uri, (offset or 0) + skipped, length - skipped, place))
        for place, digest in digests_of(pieces).items():
            found[place] = digest
        return found

    return in_blocks(len(rows), hashes)


def _image_sizes(rows: pa.Table) -> np.ndarray:
    """Bytes of each image, int64[n]: `size` is that of its file, of which it may be a part."""
    size = rows["size"].to_numpy()
    if "length" not in rows.column_names:
        return size
    length = rows["length"].fill_null(-1).to_numpy()
    return np.where(length < 0, size, length)


def _occurs_twice(values: np.ndarray) -> np.ndarray:
    """Which values are there more than once, bool[n]."""
    order = np.argsort(values, kind="stable")
    equal = np.diff(values[order]) == 0
    twice = np.zeros(len(values), bool)
    twice[order[1:][equal]] = twice[order[:-1][equal]] = True
    return twice


def _flag(rows: pa.Table, name: str, absent: bool) -> np.ndarray:
    if name not in rows.column_names:
        return np.full(len(rows), absent)
    return rows[name].fill_null(absent).to_numpy()


def _boxes(rows: pa.Table) -> list[str]:
    """The box of each image as text; empty where the whole image counts."""
    if BOX[0] not in rows.column_names:
        return [""] * len(rows)
    sides = [rows[name].cast(pa.large_string()) for name in BOX]
    text = pc.binary_join_element_wise(*sides, pa.scalar(" ", pa.large_string()))
    return text.fill_null("").to_pylist()


def _called(rows: pa.Table) -> list[str]:
    """What messages call each image: its uri, and where it lies in that file."""
    uris = rows["uri"].to_pylist()
    offsets = rows["offset"].to_pylist() if "offset" in rows.column_names else [None] * len(uris)
    return [
        uri if offset is None or not uri else f"{uri} at byte {offset}"
        for uri, offset in zip(uris, offsets, strict=True)
    ]
