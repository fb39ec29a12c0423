"""Parquet tables of a known kind: written whole, checked when they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .artifacts import whole_file
from .errors import DamagedFileError, InputError, StaleArtifactError
from .fingerprints import CREATED_BY
from .local_paths import in_shell
from .remote import first_line, in_words, open_remote, url_of
from .schemas import MANIFEST, SCHEMA_VERSION, TableKind
from .table_checks import TableCheck

DAMAGE = (OSError, ValueError, pa.ArrowException)
"""What Arrow raises on damaged files; a UnicodeDecodeError in a footer is a ValueError."""
MOST_ROWS = 2**26
"""In a row group: the most that Arrow writes."""


@contextmanager
def parquet_writer(
    path: Path,
    kind: TableKind,
    schema: pa.Schema,
    fingerprint: str | None = None,
    *,
    use_dictionary: bool | list[str] = True,
    metadata: Mapping[str, str] | None = None,
) -> Iterator[pq.ParquetWriter]:
    """Yield a writer for a whole table of `kind`; the file appears when the block ends without an error.

    A fingerprint that is known only at the end (a content hash) is added by the caller with
    `writer.add_key_value_metadata({"fingerprint": ...})`. `use_dictionary` is that of `pyarrow.parquet`; `metadata` is
    written beside ours.
    """
    problem = kind.problem_with(schema)
    if problem:
        raise AssertionError(f"a {kind.name} table {problem}")
    ours = {"schema_version": str(SCHEMA_VERSION), "kind": kind.name, "created_by": CREATED_BY}
    if fingerprint is not None:
        ours["fingerprint"] = fingerprint
    with (
        whole_file(path) as aside,
        pq.ParquetWriter(
            aside,
            schema,
            compression="zstd",
            write_page_checksum=True,
            use_dictionary=use_dictionary,  # pyright: ignore[reportArgumentType]  # names, too
        ) as writer,
    ):
        yield writer
        writer.add_key_value_metadata({**(metadata or {}), **ours})


def write_parquet(
    path: Path,
    kind: TableKind,
    table: pa.Table,
    fingerprint: str,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write one whole table of `kind`; `metadata` stands beside ours."""
    with parquet_writer(path, kind, table.schema, fingerprint, metadata=metadata) as writer:
        writer.write_table(table)


def _made_by_ingest(path: Path, kind: TableKind | None) -> str:
    """What to do about a list of images that was given for a manifest."""
    if kind is not MANIFEST or path.suffix.lower() == ".parquet":
        return ""
    return f"; `subspace ingest {in_shell(path)} --out FILE` makes a manifest of a list of images"


def open_parquet(path: Path, kind: TableKind | None = None, *, mapped: bool = True) -> pq.ParquetFile:
    """Open a Parquet file, perhaps behind a URL, and check that it is a table of `kind`; its columns are read on demand.

    Args:
        mapped: map a local file. Pages of a mapped file count as this process's memory, all of them in a pass.

    Raises:
        DamagedFileError: missing, truncated, not Parquet, with other columns, or with sizes that the file cannot have.
    """
    remote = url_of(path)
    if remote is None and not path.exists():
        raise DamagedFileError(f"{path} does not exist", str(path))
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, not a Parquet file; `subspace ingest {in_shell(path)} --out FILE` lists its images"
        )
    try:
        file = pq.ParquetFile(
            path if remote is None else open_remote(remote),
            memory_map=remote is None and mapped,
            page_checksum_verification=True,
        )
        problem = kind.problem_with(file.schema_arrow) if kind else None
        rows = sum(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))
    except InputError:
        raise
    except DAMAGE as error:
        raise DamagedFileError(
            f"{in_words(path)} is not a readable Parquet file (truncated?): {first_line(error)}{_made_by_ingest(path, kind)}",
            str(path),
        ) from error
    if (
        kind and problem and metadata_of(file).get("kind", kind.name) != kind.name
    ):  # whole, and of another kind
        raise InputError(
            f"{in_words(path)} is not a {kind.name} table but of {metadata_of(file)['kind']}: it {problem}"
        )
    if kind and problem:
        raise DamagedFileError(f"{in_words(path)} is not a {kind.name} table: it {problem}", str(path))
    if rows != file.metadata.num_rows:
        claim = f"claims {file.metadata.num_rows:,} rows, its row groups {rows:,}"
        raise DamagedFileError(f"{in_words(path)} is damaged: it {claim}", str(path))
    return file


def read_parquet(path: Path, kind: TableKind, columns: list[str] | None = None) -> pa.Table:
    """Read a table of `kind` (only `columns`, when given) into memory, and check what it holds."""
    file = open_parquet(path, kind)
    with in_one_line(path):
        for group in range(file.num_row_groups):
            refuse_false_sizes(path, file, group)
        table = file.read(columns=columns)
        check_rows(path, TableCheck(kind), table)
    return table


def read_row_group(path: Path, kind: TableKind, group: int, columns: list[str] | None = None) -> pa.Table:
    """Read one row group (only `columns`, when given), and check what it holds."""
    return read_group_of(open_parquet(path, kind), path, kind, group, columns)


def read_group_of(
    file: pq.ParquetFile, path: Path, kind: TableKind, group: int, columns: list[str] | None = None
) -> pa.Table:
    """The same of a file that is open: its footer, which grows with its row groups, is not read again."""
    with in_one_line(path):
        refuse_false_sizes(path, file, group)
        table = file.read_row_group(group, columns=columns)
        check_rows(path, TableCheck(kind, whole=False), table)
    return table


def rows_at(
    file: pq.ParquetFile, path: Path, kind: TableKind, row_n: np.ndarray, columns: list[str]
) -> pa.Table:
    """Columns of some rows of an open file, in the order of `row_n`; only the row groups that hold them are read."""
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    starts = np.concatenate(([0], np.cumsum(sizes)))
    ascending = np.unique(row_n)
    cut = np.searchsorted(ascending, starts)  # where the rows of each group begin among them
    pieces = [
        read_group_of(file, path, kind, group, columns).take(pa.array(ascending[begin:end] - starts[group]))
        for group, (begin, end) in enumerate(pairwise(cut.tolist()))
        if begin < end
    ]
    empty = file.schema_arrow.empty_table().select(columns)
    return pa.concat_tables([empty, *pieces]).take(pa.array(np.searchsorted(ascending, row_n)))


def row_groups(path: Path, kind: TableKind, columns: list[str]) -> Iterator[pa.Table]:
    """Yield `columns` of a table of `kind` a row group at a time, checked; its file is read, not mapped."""
    file, check = open_parquet(path, kind, mapped=False), TableCheck(kind)
    for group in range(file.num_row_groups):
        with in_one_line(path):
            refuse_false_sizes(path, file, group)
            table = file.read_row_group(group, columns=columns)
            check_rows(path, check, table)
        yield table


@contextmanager
def in_one_line(path: Path) -> Iterator[None]:
    """Raise what Arrow raises on damage as a DamagedFileError."""
    try:
        yield
    except InputError:
        raise
    except (*DAMAGE, MemoryError) as error:
        raise DamagedFileError(f"{in_words(path)} is damaged: {first_line(error)}", str(path)) from error


def check_rows(path: Path, check: TableCheck, rows: pa.Table) -> None:
    """Refuse rows that a table of that kind cannot hold.

    Raises:
        DamagedFileError: the first thing that is wrong, and where.
    """
    if problem := check.problem_in(rows):
        raise DamagedFileError(f"{in_words(path)} is damaged: it {problem}", str(path))


def refuse_false_sizes(path: Path, file: pq.ParquetFile, group: int) -> None:
    """Refuse a row group of more rows than Arrow writes into one, before it makes room for them.

    Its columns are not asked: `RowGroupMetaData.column` of a damaged footer may end the process.

    Raises:
        DamagedFileError: it claims more, or fewer than none.
    """
    rows = file.metadata.row_group(group).num_rows
    if not 0 <= rows <= MOST_ROWS:
        raise DamagedFileError(
            f"{in_words(path)} is damaged: it claims {rows:,} rows in one row group", str(path)
        )


def metadata_of(file: pq.ParquetFile) -> dict[str, str]:
    """Our key-value metadata of an open file (schema_version, kind, fingerprint, created_by)."""
    raw = file.metadata.metadata or {}
    return {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in raw.items()
        if key != b"ARROW:schema"
    }


def fingerprint_in(path: Path, kind: TableKind) -> str:
    """The fingerprint stored in a table.

    Raises:
        StaleArtifactError: the file carries none, or was written by a later schema version.
    """
    metadata = metadata_of(open_parquet(path, kind))
    if "fingerprint" not in metadata:
        raise StaleArtifactError(
            f"{in_words(path)} carries no fingerprint, so it was not written by this program; "
            f"remake it, or pass a foreign manifest through `subspace ingest`"
        )
    version = metadata.get("schema_version", "")
    if not version.isdigit() or int(version) > SCHEMA_VERSION:
        raise StaleArtifactError(
            f"{in_words(path)} has schema version '{version}', not {SCHEMA_VERSION} (created by {metadata.get('created_by')}); upgrade"
        )
    return metadata["fingerprint"]
