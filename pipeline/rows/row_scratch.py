"""Rows of a source on disk while they are put in order: tables one after another in a file without a name."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from ...mining.artifacts import unwritable


class RowScratch:
    """Tables of one schema in a scratch file, read back in the order in which they were added.

    Memory for one table at a time. The file has no name, so its space is free again even after a SIGKILL; LZ4 makes
    it about a third of the rows' size where paths repeat their folders.
    """

    def __init__(self, beside: Path) -> None:
        """Open in the folder of `beside`.

        Raises:
            InputError: that cannot be written.
        """
        self.rows = 0
        self._beside, self._whole = beside, False
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None
        try:
            self._file = tempfile.TemporaryFile(dir=beside.parent)  # noqa: SIM115  (lives as long as the scratch)
        except OSError as error:
            raise unwritable(beside, error) from error

    def __enter__(self) -> RowScratch:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, rows: pa.Table) -> None:
        """Append rows; their columns become those of the first table. A full disk is an InputError."""
        if not rows.num_rows:
            return
        try:
            if self._writer is None:
                self._schema = rows.schema
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writer = pa.ipc.new_stream(self._file, rows.schema, options=options)
            self._writer.write_table(rows.select(self._schema.names).cast(self._schema))
        except OSError as error:
            raise unwritable(self._beside, error) from error
        self.rows += rows.num_rows

    def tables(self) -> Iterator[pa.Table]:
        """What was added, a table for each batch of it, as often as wanted. Nothing can be added any more."""
        if self._writer is None:
            return
        if not self._whole:
            try:
                self._writer.close()
                self._file.flush()
            except OSError as error:
                raise unwritable(self._beside, error) from error
            self._whole = True
        self._file.seek(0)
        for batch in pa.ipc.open_stream(self._file):
            yield pa.Table.from_batches([batch])


def regrouped(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` each, the last one perhaps shorter.

    Example:
        >>> import pyarrow as pa
        >>> from subspace.pipeline.rows.row_scratch import regrouped
        >>> [len(table) for table in regrouped([pa.table({"a": [1, 2, 3]}), pa.table({"a": [4]})], rows=2)]
        [2, 2]
    """
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += table.num_rows
        if count < rows:
            continue
        joined = pa.concat_tables(waiting)
        whole = count - count % rows
        for start in range(0, whole, rows):
            yield joined.slice(start, rows).combine_chunks()
        waiting, count = [joined.slice(whole)], count - whole
    if count:
        yield pa.concat_tables(waiting).combine_chunks()
