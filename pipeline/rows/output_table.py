"""Which files a table may take the place of: earlier tables of its kind, never an input or anything else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from ...mining.errors import InputError
from ...mining.local_paths import refuse_url
from ...mining.parquet_tables import DAMAGE, metadata_of
from ...mining.remote import is_url


def check_output(out: Path, kind: str, inputs: Iterable[Path]) -> None:
    """Refuse to write a table of `kind` at `out` where something else would be lost; nothing is touched.

    Raises:
        InputError: `out` is a URL, a folder, one of `inputs` or a link to it, or a file that is no earlier table of
            that kind. An empty file may be replaced.
    """
    refuse_url(out)
    if out.is_dir():
        raise InputError(f"cannot write {out}: it is a folder; give --out a file")
    if not out.exists():
        return
    for source in inputs:
        if not is_url(source) and source.exists() and out.samefile(source):
            raise InputError(
                f"{source} would be overwritten by what is made of it, {out}; write it somewhere else"
            )
    if not out.is_file() or (out.stat().st_size and _kind(out) != kind):
        raise InputError(
            f"cannot write {out}: it is there already, and is no {kind} table; give --out another file"
        )


def _kind(path: Path) -> str | None:
    """The kind that a table says it is of; None for foreign files."""
    try:
        with pq.ParquetFile(path) as file:
            return metadata_of(file).get("kind")
    except DAMAGE:
        return None
