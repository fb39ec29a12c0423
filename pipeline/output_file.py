"""Which file or folder a command may write over: an earlier one of its kind; never an input or anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq

from ..mining.errors import InputError
from ..mining.local_paths import refuse_url
from ..mining.parquet_tables import DAMAGE, metadata_of
from ..mining.remote import is_url

HEAD = 4096
"""Bytes of a file in which its mark stands."""
MADE_BY = "drawn by subspace-mining"
"""Stands in the metadata of every picture that is drawn here."""


@dataclass(frozen=True)
class FileKind:
    """What is written."""

    words: str
    """After "is no"."""
    suffixes: tuple[str, ...]
    """One of these ends its name."""
    holds: Callable[[Path], bool]
    """Whether a file is an earlier one of the kind."""


def table_of(kind: str) -> FileKind:
    """A Parquet table whose metadata say that it is of `kind`."""

    def holds(path: Path) -> bool:
        try:
            with pq.ParquetFile(path) as file:
                return metadata_of(file).get("kind") == kind
        except DAMAGE:
            return False

    return FileKind(f"{kind} table", (".parquet",), holds)


def _marked(mark: str, words: str, suffixes: tuple[str, ...]) -> FileKind:
    """A file that has `mark` in its first bytes."""

    def holds(path: Path) -> bool:
        with open(path, "rb") as file:
            return mark.encode() in file.read(HEAD)

    return FileKind(words, suffixes, holds)


def mark_of_page(command: str) -> str:
    """What stands in the head of every page that a command writes."""
    return f'<meta name="generator" content="subspace {command}">'


def page_of(command: str) -> FileKind:
    """A page that a command wrote."""
    return _marked(
        mark_of_page(command), f"page that is marked as of `subspace {command}`", (".html", ".htm")
    )


PICTURE = _marked(MADE_BY, "picture that was drawn here", (".png",))
PLOT = replace(PICTURE, suffixes=(".png", ".svg"))


def check_output(out: Path, kind: FileKind, inputs: Iterable[Path] = ()) -> None:
    """Refuse to write a file of `kind` at `out` where something else would be lost; nothing is touched.

    Args:
        inputs: what it is made of.

    >>> check_output(Path("plot.gif"), PLOT)
    Traceback (most recent call last):
    subspace.mining.errors.InputError: --out plot.gif: name a file that ends in .png or .svg

    Raises:
        InputError: `out` is a URL, a folder, one of `inputs` or a link to it, of another suffix, or a file that is no
            earlier one of that kind. An empty file may be replaced.
    """
    refuse_url(out)
    if out.is_dir():
        raise InputError(f"cannot write {out}: it is a folder; give --out a file")
    for source in inputs:
        if out.exists() and not is_url(source) and source.exists() and out.samefile(source):
            raise InputError(
                f"{source} would be overwritten by what is made of it, {out}; write it somewhere else"
            )
    if out.suffix.lower() not in kind.suffixes:
        raise InputError(f"--out {out}: name a file that ends in {' or '.join(kind.suffixes)}")
    if out.exists() and not (out.is_file() and (out.stat().st_size == 0 or kind.holds(out))):
        raise InputError(
            f"cannot write {out}: it is there already, and is no {kind.words}; give --out another file"
        )


def check_output_folder(out: Path, force: bool, *, what: str, ours: Set[str], mark: str) -> None:
    """Refuse a folder that is there already, unless `force`; and even then one with files of others.

    Args:
        what: export or evaluation.
        ours: the names of files that it may hold.
        mark: the one among them that each has.

    Raises:
        InputError: it would be written over.
    """
    refuse_url(out)
    if out.name in ("", ".."):
        raise InputError(f"--out {out}: an {what} takes the place of a whole folder; give it by its name")
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file; give --out a folder")
    names = {path.name for path in out.iterdir()}
    others = sorted(names - ours)
    if others:
        raise InputError(f"{out} holds other files ({', '.join(others[:3])}); give --out a folder of its own")
    if names and mark not in names:
        raise InputError(f"{out} holds files that are of no {what}; give --out a folder of its own")
    if names and not force:
        raise InputError(f"{out} is there already; write it anew with --force, or give another --out")
