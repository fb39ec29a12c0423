"""Identity means as blocks of equal size, whatever they come in: arrays, files on disk, iterables of blocks.

Shapes: N identities, D numbers in a mean.

The blocks do not depend on how the means were cut on arrival, so neither does any result: BLAS may round
the same row otherwise when it stands in a product of another shape.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..errors import InputError

ROWS_PER_BLOCK = 16_384
"""32 MB at D=512: large enough for BLAS and for Arrow, small beside any budget."""


class MeanBlocks:
    """Means that can be gone through again and again, float32[at most 16,384, D] at a time.

    Args:
        means: one of
            - anything with `shape` (N, D) and slices of rows: an array, a memmap, a tensor, HDF5, Zarr,
              `MeanTable`; nothing is read but the slices asked for;
            - an iterable of blocks [n_i, D] that can be gone through again; it is counted first;
            - an iterator of blocks, which cannot: it is copied to an unnamed temporary file.

    Raises:
        InputError: no identities, or blocks of unlike width.
    """

    def __init__(self, means: Any) -> None:
        if hasattr(means, "shape") and hasattr(means, "__getitem__"):
            self._rows, shape = means, tuple(means.shape)
        elif iter(means) is means:
            self._rows = _Spool(means)
            shape = self._rows.shape
        else:
            self._rows, shape = None, _count(means)
        if len(shape) != 2 or 0 in shape:
            raise InputError(f"means must be a non-empty [N, D] array, got shape {shape}")
        self._means = means
        self.shape: tuple[int, int] = (int(shape[0]), int(shape[1]))

    def __len__(self) -> int:
        return -(-self.shape[0] // ROWS_PER_BLOCK)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Go through all blocks in order: (number of the first row, float32[n, D])."""
        return self.only(np.arange(len(self)))

    def only(self, blocks: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Go through the blocks of these numbers, ascending; what can be skipped is not read."""
        if self._rows is not None:
            # The next block is read meanwhile: disk and processor do not wait for each other.
            with ThreadPoolExecutor(1) as reader:
                ahead = None
                for block in blocks.tolist():
                    ready, ahead = ahead, reader.submit(self._read, self._rows, block)
                    if ready is not None:
                        yield ready.result()
                if ahead is not None:
                    yield ahead.result()
        else:
            wanted = set(blocks.tolist())
            for block, rows in enumerate(_recut(self._means, self.shape)):
                if block in wanted:
                    yield block * ROWS_PER_BLOCK, rows

    def _read(self, rows: Any, block: int) -> tuple[int, np.ndarray]:
        start = block * ROWS_PER_BLOCK
        rows = rows[start : min(start + ROWS_PER_BLOCK, self.shape[0])]
        return start, np.ascontiguousarray(rows, np.float32)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Return the means of these rows, reading only blocks that hold some: float32[len(numbers), D]."""
        found, order = np.empty((len(numbers), self.shape[1]), np.float32), np.argsort(numbers)
        ascending, done = numbers[order], 0
        for start, block in self.only(np.unique(ascending // ROWS_PER_BLOCK)):
            end = int(np.searchsorted(ascending, start + len(block)))
            found[order[done:end]] = block[ascending[done:end] - start]
            done = end
        return found


class _Spool:
    """An iterator's blocks in an unnamed file, read back by slices without mapping it into memory."""

    def __init__(self, blocks: Iterable[Any]) -> None:
        self._file, self.shape = tempfile.TemporaryFile(), (0, 0)  # noqa: SIM115
        try:
            for block in map(_checked, blocks):
                self.shape = _grown(self.shape, block)
                self._file.write(block.data)
        except OSError as error:
            raise InputError(
                f"cannot copy the means to {tempfile.gettempdir()}: {error.strerror}; free space there or set TMPDIR"
            ) from error

    def __getitem__(self, rows: slice) -> np.ndarray:
        D = self.shape[1]
        self._file.seek(rows.start * D * 4)
        found = np.empty((rows.stop - rows.start, D), np.float32)
        self._file.readinto(found.data)
        return found


def _count(blocks: Iterable[Any]) -> tuple[int, int]:
    shape = (0, 0)
    for block in blocks:
        shape = _grown(shape, _checked(block))
    return shape


def _checked(block: Any) -> np.ndarray:
    block = np.ascontiguousarray(block, np.float32)
    if block.ndim != 2:
        raise InputError(f"a block of means must be an [n, D] array, got shape {block.shape}")
    return block


def _grown(shape: tuple[int, int], block: np.ndarray) -> tuple[int, int]:
    if shape[0] and block.shape[1] != shape[1]:
        raise InputError(f"means of {shape[1]} numbers are followed by means of {block.shape[1]}")
    return shape[0] + len(block), block.shape[1]


def _recut(blocks: Iterable[Any], shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """The same rows in blocks of ROWS_PER_BLOCK."""
    N, seen, waiting = shape[0], 0, []
    for block in map(_checked, blocks):
        seen += len(block)
        waiting.append(block)
        if sum(map(len, waiting)) >= ROWS_PER_BLOCK:
            rows = np.concatenate(waiting)
            whole = len(rows) - len(rows) % ROWS_PER_BLOCK
            yield from np.split(rows[:whole], whole // ROWS_PER_BLOCK)
            waiting = [rows[whole:].copy()]
    if seen != N:
        raise InputError(f"the means were {N} rows on the first pass and {seen} on the next")
    if sum(map(len, waiting)):
        yield np.concatenate(waiting)
