"""The kinds of source, and what reads each.

A reader gets (source, options, spool, progress) and returns a row per image: columns identity and uri, and offset
and length, split, group where the source has them. Bytes of images that lie inside the source go to the spool, one
per row. A new kind of source is a file of this folder and a line of `READERS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from ...mining.errors import InputError
from ...mining.local_paths import refuse_url
from .folder import list_folder
from .image_spool import ImageSpool
from .options import SourceOptions, Track
from .table import list_csv, list_parquet

Reader = Callable[[Path, SourceOptions, ImageSpool, Track], pa.Table]

FOLDER = "folder"
READERS: dict[str, Reader] = {
    FOLDER: list_folder,
    ".csv": list_csv,
    ".tsv": list_csv,
    ".parquet": list_parquet,
}
"""Readers by the suffix of a file, such as `.csv`, or by the scheme of a URL, such as `s3:`."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:(?=/)")


def reader_of(source: Path) -> Reader:
    """What reads `source`.

    Raises:
        InputError: nothing is there, or nothing reads its kind.
    """
    scheme = _SCHEME.match(str(source))
    if scheme and scheme[0] in READERS:
        return READERS[scheme[0]]
    refuse_url(source)
    if source.is_dir():
        return READERS[FOLDER]
    suffixes = " ".join(kind for kind in READERS if kind.startswith("."))
    wanted = f"give a folder of images or a {suffixes} file"
    if not source.exists():
        raise InputError(f"{source} does not exist; {wanted}")
    if source.suffix.lower() not in READERS:
        raise InputError(f"{source} cannot be read as a source; {wanted}")
    return READERS[source.suffix.lower()]
