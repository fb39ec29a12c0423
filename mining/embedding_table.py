"""Embeddings in a file: a row for each image, as `subspace embed` writes it, read in blocks or one column at a time.

A Parquet file holds images and embeddings together. A .npy file holds the embeddings alone; what each row is stands in
`NAME.rows.parquet` beside it, where it was written here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .embedding_files import as_vectors, rows_beside
from .errors import DamagedFileError, InputError
from .parquet_tables import (
    check_rows,
    in_one_line,
    metadata_of,
    open_parquet,
    refuse_false_sizes,
)
from .schemas import EMBEDDING_ROWS, IMAGE_EMBEDDINGS
from .table_checks import TableCheck

BLOCK_ROWS = 65_536
_YES_OR_NO = {"true": True, "false": False}


@dataclass(frozen=True)
class EmbeddingTable:
    """Embeddings of images in a file; nothing is held of it until a block or a column is asked for.

    Example:
        >>> import tempfile
        >>> from subspace.mining import EmbeddingTable, embedding_writer
        >>> path = Path(tempfile.mkdtemp()) / "photos.parquet"
        >>> with embedding_writer(path, 2, columns=["identity"], normalized=True) as writer:
        ...     writer.write(np.eye(2), {"image": ["a.jpg", "b.jpg"], "identity": ["ann", None]})
        >>> table = EmbeddingTable.open(path)
        >>> table.rows, table.dimensions, table.normalized, table.column("image").to_pylist()
        (2, 2, True, ['a.jpg', 'b.jpg'])
        >>> table.identity_id()
        (array([ 0, -1]), ['ann'])
        >>> table.read().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    path: Path
    rows: int
    dimensions: int
    network: str | None
    """Fingerprint of the weights and the preprocessing that made it; None where the file does not say."""
    normalized: bool | None
    """Whether all vectors have unit length; None where the file does not say."""
    columns: tuple[str, ...]
    """What it holds besides the embeddings, such as image and identity."""
    _table: Path | None
    """Where the columns are; None: nowhere."""
    flip: bool | None = None
    """Whether each is the mean with that of the mirror image; None where the file does not say."""
    opened: str | None = None
    """What that network was opened from, such as checkpoint:DIR; None where the file does not say."""

    @classmethod
    def open(cls, path: Path | str) -> EmbeddingTable:
        """Open a .parquet file of embeddings, or a .npy file of float[n, D]; a Parquet file may be behind a URL.

        Raises:
            InputError: missing, damaged, empty, of another kind, or with a column of another type.
        """
        path = Path(path)
        return _open_rows(path) if path.suffix == ".npy" else _open_table(path)

    def column(self, name: str) -> pa.ChunkedArray | None:
        """A column of all rows, such as "image", "identity" or "group"; None where the file has none.

        Raises:
            InputError: it is damaged.
        """
        if self._table is None or name not in self.columns:
            return None
        kind = EMBEDDING_ROWS if self.path.suffix == ".npy" else IMAGE_EMBEDDINGS
        file, check, chunks = open_parquet(self._table, kind, mapped=False), TableCheck(kind), []
        for group in range(file.num_row_groups):
            with in_one_line(self._table):
                refuse_false_sizes(self._table, file, group)
                rows = file.read_row_group(group, columns=[name])
                check_rows(self._table, check, rows)
            chunks += rows[name].chunks
        return pa.chunked_array(chunks, file.schema_arrow.field(name).type)

    def identity_id(self) -> tuple[np.ndarray, list[str]]:
        """The identity of each row as a number, int64[n], -1 where it is not known, and the names by that number.

        Numbers follow the rows: the first name is 0. An empty name is nobody's.
        """
        column = self.column("identity")
        if column is None:
            return np.full(self.rows, -1, np.int64), []
        encoded = column.cast(pa.string()).dictionary_encode()
        code = np.concatenate([chunk.indices.fill_null(-1).to_numpy() for chunk in encoded.chunks])
        code, names = code.astype(np.int64), encoded.chunk(0).dictionary.to_pylist()
        if "" in names:
            blank = names.index("")
            code = np.where(code == blank, -1, code - (code > blank))
            names.remove("")
        return code, names

    def blocks(self, rows: int = BLOCK_ROWS) -> Iterator[np.ndarray]:
        """Yield all embeddings in order, float32[rows, D] at a time, the last block perhaps shorter.

        Memory: two blocks.

        Raises:
            InputError: NaN, a vector of no length, of another length than the others, or not of unit length where the
                file says so; and where the file is damaged.
        """
        held, block = 0, np.empty((min(rows, self.rows), self.dimensions), np.float32)
        for piece in self._pieces(rows):
            start = 0
            while start < len(piece):
                taken = piece[start : start + len(block) - held]
                block[held : held + len(taken)] = taken
                held, start = held + len(taken), start + len(taken)
                if held == len(block):
                    yield block
                    held, block = 0, np.empty_like(block)
        if held:
            yield block[:held]

    def read(self) -> np.ndarray:
        """All embeddings, float32[n, D]."""
        found, start = np.empty((self.rows, self.dimensions), np.float32), 0
        for piece in self._pieces(BLOCK_ROWS):
            found[start : start + len(piece)] = piece
            start += len(piece)
        return found

    def _pieces(self, rows: int) -> Iterator[np.ndarray]:
        """Checked embeddings as the file has them, at most so many rows at a time."""
        check = TableCheck(IMAGE_EMBEDDINGS, unit=bool(self.normalized))
        if self.path.suffix == ".npy":
            for start in range(0, self.rows, rows):
                piece = np.array(
                    _mapped(self.path)[start : start + rows]
                )  # mapped anew: pages seen are let go
                check_rows(self.path, check, pa.table({"embedding": as_vectors(piece)}))
                yield piece
            return
        file = open_parquet(self.path, IMAGE_EMBEDDINGS, mapped=False)
        for group in range(file.num_row_groups):
            with in_one_line(self.path):
                refuse_false_sizes(self.path, file, group)
                for batch in file.iter_batches(rows, row_groups=[group], columns=["embedding"]):
                    check_rows(self.path, check, pa.Table.from_batches([batch]))
                    numbers = batch.column(0).flatten().to_numpy(zero_copy_only=False)
                    if len(numbers) != len(batch) * self.dimensions:
                        raise DamagedFileError(f"{self.path} has vectors of several lengths", str(self.path))
                    yield numbers.reshape(len(batch), self.dimensions)


def _mapped(path: Path) -> np.ndarray:
    """The array of a .npy file, float[n, D]."""
    if not path.exists():
        raise DamagedFileError(f"{path} does not exist", str(path))
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise DamagedFileError(
            f"{path} is not a readable .npy file (truncated?): {first}", str(path)
        ) from error
    if (
        not isinstance(rows, np.ndarray)
        or rows.ndim != 2
        or rows.dtype.kind != "f"
        or rows.dtype.itemsize > 8
    ):
        held = f"{rows.dtype}{list(rows.shape)}" if isinstance(rows, np.ndarray) else "several arrays"
        raise InputError(
            f"{path} holds {held}, not embeddings: float32 or float16 [images, numbers] are needed"
        )
    if not rows.dtype.isnative:
        raise InputError(
            f"{path} holds numbers of the other byte order ({rows.dtype.str}); save it as float32 of this one"
        )
    return rows


def _open_rows(path: Path) -> EmbeddingTable:
    rows, numbers = _mapped(path).shape
    _refuse_empty(path, rows, numbers)
    beside = rows_beside(path)
    if not beside.exists():
        return EmbeddingTable(path, rows, numbers, None, None, (), None)
    file = open_parquet(beside, EMBEDDING_ROWS)
    if file.metadata.num_rows != rows:
        raise DamagedFileError(
            f"{beside} names {file.metadata.num_rows:,} rows, but {path.name} has {rows:,}: they are not of one "
            f"writing; write both again, or move {beside.name} away",
            str(path),
        )
    return _described(path, rows, numbers, file, beside)


def _open_table(path: Path) -> EmbeddingTable:
    file = open_parquet(path, IMAGE_EMBEDDINGS)
    rows, kind = file.metadata.num_rows, file.schema_arrow.field("embedding").type
    numbers = kind.list_size if pa.types.is_fixed_size_list(kind) else 0
    if (
        rows and not numbers
    ):  # as another program wrote them: the first row says how many, the check that all agree
        with in_one_line(path):
            first = next(file.iter_batches(1, columns=["embedding"]))
            numbers = len(first.column(0).flatten())
    _refuse_empty(path, rows, numbers)
    return _described(path, rows, numbers, file, path)


def _described(path: Path, rows: int, numbers: int, file: pq.ParquetFile, table: Path) -> EmbeddingTable:
    metadata, names = metadata_of(file), file.schema_arrow.names
    normalized, flip = (_YES_OR_NO.get(metadata.get(name, "")) for name in ("normalized", "flip"))
    columns = tuple(name for name in names if name not in ("embedding", "row"))
    network, opened = metadata.get("network"), metadata.get("opened")
    return EmbeddingTable(path, rows, numbers, network, normalized, columns, table, flip, opened)


def _refuse_empty(path: Path, rows: int, numbers: int) -> None:
    if not rows or not numbers:
        raise InputError(f"{path} holds no embeddings ({rows:,} rows of {numbers:,} numbers)")
