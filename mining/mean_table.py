"""Identity means in a Parquet file, read a row group at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .artifacts import DAMAGE, open_parquet
from .errors import InputError


class MeanTable:
    """Column `mean` of a table, as something with `shape` (N, D) and slices of rows.

    Holds one decoded row group. The file is read, not mapped: pages of a mapped file would count as
    this process's memory, 20 GB of them at 10 million identities.

    Raises:
        InputError: missing, damaged, or without a column `mean` of fixed-size lists.
    """

    def __init__(self, path: Path) -> None:
        open_parquet(path)
        self._path, self._file = path, pq.ParquetFile(path, page_checksum_verification=True)
        schema = self._file.schema_arrow
        if "mean" not in schema.names or not pa.types.is_fixed_size_list(schema.field("mean").type):
            raise InputError(f"{path} has no column 'mean' of fixed-size lists")
        rows = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._first = np.cumsum([0, *rows])
        self.shape = (int(self._first[-1]), int(schema.field("mean").type.list_size))
        self._group, self._decoded = -1, np.empty((0, self.shape[1]), np.float32)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Rows start..stop, float32[n, D]."""
        start, stop, _ = rows.indices(self.shape[0])
        groups = range(
            int(np.searchsorted(self._first, start, "right")) - 1, int(np.searchsorted(self._first, stop))
        )
        pieces = [
            self._read(group)[max(0, start - self._first[group]) : stop - self._first[group]]
            for group in groups
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate([self._decoded[:0], *pieces])

    def _read(self, group: int) -> np.ndarray:
        if group != self._group:
            try:
                column = self._file.read_row_group(group, columns=["mean"])["mean"].combine_chunks()
            except DAMAGE as error:
                raise InputError(f"{self._path} is damaged: {str(error).splitlines()[0]}") from error
            self._group = group
            self._decoded = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, self.shape[1])
        return self._decoded
