"""InsightFace's .rec and .idx (MXNet's RecordIO of images), as a table of places inside the .rec.

A record is magic, flag and length, a header (flag, label, id, id2: `IfQQ`), so many float32 labels as the header's
flag says, and the encoded image; all padded to 4 bytes (dmlc-core, `recordio.h`; MXNet, `recordio.py`). In
InsightFace's files record 0 has no image: its two labels say that the records from the one on to the other are those
of identities, which have none either (`face2rec2.py`).

Only headers are read, out of a file that is mapped into memory; one behind a URL passes through memory once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from ...mining.errors import InputError
from ...mining.parquet_tables import DAMAGE
from ...mining.remote import in_words, is_url
from ..rows.image_spool import ImageSpool
from ..tables.label_text import text_column
from .listing import Listing, in_one_file, refused_rows
from .options import SourceOptions, Track
from .places import open_place, whole_uri
from .source_bytes import Sliced, opened

MAGIC = 0xCED7230A
_LENGTH_BITS = 29
_HEADER = 24  # bytes of IfQQ
_EXACT = 2**24  # float32 holds no larger label exactly
_RECORDS_AT_ONCE = 4_096
_IN_PARTS = (
    "a record in several parts, as its bytes hold the mark of a record: no one place can be pointed at"
)


Words = Callable[[int, int], np.ndarray]


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
    """List the images of a .rec: identity, uri, offset, length. A million take about a second and 150 MB.

    The places of records are those of the .idx beside it; without one, the .rec is gone through.

    Raises:
        InputError: cut, not a .rec, an .idx that belongs to another, labels that are no whole numbers.
    """
    index = source.with_suffix(".idx")
    indexed = is_url(source) or index.exists()
    with opened(source) as data:
        if len(data) % 4:
            raise _cut(source, f"its size of {len(data):,} bytes is no multiple of 4")
        words = _words_of(source, data)
        starts = _read_index(index) if indexed else np.fromiter(_walk(words(0, len(data)), source), np.int64)
        records = _read(words, len(data), starts, source, progress)
    images, notes = _images(records, source)
    if not indexed and len(images) == len(records.offset):  # no header says how many there are
        notes.append(f"without {index.name} beside {source.name}, a cut between two records cannot be seen")
    return _listing(records, images, source, indexed, notes)


def _words_of(source: Path, data: Sliced) -> Words:
    """What gives the words between two bytes: without a copy where the file is mapped."""
    if is_url(source):
        return lambda begin, end: np.frombuffer(data[begin:end], "<u4")
    mapped = np.asarray(np.memmap(source, "<u4", "r"))
    return lambda begin, end: mapped[begin // 4 : end // 4]


def _listing(records: _Records, images: np.ndarray, source: Path, indexed: bool, notes: list[str]) -> Listing:
    text = text_column(pa.chunked_array([records.label[images]]), f"{in_words(source)}: the label of records")
    uri = whole_uri(source)
    whole = records.whole[images]
    rows = pa.table(
        {
            "identity": text.filter(pa.array(whole)),
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
    return Listing(in_one_file(rows, uri), reading, tuple(notes), refused, counted=True)


def _read_index(index: Path) -> np.ndarray:
    """Places of the records in the order of their keys, int64."""
    names = csv.ReadOptions(column_names=["key", "offset"])
    kinds = csv.ConvertOptions(column_types={"key": pa.int64(), "offset": pa.int64()})
    try:
        table = csv.read_csv(open_place(index), names, csv.ParseOptions(delimiter="\t"), kinds)
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(
            f"{in_words(index)} is no list of keys and places, or was cut; copy or remove it"
        ) from error
    if table["key"].null_count or table["offset"].null_count:
        raise InputError(f"{in_words(index)} was cut, or a line of it is empty; copy or remove it")
    key, offset = table["key"].to_numpy(), table["offset"].to_numpy()
    order = np.argsort(key, kind="stable")
    if (np.diff(key[order]) == 0).any():
        raise InputError(f"{in_words(index)} names a record twice; copy it again, or remove it")
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


def _read(words: Words, size: int, starts: np.ndarray, source: Path, progress: Track) -> _Records:
    """Read the headers of the records at `starts`, which must fill the file of `size` bytes."""
    order = np.argsort(starts, kind="stable")
    begins = starts[order]
    ends = np.append(begins[1:], size)
    if len(starts) == 0 or begins[0] != 0 or (begins % 4).any():
        raise _other_index(source)
    if (begins + 8 + _HEADER > size).any():
        raise _cut(source, f"the record at byte {begins[begins + 8 + _HEADER > size][0]:,} has no end")
    parts: list[_Records] = []

    def each() -> Iterator[int]:
        for first in range(0, len(starts), _RECORDS_AT_ONCE):
            some = slice(first, first + _RECORDS_AT_ONCE)
            base = int(begins[first])
            block = words(base, max(int(ends[some][-1]), base + 8 + _HEADER))
            parts.append(_headers(block, base, size, begins[some], ends[some], source))
            yield from range(len(parts[-1].offset))

    deque(progress(each()), maxlen=0)  # runs through them
    back = np.argsort(order, kind="stable")
    return _Records(*(np.concatenate(column)[back] for column in zip(*parts, strict=True)))


def _headers(
    words: np.ndarray, base: int, size: int, starts: np.ndarray, ends: np.ndarray, source: Path
) -> _Records:
    """Headers of neighbours that end where the next one begins; `words` are those from byte `base` on."""
    at = (starts - base) // 4
    foreign = words[at] != MAGIC
    if foreign.any():
        raise _foreign(source, int(starts[foreign][0]))
    said = words[at + 1].astype(np.int64)
    part, length = said >> _LENGTH_BITS, said & ((1 << _LENGTH_BITS) - 1)
    stop = starts + 8 + (length + 3) // 4 * 4
    if (stop > size).any():
        raise _cut(source, f"the record at byte {starts[stop > size][0]:,} has no end")
    for odd in np.flatnonzero((stop != ends) | (part != 0)):
        if part[odd] == 0 or _next_record(words, int(at[odd]), source) * 4 + base != ends[odd]:
            raise _other_index(source)
    labels = words[at + 2].astype(np.int64)
    short = (length < _HEADER) | (_HEADER + 4 * labels > length) & (part == 0)
    if short.any():
        raise InputError(
            f"{in_words(source)}: the record at byte {starts[short][0]:,} has no header of an image; make it again"
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
    first, last = records.label[0], records.second[0]
    without = (records.labels == 2) & (records.length == 0)
    images = (
        everything[1:] if without.all() else everything[1 : len(everything) - int(np.argmin(without[::-1]))]
    )
    identities = len(everything) - 1 - len(images)
    # Compared as float32, as the header has them; files that were made anew often lack the records of identities.
    if first != np.float32(len(images) + 1) or (identities and last != np.float32(len(everything))):
        raise InputError(
            f"{in_words(source)}: its header speaks of images up to record {first - 1:.0f} and identities up to "
            f"{last - 1:.0f}, and there are {len(images):,} images in {len(everything):,} records; copy it again, with "
            "its .idx"
        )
    return images, [f"1 header and {identities:,} records of identities have no images"]


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
    return InputError(f"{in_words(source)} was cut: {why}; copy it again")


def _foreign(source: Path, place: int) -> InputError:
    return InputError(
        f"{in_words(source)} has no record at byte {place:,}: it is damaged, no RecordIO, or has another .idx"
    )


def _other_index(source: Path) -> InputError:
    index = source.with_suffix(".idx")
    return InputError(
        f"{in_words(index)} does not list the records of {in_words(source)}, or was cut; copy it again, or remove it"
    )
