"""Files of embeddings as they are written: Parquet with a row for each image, or .npy with what its rows are beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .artifacts import whole_file
from .errors import InputError
from .parquet_tables import parquet_writer
from .schemas import EMBEDDING_ROWS, IMAGE_EMBEDDINGS, vector
from .table_checks import TableCheck

GROUP_ROWS, GROUP_BYTES = 65_536, 2**25
"""The most in a row group: what a reader holds at a time."""


class EmbeddingWriter:
    """Writes embeddings with what their images are, block by block; `embedding_writer` opens it.

    Example:
        >>> import tempfile
        >>> from subspace.mining import embedding_writer
        >>> with embedding_writer(Path(tempfile.mkdtemp()) / "photos.npy", 2, normalized=True) as writer:
        ...     writer.write(np.eye(2), {"image": ["a.jpg", "b.jpg"]})
        >>> writer.rows
        2
    """

    def __init__(
        self,
        path: Path,
        table: pq.ParquetWriter,
        rows_only: BinaryIO | None,
        dtype: np.dtype[Any],
        unit: bool,
    ) -> None:
        self.path, self.rows = path, 0
        self._writer, self._rows_only, self._dtype = table, rows_only, dtype
        self._check = TableCheck(IMAGE_EMBEDDINGS, unit=unit)
        self._waiting: list[pa.Table] = []
        self.columns = [name for name in table.schema.names if name not in ("row", "embedding")]
        """What `write` is given besides embeddings."""

    def write(self, embeddings: np.ndarray, columns: Mapping[str, Sequence[Any] | pa.Array]) -> None:
        """Write embeddings, float[b, D], with a value of each column for each of them.

        Raises:
            InputError: NaN, a vector of no length, a number that float16 cannot hold; and where the disk is full.
        """
        with np.errstate(over="ignore"):  # infinite is refused below
            vectors = np.ascontiguousarray(embeddings, self._dtype)
        array = as_vectors(vectors)
        if problem := self._check.problem_in(pa.table({"embedding": array})):
            half = "; float16 holds numbers up to 65,504" if self._dtype == np.float16 else ""
            raise InputError(f"{self.path} cannot hold these embeddings: it {problem}{half}")
        schema, ours = self._writer.schema, {"embedding": array}
        ours["row"] = pa.array(np.arange(self.rows, self.rows + len(vectors)))
        self.rows += len(vectors)
        if self._rows_only is not None:
            self._rows_only.write(vectors.data)
        arrays = [ours[f.name] if f.name in ours else pa.array(columns[f.name], f.type) for f in schema]
        self._waiting.append(pa.Table.from_arrays(arrays, schema=schema))
        # Groups of one size, so that the file does not depend on the blocks that it came in.
        most = max(1024, min(GROUP_ROWS, GROUP_BYTES // vectors[:1].nbytes)) if len(vectors) else GROUP_ROWS
        while sum(map(len, self._waiting)) >= most:
            waiting = pa.concat_tables(self._waiting)
            self._writer.write_table(waiting.slice(0, most), row_group_size=most)
            self._waiting = [waiting.slice(most)]

    def _end(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting))


@contextmanager
def embedding_writer(
    path: Path | str,
    dimensions: int,
    *,
    dtype: Literal["float32", "float16"] = "float32",
    columns: Sequence[str] = (),
    network: str | None = None,
    normalized: bool,
    fingerprint: str = "",
    notes: Mapping[str, str] | None = None,
) -> Iterator[EmbeddingWriter]:
    """Yield a writer of embeddings; `path` appears, whole, when the block ends without an error.

    Args:
        path: .parquet; or .npy, for the embeddings alone, beside which `NAME.rows.parquet` says what each row is.
        columns: which of identity, split, group, is_query and is_gallery are given, besides image.
        network: fingerprint of the weights and the preprocessing that the embeddings are made with.
        normalized: all vectors have unit length.
        notes: further key-value metadata.

    Raises:
        InputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from subspace.mining import EmbeddingTable, embedding_writer
        >>> path = Path(tempfile.mkdtemp()) / "photos.npy"
        >>> with embedding_writer(path, 2, normalized=False) as writer:
        ...     writer.write(np.ones((3, 2)), {"image": ["a.jpg", "b.jpg", "c.jpg"]})
        >>> np.load(path).shape, EmbeddingTable.open(path).column("image")[2].as_py()
        ((3, 2), 'c.jpg')
    """
    path = Path(path)
    rows_only, number = path.suffix == ".npy", np.dtype(dtype)
    kind = EMBEDDING_ROWS if rows_only else IMAGE_EMBEDDINGS
    types = {f.name: f.type for f in (*kind.columns, *kind.optional)}
    names = [name for name in types if name in (*columns, "row", "image")]
    schema = pa.schema([(name, types[name]) for name in names])
    if not rows_only:
        schema = schema.append(pa.field("embedding", vector(dimensions, pa.from_numpy_dtype(number))))
    metadata = {**(notes or {}), "normalized": "true" if normalized else "false"}
    metadata |= {"network": network} if network else {}
    texts = [name for name in names if types[name] == pa.string()]
    with ExitStack() as stack:
        # The .npy goes into place last: it is what is looked for.
        aside = stack.enter_context(whole_file(path)) if rows_only else None
        file = stack.enter_context(open(aside, "wb")) if aside else None
        if file:
            _write_header(file, number, (0, dimensions))
        table = stack.enter_context(
            parquet_writer(
                rows_beside(path) if rows_only else path,
                kind,
                schema,
                fingerprint,
                use_dictionary=texts,
                metadata=metadata,
            )
        )
        writer = EmbeddingWriter(path, table, file, number, normalized)
        yield writer
        writer._end()
        if file:
            file.seek(0)
            _write_header(
                file, number, (writer.rows, dimensions)
            )  # as long as before: it has room for the digits
            path.unlink(missing_ok=True)  # else a kill could leave an earlier one beside the new rows


def rows_beside(path: Path) -> Path:
    """Where the images of the rows of a .npy file stand.

    >>> rows_beside(Path("photos.npy")).name
    'photos.rows.parquet'
    """
    return path.with_suffix(".rows.parquet")


def as_vectors(rows: np.ndarray) -> pa.FixedSizeListArray:
    """The rows of float[n, D] as one Arrow column."""
    return pa.FixedSizeListArray.from_arrays(
        pa.array(rows.ravel()), type=vector(rows.shape[1], pa.from_numpy_dtype(rows.dtype))
    )


def _write_header(file: BinaryIO, number: np.dtype[Any], shape: tuple[int, int]) -> None:
    described = {"descr": np.lib.format.dtype_to_descr(number), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
