"""An index opened: its arrays mapped, its names read where they are asked for.

INDEX/index.json               what it is; written last
INDEX/000001/images.npy        float32 or float16 [n, D], unit vectors, those of an identity side by side
INDEX/000001/means.npy         float32 [I, D], the identities' means
INDEX/000001/offset.npy        int64 [I + 1], identity i has the images from offset[i] to offset[i + 1]
INDEX/000001/images.parquet    image, identity_id of each image
INDEX/000001/identities.parquet  identity_id, identity, images of each identity
INDEX/000001/means.faiss       the index over the means, unless all are compared
INDEX/000001/images.faiss      the same over images, where it was asked for
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...mining.errors import InputError, StaleArtifactError
from ...mining.index.gallery import Gallery
from ...mining.index.near_rows import EXACT, Effort, NearRows, open_index
from ...mining.json_documents import damaged
from ...mining.parquet_tables import in_one_line, open_parquet, rows_at
from ...mining.schemas import INDEXED_IDENTITIES, INDEXED_IMAGES, TableKind
from . import index_record as files
from .index_record import IndexRecord, KindRecord, check_files, read_record, remedy


class NameTable:
    """A column of names of an index, open for as long as the index is: a change may remove the file meanwhile."""

    def __init__(self, path: Path, record: IndexRecord, name: str, kind: TableKind, column: str) -> None:
        self.index, self.path, self.kind, self.column = path, path / record.rows / name, kind, column
        if not self.path.exists():
            raise FileNotFoundError(2, "it is gone", str(self.path))
        with self._whole():
            self.file = open_parquet(self.path, kind)

    def at(self, row_n: np.ndarray) -> list[str]:
        """Names at some rows, int64[n]; only their row groups are read."""
        with self._whole():
            table = rows_at(self.file, self.path, self.kind, row_n, [self.column])
        return table[self.column].to_pylist()

    @contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            with in_one_line(self.path):
                yield
        except InputError as error:
            raise StaleArtifactError(f"{error}; {remedy(self.index)}") from error


@dataclass(frozen=True)
class IndexFolder:
    """An index on disk. Memory: what FAISS does not map of its files; all else is mapped."""

    path: Path
    record: IndexRecord
    gallery: Gallery
    identity_names: NameTable
    image_names: NameTable
    """Paths or URLs."""

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Say in one line what damage inside a mapped file came to."""
        try:
            yield
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise damaged(self.path, str(error), remedy(self.path)) from error


def open_folder(path: Path) -> IndexFolder:
    """Open an index: sizes and hashes of its files are compared, nothing is read through.

    Raises:
        InputError: there is no index.
        StaleArtifactError: it is damaged.
    """
    for attempt in range(3):
        record = read_record(path)
        try:
            check_files(path, record)
            return IndexFolder(
                path,
                record,
                _mapped(path, record),
                NameTable(path, record, files.IDENTITY_TABLE, INDEXED_IDENTITIES, "identity"),
                NameTable(path, record, files.IMAGE_TABLE, INDEXED_IMAGES, "image"),
            )
        except FileNotFoundError as error:  # a change took the place of these rows after index.json was read
            if attempt == 2:
                raise damaged(str(error.filename), "it is gone", remedy(path)) from error
    raise AssertionError("the last attempt returns or raises")


def _mapped(path: Path, record: IndexRecord) -> Gallery:
    folder = path / record.rows
    images = _array(path, folder / files.IMAGES, record.dtype, (record.images, record.dimensions))
    means = _array(path, folder / files.MEANS, "float32", (record.identities, record.dimensions))
    offset = np.array(_array(path, folder / files.OFFSET, "int64", (record.identities + 1,)))
    if offset[0] != 0 or offset[-1] != record.images or (np.diff(offset) < 1).any():
        raise damaged(folder / files.OFFSET, "its numbers do not rise to the number of images", remedy(path))
    return Gallery(
        _near(path, means, folder / files.MEANS_INDEX, record.means_index),
        _near(path, images, folder / files.IMAGES_INDEX, record.images_index),
        offset,
    )


def _near(path: Path, rows: np.ndarray, file: Path, kind: KindRecord | None) -> NearRows:
    if kind is None or kind.kind == "flat":
        return NearRows(rows, None, EXACT)
    try:
        index = open_index(file, kind.kind, len(rows), rows.shape[1])
    except ValueError as error:
        raise damaged(file, str(error), remedy(path)) from error
    return NearRows(rows, index, Effort(kind.breadth, kind.recall))


def _array(path: Path, file: Path, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise damaged(file, "it is no readable .npy file", remedy(path)) from error
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
        raise damaged(file, "its shape or type is not that of index.json", remedy(path))
    return np.asarray(array)  # mapped as before; rows of a np.memmap are slower to take
