"""Files that are whole or absent, and the fingerprints that say what they were made from.

Every file is written aside (`.NAME.PID.tmp` in the same folder), synced and renamed, so a kill at any
moment leaves either the old file, the new one, or a leftover that nothing reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import InputError, StaleArtifactError
from .schemas import SCHEMA_VERSION, TableKind

try:
    CODE_VERSION = version("subspace-mining")
except PackageNotFoundError:  # a checkout on the path that was never installed
    CODE_VERSION = "0+unknown"

DAMAGE = (OSError, ValueError, pa.ArrowException)
"""What Arrow raises on damaged files; a UnicodeDecodeError in a footer is a ValueError."""

CREATED_BY = f"subspace-mining {CODE_VERSION}"


def fingerprint_of(fields: Mapping[str, Any]) -> str:
    """32 hex digits that change when any of the JSON-like `fields` changes."""
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed over `path`.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        _sync(aside)
        os.replace(aside, path)
        _sync(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        yield aside
        for file in aside.iterdir():
            _sync(file)
        _sync(aside)
        before = path.with_name(f".{path.name}.{os.getpid()}.old")
        if path.is_dir():
            os.replace(path, before)
        else:
            remove(path)
        os.replace(aside, path)
        _sync(path.parent)
        shutil.rmtree(before, ignore_errors=True)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if there is one; a folder goes at once, never half of it."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}.old")
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(path, aside)
    shutil.rmtree(aside)


def point_to(path: Path, target: Path) -> None:
    """Make `path` a symbolic link to `target`, relative to its folder; one rename takes it from the old to the new.

    Raises:
        InputError: the folder cannot be written, a real folder is in the way, or there are no links here.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        aside.unlink(missing_ok=True)
        aside.symlink_to(target)
        os.replace(aside, path)
        _sync(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> InputError:
    """The one line for a file that could not be written: what, where, what to do."""
    return InputError(f"cannot write {path}: {error.strerror or error}; check permissions and free space")


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or none."""
    with whole_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a whole JSON file or none, for people too: indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


@contextmanager
def parquet_writer(
    path: Path,
    kind: TableKind,
    schema: pa.Schema,
    fingerprint: str | None = None,
    *,
    use_dictionary: bool = True,
) -> Iterator[pq.ParquetWriter]:
    """Yield a writer for a whole table of `kind`; the file appears when the block ends without an error.

    A fingerprint that is known only at the end (a content hash) is added by the caller with
    `writer.add_key_value_metadata({"fingerprint": ...})`. `use_dictionary` is that of `pyarrow.parquet`.
    """
    problem = kind.problem_with(schema)
    if problem:
        raise AssertionError(f"a {kind.name} table {problem}")
    metadata = {"schema_version": str(SCHEMA_VERSION), "kind": kind.name, "created_by": CREATED_BY}
    if fingerprint is not None:
        metadata["fingerprint"] = fingerprint
    with (
        whole_file(path) as aside,
        pq.ParquetWriter(
            aside, schema, compression="zstd", write_page_checksum=True, use_dictionary=use_dictionary
        ) as writer,
    ):
        yield writer
        writer.add_key_value_metadata(metadata)


def write_parquet(path: Path, kind: TableKind, table: pa.Table, fingerprint: str) -> None:
    """Write one whole table of `kind`."""
    with parquet_writer(path, kind, table.schema, fingerprint) as writer:
        writer.write_table(table)


def open_parquet(path: Path, kind: TableKind | None = None) -> pq.ParquetFile:
    """Open a Parquet file and check that it is a table of `kind`; its columns are read on demand.

    Raises:
        InputError: missing, truncated, not Parquet, or with other columns.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist")
    try:
        file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
        problem = kind.problem_with(file.schema_arrow) if kind else None
    except DAMAGE as error:
        raise InputError(
            f"{path} is not a readable Parquet file (truncated?): {_first_line(error)}"
        ) from error
    if kind and problem:
        raise InputError(f"{path} is not a {kind.name} table: it {problem}")
    return file


def read_parquet(path: Path, kind: TableKind, columns: list[str] | None = None) -> pa.Table:
    """Read a table of `kind` (only `columns`, when given) into memory; damage is an InputError."""
    file = open_parquet(path, kind)
    try:
        return file.read(columns=columns)
    except DAMAGE as error:
        raise InputError(f"{path} is damaged: {_first_line(error)}") from error


def read_row_group(path: Path, kind: TableKind, group: int, columns: list[str] | None = None) -> pa.Table:
    """Read one row group (only `columns`, when given); damage is an InputError."""
    file = open_parquet(path, kind)
    try:
        return file.read_row_group(group, columns=columns)
    except DAMAGE as error:
        raise InputError(f"{path} is damaged: {_first_line(error)}") from error


def row_groups(path: Path, kind: TableKind, columns: list[str]) -> Iterator[pa.Table]:
    """Yield `columns` of a table of `kind` a row group at a time; damage is an InputError.

    The file is read, not mapped: pages of a mapped file would count as this process's memory, all of them in a pass.
    """
    open_parquet(path, kind)
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=columns)
    except DAMAGE as error:
        raise InputError(f"{path} is damaged: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


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
            f"{path} carries no fingerprint, so it was not written by this program; "
            f"remake it, or pass a foreign manifest through `subspace ingest`"
        )
    version = metadata.get("schema_version", "")
    if not version.isdigit() or int(version) > SCHEMA_VERSION:
        raise StaleArtifactError(
            f"{path} has schema version '{version}', not {SCHEMA_VERSION} (created by {metadata.get('created_by')}); upgrade"
        )
    return metadata["fingerprint"]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
