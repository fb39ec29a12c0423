"""The means of an identities table, read from disk by slices: 10 million of 512 numbers are 20 GB."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from .artifacts import open_parquet, read_row_group, unwritable
from .errors import InputError
from .schemas import IDENTITIES

IN_MEMORY = 2**31
"""Bytes of means up to which `as_array` holds them in memory."""


class MeanTable:
    """The `mean` column of `identities.parquet`: `shape`, and slices of rows as float32[n, D].

    Slices in order read the file once, one row group at a time.

    Raises:
        InputError: not an identities table, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        file = open_parquet(path, IDENTITIES)
        groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        self._start = np.concatenate(([0], np.cumsum(groups, dtype=np.int64)))
        self.shape = (int(self._start[-1]), file.schema_arrow.field("mean").type.list_size)
        self._held: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Of all means as float32."""
        return 4 * self.shape[0] * self.shape[1]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, step = rows.indices(len(self))
        found = [np.empty((0, self.shape[1]), np.float32)]
        group = int(np.searchsorted(self._start, start, side="right")) - 1
        while start < stop:
            begin, end = (int(row) for row in self._start[group : group + 2])
            found.append(self._group(group)[start - begin : min(stop, end) - begin])
            start, group = end, group + 1
        return np.concatenate(found)[::step]

    def as_array(self, folder: Path) -> np.ndarray:
        """All means, to be read in any order: in memory up to 2 GiB, else as a map of an unnamed file in `folder`.

        Raises:
            InputError: no room for that file.
        """
        if self.nbytes <= IN_MEMORY:
            return self[:]
        try:
            file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (lives as long as the map)
            for group in range(len(self._start) - 1):
                self._group(group).tofile(file)
            file.flush()
        except OSError as error:
            raise unwritable(folder, error) from error
        return np.memmap(file, np.float32, "r", shape=self.shape)

    def _group(self, group: int) -> np.ndarray:
        if self._held[0] != group:
            column = read_row_group(self.path, IDENTITIES, group, ["mean"])["mean"].combine_chunks()
            if column.null_count:
                raise InputError(f"{self.path} has identities without a mean; run `subspace extract` again")
            self._held = group, column.flatten().to_numpy().reshape(-1, self.shape[1])
        return self._held[1]
