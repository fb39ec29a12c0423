"""Identity means in a Parquet file, read a row group at a time: 10 million of 512 numbers are 20 GB."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..artifacts import unwritable
from ..errors import DamagedFileError
from ..parquet_tables import check_rows, in_one_line, open_parquet, refuse_false_sizes
from ..schemas import IDENTITIES, MOST_NUMBERS, TableKind
from ..table_checks import TableCheck

IN_MEMORY = 2**31
"""Bytes of means up to which `as_array` holds them in memory."""


class MeanTable:
    """Column `mean` of a table, as something with `shape` (N, D) and slices of rows, float32[n, D].

    Or the embeddings of images: `MeanTable(path, EMBEDDINGS, "embedding")`, whose slices are float16[n, D] within a row
    group. Holds one decoded row group. The file is read, not mapped: pages of a mapped file would count as this process's
    memory, all of them in a pass.

    Raises:
        DamagedFileError: missing, damaged, or without a column `mean` of fixed-size lists.
    """

    def __init__(self, path: Path, kind: TableKind = IDENTITIES, column: str = "mean") -> None:
        self.path, self._file = path, open_parquet(path, mapped=False)
        self._kind, self._column = kind, column
        schema = self._file.schema_arrow
        if column not in schema.names or not pa.types.is_fixed_size_list(schema.field(column).type):
            raise DamagedFileError(f"{path} has no column '{column}' of fixed-size lists", str(path))
        for group in range(self._file.num_row_groups):
            refuse_false_sizes(path, self._file, group)
        groups = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._start = np.concatenate(([0], np.cumsum(groups, dtype=np.int64)))
        self.shape = (int(self._start[-1]), int(schema.field(column).type.list_size))
        if self.shape[1] > MOST_NUMBERS:
            raise DamagedFileError(
                f"{path} is damaged: it claims means of {self.shape[1]:,} numbers", str(path)
            )
        if 0 in self.shape:
            raise DamagedFileError(f"{path} holds no means", str(path))
        self._held: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Size of all means as float32."""
        return 4 * self.shape[0] * self.shape[1]

    @property
    def group_bytes(self) -> int:
        """Size of the largest row group, which is in memory while it is read."""
        return 4 * int(np.diff(self._start).max()) * self.shape[1]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, step = rows.indices(len(self))
        group = int(np.searchsorted(self._start, start, side="right")) - 1
        if start < stop <= self._start[group + 1]:
            begin = int(self._start[group])
            return self._group(group)[start - begin : stop - begin : step]
        found = np.empty((max(0, stop - start), self.shape[1]), np.float32)
        first = start
        while start < stop:  # one after another, so that no more than one is there twice
            begin, end = (int(row) for row in self._start[group : group + 2])
            end = min(stop, end)
            found[start - first : end - first] = self._group(group)[start - begin : end - begin]
            start, group = end, group + 1
        return found[::step]

    def as_array(self, folder: Path, only: np.ndarray | None = None) -> np.ndarray:
        """All means, to be read in any order: in memory up to 2 GiB, else as a map of an unnamed file in `folder`.

        Args:
            only: bool[N], which of them; default: all.

        Raises:
            InputError: no room for that file.
        """
        only = np.ones(len(self), bool) if only is None else only
        if self.nbytes <= IN_MEMORY:
            return self[:] if only.all() else self[:][only]
        try:
            file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (lives as long as the map)
            for group in range(len(self._start) - 1):
                self._group(group)[only[self._start[group] : self._start[group + 1]]].tofile(file)
            file.flush()
        except OSError as error:
            raise unwritable(folder, error) from error
        return np.memmap(file, np.float32, "r", shape=(int(only.sum()), self.shape[1]))

    def _group(self, group: int) -> np.ndarray:
        if self._held[0] != group:
            with in_one_line(self.path):
                table = self._file.read_row_group(group, columns=[self._column])
                check = TableCheck(self._kind, whole=False)
                check.row = int(self._start[group])
                check_rows(self.path, check, table)
                column = table[self._column].combine_chunks()
            self._held = group, column.flatten().to_numpy(zero_copy_only=False).reshape(-1, self.shape[1])
        return self._held[1]
