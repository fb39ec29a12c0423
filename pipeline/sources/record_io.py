"""InsightFace's .rec and .idx (MXNet's RecordIO of images), as a table of places inside the .rec.

A record is magic, flag and length, a header (flag, label, id, id2: `IfQQ`), so many float32 labels as the header's
flag says, and the encoded image; all padded to 4 bytes (dmlc-core, `recordio.h`; MXNet, `recordio.py`). In
InsightFace's files record 0 has no image: its two labels say that the records from the one on to the other are those
of identities, which have none either (`face2rec2.py`).

Only headers are read: 4 bytes at a few places of each record, out of a file that is mapped into memory.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from ...mining.errors import InputError
from ...mining.parquet_tables import DAMAGE
from .image_spool import ImageSpool
from .label_text import text_column
from .listing import Listing, refused_rows
from .options import SourceOptions, Track

MAGIC = 0xCED7230A
_LENGTH_BITS = 29
_HEADER = 24  # bytes of IfQQ
_EXACT = 2**24  # float32 holds no larger label exactly
_RECORDS_AT_ONCE = 65_536
_IN_PARTS = (
    "a record in several parts, as its bytes hold the mark of a record: no one place can be pointed at"
)


class _Records(NamedTuple):
    """Records in the order of their keys."""

    offset: np.ndarray
    """Where the image begins, int64."""
    length: np.ndarray
    """How long it is, int64."""
    labels: np.ndarray
    """How many labels are in front of the image, int64."""
    label: np.ndarray
    """The first of them, float32."""
    second: np.ndarray
    """The second where there are two, float32."""
    whole: np.ndarray
    """False for a record in several parts."""


def list_records(source: Path, options: SourceOptions, spool: ImageSpool, progress: Track) -> Listing:
    """List the images of a .rec: identity, uri, offset, length. A million take about a second.

    The places of records are those of the .idx beside it; without one, the .rec is gone through.

    Raises:
        InputError: cut, not a .rec, an .idx that belongs to another, labels that are no whole numbers.
    """
    index = source.with_suffix(".idx")
    try:
        size = source.stat().st_size
        if not size or size % 4:
            raise _cut(source, f"its size of {size:,} bytes is no multiple of 4" if size else "it is empty")
        words = np.asarray(np.memmap(source, "<u4", "r"))
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror}") from error
    starts = _read_index(index) if index.exists() else np.fromiter(_walk(words, source), np.int64)
    records = _read(words, starts, source, index, progress)
    images, notes = _images(records, source)
    return _listing(records, images, source, index.exists(), notes)


def _listing(records: _Records, images: np.ndarray, source: Path, indexed: bool, notes: list[str]) -> Listing:
    text = text_column(pa.chunked_array([records.label[images]]), f"{source}: the label of records")
    uri = os.path.join(os.path.realpath(source.parent), source.name)
    whole = records.whole[images]
    rows = pa.table(
        {
            "identity": text.filter(pa.array(whole)),
            "uri": pa.repeat(pa.scalar(uri, pa.large_string()), int(whole.sum())),
            "offset": records.offset[images][whole],
            "length": records.length[images][whole],
        }
    )
    broken = images[~whole]
    refused = refused_rows(
        (str(int(records.label[at])), f"{uri} at byte {records.offset[at]}", _IN_PARTS) for at in broken
    )
    most = int(records.labels[images].max(initial=0))
    identity = "label of the record" if most <= 1 else f"first of {most} labels of the record"
    places = source.with_suffix(".idx").name if indexed else "the .rec alone, gone through"
    reading = f"identity: {identity}; image: {source.suffix}; split: none; group: none; places: {places}"
    if np.abs(records.label[images]).max(initial=0) > _EXACT:
        notes.append(f"labels beyond {_EXACT:,} are rounded in a .rec, so some identities may be one")
    notes += _property_note(source, rows)
    return Listing(rows, reading, tuple(notes), refused, counted=True)


def _read_index(index: Path) -> np.ndarray:
    """Places of the records in the order of their keys, int64."""
    names = csv.ReadOptions(column_names=["key", "offset"])
    kinds = csv.ConvertOptions(column_types={"key": pa.int64(), "offset": pa.int64()})
    try:
        table = csv.read_csv(index, names, csv.ParseOptions(delimiter="\t"), kinds)
    except DAMAGE as error:
        raise InputError(f"{index} is no list of keys and places, or was cut; copy or remove it") from error
    if table["key"].null_count or table["offset"].null_count:
        raise InputError(f"{index} was cut, or a line of it is empty; copy or remove it")
    key, offset = table["key"].to_numpy(), table["offset"].to_numpy()
    order = np.argsort(key, kind="stable")
    if (np.diff(key[order]) == 0).any():
        raise InputError(f"{index} names a record twice; copy it again, or remove it")
    return offset[order]


def _walk(words: np.ndarray, source: Path) -> Iterator[int]:
    """Yield the place of every record, from one to the next."""
    at = 0
    while at < len(words):
        yield at * 4
        at = _next_record(words, at, source)


def _next_record(words: np.ndarray, at: int, source: Path) -> int:
    """The word behind the record that begins at word `at`, with all its parts."""
    first = True
    while True:
        if at + 2 > len(words):
            raise _cut(source, f"a record at byte {at * 4:,} has no end")
        if words[at] != MAGIC:
            raise _foreign(source, at * 4)
        part, length = int(words[at + 1]) >> _LENGTH_BITS, int(words[at + 1]) & ((1 << _LENGTH_BITS) - 1)
        if part not in ((0, 1) if first else (2, 3)):
            raise _foreign(source, at * 4)
        at += 2 + (length + 3) // 4
        if at > len(words):
            raise _cut(source, "its last record has no end")
        if part in (0, 3):
            return at
        first = False


def _read(words: np.ndarray, starts: np.ndarray, source: Path, index: Path, progress: Track) -> _Records:
    """Read the headers of the records at `starts`, which must fill the file."""
    order = np.argsort(starts, kind="stable")
    parts: list[_Records] = []

    def each() -> Iterator[int]:
        ends = np.append(starts[order][1:], len(words) * 4)
        for begin in range(0, len(starts), _RECORDS_AT_ONCE):
            some = slice(begin, begin + _RECORDS_AT_ONCE)
            parts.append(_headers(words, starts[order][some], ends[some], source, index))
            yield from range(len(parts[-1].offset))

    if len(starts) == 0 or starts[order[0]] != 0:
        raise _other_index(source, index)
    deque(progress(each()), maxlen=0)  # runs through them
    back = np.argsort(order, kind="stable")
    return _Records(*(np.concatenate(column)[back] for column in zip(*parts, strict=True)))


def _headers(words: np.ndarray, starts: np.ndarray, ends: np.ndarray, source: Path, index: Path) -> _Records:
    if (starts % 4).any() or (starts < 0).any():
        raise _other_index(source, index)
    outside = starts + 8 + _HEADER > len(words) * 4
    if outside.any():
        raise _cut(source, f"a record at byte {starts[outside][0]:,} has no end")
    at = starts // 4
    foreign = words[at] != MAGIC
    if foreign.any():
        raise _foreign(source, int(starts[foreign][0]))
    size = words[at + 1].astype(np.int64)
    part, length = size >> _LENGTH_BITS, size & ((1 << _LENGTH_BITS) - 1)
    stop = starts + 8 + (length + 3) // 4 * 4
    if (stop > len(words) * 4).any():
        raise _cut(source, f"a record at byte {starts[stop > len(words) * 4][0]:,} has no end")
    for odd in np.flatnonzero((stop != ends) | (part != 0)):
        if _next_record(words, int(at[odd]), source) * 4 != ends[odd]:
            raise _other_index(source, index)
    labels = words[at + 2].astype(np.int64)
    short = (length < _HEADER) | (_HEADER + 4 * labels > length) & (part == 0)
    if short.any():
        raise InputError(
            f"{source}: the record at byte {starts[short][0]:,} has no header of an image; make it again"
        )
    inside = np.minimum(at + 8, len(words) - 1)
    first = np.where(labels > 0, words[inside], words[at + 3]).astype("<u4").view("<f4")
    second = np.where(labels > 1, words[np.minimum(at + 9, len(words) - 1)], 0).astype("<u4").view("<f4")
    skipped = _HEADER + 4 * labels
    return _Records(starts + 8 + skipped, np.maximum(length - skipped, 0), labels, first, second, part == 0)


def _images(records: _Records, source: Path) -> tuple[np.ndarray, list[str]]:
    """Which records are images, int64, and what is said of the others."""
    everything = np.arange(len(records.offset))
    if records.labels[0] != 2 or records.length[0] or not records.whole[0]:
        return everything, []
    first, last = float(records.label[0]), float(records.second[0])
    if not (first.is_integer() and last.is_integer() and 1 <= first <= last == len(everything)):
        raise InputError(
            f"{source}: its header speaks of identities in records {first:g} to {last:g}, and there are "
            f"{len(everything):,} records; copy it again, with its .idx"
        )
    identities = everything[int(first) :]
    if records.length[identities].any():
        raise InputError(
            f"{source}: its header calls records from {first:g} on identities, and they hold images"
        )
    return everything[1 : int(first)], [
        f"1 header and {len(identities):,} records of identities have no images"
    ]


def _property_note(source: Path, rows: pa.Table) -> list[str]:
    """What InsightFace's file `property` (classes, height, width) says otherwise."""
    beside = source.with_name("property")
    try:
        classes = int(beside.read_text().split(",")[0])
    except (OSError, ValueError):
        return []
    found = len(rows["identity"].unique())
    return [] if found == classes else [f"{beside} speaks of {classes:,} identities, and {found:,} are there"]


def _cut(source: Path, why: str) -> InputError:
    return InputError(f"{source} was cut: {why}; copy it again")


def _foreign(source: Path, place: int) -> InputError:
    return InputError(
        f"{source} has no record at byte {place:,}: it is damaged, no RecordIO, or has another .idx"
    )


def _other_index(source: Path, index: Path) -> InputError:
    return InputError(
        f"{index} does not list the records of {source}, or was cut; copy it again, or remove it"
    )
