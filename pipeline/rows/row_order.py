"""Rows of a source in the manifest's order, however many there are: sorted a range of identities at a time."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...mining.machine import memory_with
from ..console import about
from ..estimates.estimate import of_memory
from ..estimates.row_speed import sorted_seconds
from .row_scratch import RowScratch, regrouped

RANGE = 2**19
"""Rows sorted at once, about: some 300 MB while it lasts."""
MOST_RANGES = 256
"""Each is an open file; of more than 134 million rows, ranges are larger instead."""
_BATCH = 2**17
MANY_ROWS = 100_000
"""From so many on it is said what they take."""
_ROW_BYTES, _SORTED_BYTES = 60, 600
"""Memory of each row to the end, and of each row of the range that is sorted."""
_SORTS = 47
"""What a row takes, with its bytes compared, in sortings of one (`sorted_seconds`); disks may take longer."""
_SAMPLED = 256
"""Names kept of each table that is added, to cut ranges by."""


class RowOrder:
    """Rows in the order of a manifest: by identity in byte order, then by all else that is known of them.

    Rows are written to a scratch file as they come, then shared out among ranges of identities (a file each), and
    every range is sorted by itself. An identity is never in two ranges, and where a range ends leaves no trace.
    Memory: one range, and 256 names for each table added. Disk: the rows twice, compressed.
    """

    def __init__(self, beside: Path, range_rows: int = RANGE) -> None:
        self._beside, self._range_rows = beside, range_rows
        self._files = ExitStack()
        self._came = self._files.enter_context(RowScratch(beside))
        self._sample: list[pa.Array] = []
        self.repeats = 0
        """Rows left out of the ranges so far, as one with all the same content is there."""

    def __enter__(self) -> RowOrder:
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()

    @property
    def rows(self) -> int:
        """How many were added."""
        return self._came.rows

    def add(self, rows: pa.Table) -> None:
        """Add rows, in any order: columns identity (large_string) and all others that tell them apart."""
        self._came.add(rows)
        every = max(1, rows.num_rows // _SAMPLED)
        self._sample.append(
            rows["identity"].take(pa.array(np.arange(0, rows.num_rows, every))).combine_chunks()
        )

    def ranges(self, images: pa.Array) -> Iterator[tuple[pa.Array, pa.Table]]:
        """Yield, range after range, the names of its identities, and its rows in order.

        `identity` becomes `identity_id`, which counts within the range. `images`, when there are any, are those of
        the rows in the order in which they were added: they decide only where all else is equal, and `row` says
        which one belongs to a row. Of rows that are equal in all of this, the first is there: `repeats` counts the
        others.
        """
        came = self._numbered() if len(images) else self._came.tables()
        ends = self._ends()
        if not len(ends):
            yield self._once(*_in_order(pa.concat_tables(list(came)), images))
            return
        scratches = [self._files.enter_context(RowScratch(self._beside)) for _ in range(len(ends) + 1)]
        for rows in regrouped(came, _BATCH):
            number = np.zeros(rows.num_rows, np.int64)
            for end in ends:
                number += pc.greater_equal(rows["identity"].chunk(0), end).to_numpy(zero_copy_only=False)
            order = np.argsort(number, kind="stable")
            shared = rows.take(pa.array(order))
            stops = np.searchsorted(number[order], np.arange(len(scratches)), side="right")
            for scratch, start, stop in zip(
                scratches, [0, *stops[:-1].tolist()], stops.tolist(), strict=True
            ):
                scratch.add(shared.slice(start, stop - start))
        self._came.__exit__()
        for scratch in scratches:
            if scratch.rows:
                yield self._once(*_in_order(pa.concat_tables(list(scratch.tables())), images))
            scratch.__exit__()  # its space is free again

    def _once(self, names: pa.Array, rows: pa.Table, repeated: np.ndarray) -> tuple[pa.Array, pa.Table]:
        """Leave out the rows that are `repeated`."""
        self.repeats += int(np.count_nonzero(repeated))
        return names, rows.filter(pa.array(~repeated)).combine_chunks() if repeated.any() else rows

    def _numbered(self) -> Iterator[pa.Table]:
        """The rows with their number, by which their inline images are found, unless they came with one."""
        start = 0
        for rows in self._came.tables():
            if "row" in rows.column_names:
                yield rows
                continue
            yield rows.append_column("row", pa.array(np.arange(start, start + rows.num_rows)))
            start += rows.num_rows

    def _ends(self) -> pa.Array:
        """The first names of all ranges but the first, ascending: quantiles of the names that were kept."""
        wanted = min(-(-self.rows // self._range_rows), MOST_RANGES)
        names = pa.concat_arrays(self._sample)
        names = names.take(pc.sort_indices(names))
        return names.take(pa.array(len(names) * np.arange(1, wanted) // wanted)).unique()


def work_in_words(rows: int) -> str:
    """What it takes to make a manifest of so many rows that are listed, in a line."""
    memory = memory_with(_SORTED_BYTES * min(rows, RANGE) + _ROW_BYTES * rows)
    return f"{rows:,} images listed; to check, compare and write them: {about(_SORTS * sorted_seconds() * rows)}, {of_memory(memory)}"


def _in_order(rows: pa.Table, images: pa.Array) -> tuple[pa.Array, pa.Table, np.ndarray]:
    """Sort the rows of one range; return the names of its identities, the rows, and whether each equals the one before."""
    identity = rows["identity"].combine_chunks().dictionary_encode()
    by_bytes = pc.sort_indices(identity.dictionary).to_numpy()
    rank = np.empty(len(by_bytes), np.int32)
    rank[by_bytes] = np.arange(len(by_bytes))
    rows = rows.drop_columns(["identity"]).add_column(0, "identity_id", [rank[identity.indices.to_numpy()]])
    keys = [name for name in rows.column_names if name != "row"]
    rows = rows.take(pc.sort_indices(rows, [(name, "ascending") for name in keys])).combine_chunks()
    repeated = _as_before(rows.select(keys))
    if len(images):
        order, repeated = _by_image(repeated, rows["row"], images)
        rows = rows.take(order).combine_chunks()
    return identity.dictionary.take(by_bytes), rows, repeated


def _as_before(rows: pa.Table) -> np.ndarray:
    """Whether each row equals the one before in all columns, bool[n]."""
    same = np.ones(rows.num_rows, bool)
    same[:1] = False
    for name in rows.column_names:
        here, there = rows[name].slice(1), rows[name].slice(0, max(0, rows.num_rows - 1))
        equal = pc.or_(pc.fill_null(pc.equal(here, there), False), pc.and_(here.is_null(), there.is_null()))
        same[1:] &= equal.to_numpy()
    return same


def _by_image(same: np.ndarray, row: pa.ChunkedArray, images: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """The order in which rows of equal keys (`same` as the one before) have ascending images; which then equal the one before.

    Only the images of one run of equals are in memory at once.
    """
    order, repeated = np.arange(len(same)), np.zeros(len(same), bool)
    edges = np.diff(np.concatenate((same, [False])).astype(np.int8), prepend=0)
    for start, stop in zip(np.flatnonzero(edges == 1) - 1, np.flatnonzero(edges == -1), strict=True):
        some = images.take(row.slice(start, stop - start).combine_chunks())
        by_image = pc.sort_indices(some)
        order[start:stop] = start + by_image.to_numpy()
        repeated[start:stop] = _as_before(pa.table({"image": some.take(by_image)}))
    return pa.array(order), repeated
