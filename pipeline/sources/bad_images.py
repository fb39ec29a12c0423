"""Images that cannot be there, found from sizes alone, before anything is decoded."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...mining.errors import InputError
from ...mining.schemas import BOX, QUARANTINE
from .listing import Listing
from .remote_listing import remote_sizes

GOOD, MISSING, EMPTY, CUT_OFF, NO_BOX = range(5)
REASONS = ("good", "not an existing file", "zero bytes", "offset and length reach outside the file")
REASONS += ("the box is empty, inverted, incomplete or negative",)

_URL = r"\A[a-z][a-z0-9+.-]+://"
_FILES_AT_ONCE, _THREADS = 4_096, 32
_SLOW = 50e-6  # seconds to look a file up, from which on the network is what one waits for


def file_sizes(uris: pa.Array, seen: Callable[[int], object] = lambda files: None) -> np.ndarray:
    """The size of each file, int64[n]; -1 where there is none. `seen` hears how many more are known.

    Threads are used where they help: a local disk answers 400,000 times a second to one of them and less to
    several, which get in each other's way, while a network file system answers each in its own time. Folders of
    remote files are listed.
    """
    remote = pc.match_substring_regex(uris, _URL).to_numpy(zero_copy_only=False)
    if remote.any():
        found = np.empty(len(uris), np.int64)
        distinct = uris.filter(pa.array(remote)).dictionary_encode()
        measured = remote_sizes(distinct.dictionary.to_pylist(), seen)
        seen(len(distinct) - len(measured))
        found[remote] = measured[distinct.indices.to_numpy()]
        found[~remote] = file_sizes(uris.filter(pa.array(~remote)), seen)
        return found
    sizes = [np.zeros(0, np.int64)]
    for some in _some_sizes(uris):
        sizes.append(some)
        seen(len(some))
    return np.concatenate(sizes)


def _some_sizes(uris: pa.Array) -> Iterator[np.ndarray]:
    started = time.perf_counter()
    yield _sizes(uris.slice(0, _FILES_AT_ONCE))
    slow = time.perf_counter() - started > _SLOW * _FILES_AT_ONCE
    with ThreadPoolExecutor(_THREADS if slow else 1) as pool:
        for start in range(_FILES_AT_ONCE, len(uris), _FILES_AT_ONCE * _THREADS):
            stop = min(start + _FILES_AT_ONCE * _THREADS, len(uris))
            tasks = (uris.slice(at, _FILES_AT_ONCE) for at in range(start, stop, _FILES_AT_ONCE))
            yield from pool.map(_sizes, tasks)


def _sizes(uris: pa.Array) -> np.ndarray:
    """The size of each file, looked up once where many images lie in one file."""
    distinct = uris.dictionary_encode()
    sizes = np.fromiter(map(_size, distinct.dictionary.to_pylist()), np.int64, len(distinct.dictionary))
    return sizes[distinct.indices.to_numpy()]


def _size(uri: str) -> int:
    try:
        found = os.stat(uri)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def reasons_against(rows: pa.Table) -> np.ndarray:
    """Why each image is bad, int8[n]: GOOD, MISSING, EMPTY, CUT_OFF or NO_BOX.

    `size` is that of the file, or of the inline image, and -1 where there is none. `offset` and `length` (absent,
    or both null where the image is the whole file) must lie inside it. A box must hold a pixel; whether it lies
    inside the image shows when that is decoded.
    """
    size = rows["size"].to_numpy()
    reason = np.full(len(size), GOOD, np.int8)
    if BOX[0] in rows.column_names:
        box = [rows[name] for name in BOX]
        given = np.stack([side.is_valid().to_numpy() for side in box])
        x_1, y_1, x_2, y_2 = (side.fill_null(0).to_numpy() for side in box)
        wrong = (x_1 < 0) | (y_1 < 0) | (x_2 <= x_1) | (y_2 <= y_1) | (np.maximum(x_2, y_2) >= 2**31)
        reason[given.any(0) & (wrong | ~given.all(0))] = NO_BOX
    if "offset" in rows.column_names:
        part = rows["offset"].is_valid().to_numpy() | rows["length"].is_valid().to_numpy()
        offset, length = (rows[name].fill_null(-1).to_numpy() for name in ("offset", "length"))
        reason[part & ((offset < 0) | (length < 0) | (offset > size - length))] = CUT_OFF
        reason[length == 0] = EMPTY
    reason[size == 0] = EMPTY
    reason[size < 0] = MISSING
    return reason


def bad_image_error(source: str, reason: int, count: int, first: str, listing: Listing) -> InputError:
    """The one line about `count` images of a source that are bad for one reason."""
    way = ""
    if reason == MISSING and listing.places:
        way = ", write their paths anew (they are absolute: --root does not move them)"
        if listing.any_relative:
            way = ", correct the folder that relative paths start from (--root)"
    mend = "correct" if reason == NO_BOX else "restore"
    return InputError(
        f"{source}: {count:,} images are bad ({REASONS[reason]}), the first is {first or 'without a name'}; "
        f"{mend} them{way}, or leave them out (--on-bad-image quarantine)"
    )


def called(rows: pa.Table, place: int) -> str:
    """What messages call the image of a row: its uri, and where it lies in that file."""
    row = rows.slice(place, 1).to_pylist()[0]
    offset = row.get("offset")
    return row["uri"] if offset is None or not row["uri"] else f"{row['uri']} at byte {offset}"


def quarantine_table(rows: pa.Table, names: pa.Array, reason: np.ndarray) -> pa.Table:
    """The bad rows as a QUARANTINE table. Their image_id is -1, as they have none in the manifest."""
    bad = np.flatnonzero(reason != GOOD)
    reasons = pa.array(REASONS, pa.large_string()).take(reason[bad])
    if "offset" in rows.column_names:
        offset = rows["offset"].take(bad)
        placed = pc.binary_join_element_wise(
            reasons, offset.cast(pa.large_string()), pa.scalar(", at byte ", pa.large_string())
        )
        reasons = pc.coalesce(placed, reasons)
    columns = (
        pa.array(np.full(len(bad), -1)),
        names.take(rows["identity_id"].combine_chunks().take(bad)),
        rows["uri"].take(bad),
        reasons,
    )
    return pa.table(columns, names=QUARANTINE.columns.names).cast(QUARANTINE.columns)


def repeats_table(rows: pa.Table, names: pa.Array, repeated: np.ndarray) -> pa.Table:
    """Rows that repeat another, `repeated` (-1: none), as a QUARANTINE table."""
    places = np.flatnonzero(repeated >= 0)
    pairs = [(called(rows, place), called(rows, int(repeated[place]))) for place in places.tolist()]
    identity = names.take(rows["identity_id"].combine_chunks().take(places))
    uri, reason = (
        [one for one, _ in pairs],
        [f"same image as {other} of its identity, which is taken" for _, other in pairs],
    )
    columns = (
        pa.array(np.full(len(pairs), -1)),
        identity,
        pa.array(uri, pa.string()),
        pa.array(reason, pa.string()),
    )
    return pa.table(columns, names=QUARANTINE.columns.names).cast(QUARANTINE.columns)


def refused_images(refused: pa.Table) -> pa.Table:
    """Images that a reader could not take (identity, uri, reason) as a QUARANTINE table."""
    refused = refused.sort_by([("identity", "ascending"), ("uri", "ascending")])
    return refused.add_column(0, "image_id", pa.array(np.full(len(refused), -1))).cast(QUARANTINE.columns)
