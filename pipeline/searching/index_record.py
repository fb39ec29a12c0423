"""index.json: what an index is, which files are its own, and whether they are as they were written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from ...mining.errors import InputError, StaleArtifactError
from ...mining.index.kinds import Kind
from ...mining.json_documents import Document, damaged, read_document
from ...mining.local_paths import in_shell
from ..stage_folder import IDENTITIES

RECORD = "index.json"
IMAGES, MEANS, OFFSET = "images.npy", "means.npy", "offset.npy"
IMAGE_TABLE, IDENTITY_TABLE = "images.parquet", IDENTITIES
MEANS_INDEX, IMAGES_INDEX = "means.faiss", "images.faiss"
OF_ROWS = (IMAGES, MEANS, OFFSET, IMAGE_TABLE, IDENTITY_TABLE, MEANS_INDEX, IMAGES_INDEX)
HEAD = 8 << 20
"""Bytes of a file whose hash is compared whenever an index is opened; a table of centroids is no longer."""
VERSION = 1


class FileRecord(Document):
    """One file of an index."""

    bytes: NonNegativeInt
    sha256: str
    """Hash of its first `HEAD` bytes; of a graph all of them."""
    whole: bool


class KindRecord(Document):
    """The index over means, or over images."""

    kind: Kind
    lists: NonNegativeInt
    breadth: NonNegativeInt
    recall: float = Field(ge=0, le=1)


class IndexRecord(Document):
    """What index.json holds."""

    version: Literal[1]
    rows: str = Field(pattern=r"^[0-9]{6}$")
    """The folder of the rows that count; a change makes the next one."""
    dimensions: PositiveInt
    dtype: Literal["float32", "float16"]
    identities: PositiveInt
    images: PositiveInt
    network: str | None
    """Fingerprint of the network that embedded the images; None where nobody said."""
    checkpoint: str | None
    """Where that network was found."""
    weights: str | None = None
    preprocess: list[str] = Field(default_factory=list)
    """How it was opened, beside that: --weights and --preprocess."""
    flip: bool = False
    """Whether the embeddings are means with those of the mirror images."""
    seed: int
    asked: str
    """--kind."""
    means_index: KindRecord
    images_index: KindRecord | None
    files: dict[str, FileRecord]
    fingerprint: str
    created_by: str


def remedy(path: Path) -> str:
    """What to do about a damaged index."""
    return f"make it again: `subspace index EMBEDDINGS --out {in_shell(path)} --force`"


def read_record(path: Path) -> IndexRecord:
    """What the index at `path` is.

    Raises:
        InputError: there is no index.
        StaleArtifactError: index.json is damaged, or of a later version.
    """
    file = path / RECORD
    if not file.exists():
        what = "is no index (it has no index.json)" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}; make one: `subspace index EMBEDDINGS --out {in_shell(path)}`")
    return IndexRecord.model_validate(read_document(file, IndexRecord, remedy(path)))


def describe_file(file: Path, *, whole: bool) -> dict[str, Any]:
    """The record of a file as it is."""
    return {"bytes": file.stat().st_size, "sha256": _hash(file, whole), "whole": whole}


def check_files(path: Path, record: IndexRecord) -> None:
    """Compare size and hash of every file with the record.

    Raises:
        FileNotFoundError: a file is gone; a change may have taken its place.
        StaleArtifactError: a file is not as it was written.
    """
    for name, written in record.files.items():
        file = path / record.rows / name
        size = file.stat().st_size
        if size != written.bytes:
            raise damaged(file, f"it has {size:,} bytes, not {written.bytes:,}", remedy(path))
        try:
            same = _hash(file, written.whole) == written.sha256
        except OSError as error:
            raise StaleArtifactError(f"cannot read {file}: {error.strerror}; {remedy(path)}") from error
        if not same:
            raise damaged(file, "its bytes are not those that were written", remedy(path))


def _hash(file: Path, whole: bool) -> str:
    found = hashlib.sha256()
    with open(file, "rb", buffering=0) as read:
        left = file.stat().st_size if whole else HEAD
        while left > 0 and (block := read.read(min(1 << 20, left))):
            found.update(block)
            left -= len(block)
    return found.hexdigest()
