"""Which files of a folder are read, where it is one of shards in place of images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ...mining.errors import InputError
from ...mining.remote import is_url
from ..console import counted
from .file_names import SHARDS, image_suffixes, is_aside, suffix_counts, suffix_of

COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip")
_IMAGES_TOO = (*COMPRESSED, ".npy", ".npz")
"""Files that may hold images as well, of another kind than shards."""


class Shards(NamedTuple):
    """What is read of a source that was given."""

    files: list[Path]
    notes: list[str]


def shards_of(source: Path) -> Shards:
    """The files that are read: those inside of a folder of shards, else `source` itself.

    A folder of shards holds .parquet, .tar or .rec files of one kind and nothing else that may hold images; a download
    from Hugging Face has them in its folder `data`. Tables that this program wrote, such as the manifest of the folder
    itself, are no shards.

    Raises:
        InputError: shards of several kinds, or images, folders or other archives beside them.
    """
    if not source.is_dir():
        return Shards([source], [])
    found = _shards_in(source)
    if found is None:
        names, folders = _visible(source)
        images = any(name.lower().endswith(image_suffixes()) for name in names)
        found = _shards_in(source / "data") if folders == ["data"] and not images else None
    return found or Shards([source], [])


def all_shards_of(sources: Iterable[Path]) -> Shards:
    """What is read of all the sources, each file once."""
    found = [shards_of(source) for source in sources]
    files = [file for one in found for file in one.files]
    once = list({file if is_url(file) else file.resolve(): file for file in reversed(files)}.values())[::-1]
    notes = list(dict.fromkeys(note for one in found for note in one.notes))
    if len(once) < len(files):
        notes.append(f"{counted(len(files) - len(once), 'source')} given twice: read once")
    return Shards(once, notes)


def _shards_in(folder: Path) -> Shards | None:
    """The shards that lie in `folder`; None where there are none."""
    names, folders = _visible(folder)
    own = {name for name in names if name.lower().endswith(".parquet") and _is_own(folder / name)}
    shards = [name for name in names if name.lower().endswith(SHARDS) and name not in own]
    if not shards:
        return None
    kinds = [suffix for suffix in SHARDS if any(name.lower().endswith(suffix) for name in shards)]
    if len(kinds) > 1:
        raise InputError(f"{folder} holds {' and '.join(kinds)} files; give those of one kind")
    also = [name for name in names if name.lower().endswith((*image_suffixes(), *_IMAGES_TOO))]
    for what, others in (("folders", folders), ("other files that may hold images", also)):
        if others:
            raise InputError(
                f"{folder} holds {kinds[0]} files and {what}, such as {min(others)}; give the {kinds[0]} files by name, "
                "or move one of the two away"
            )
    used = {*shards, *own, "property", *(f"{name[:-4]}.idx" for name in shards if kinds[0] == ".rec")}
    return Shards([folder / name for name in shards], [*_aside(folder, own), *_others(names, used)])


def _aside(folder: Path, own: Iterable[str]) -> list[str]:
    named = ", ".join(sorted(own))
    return [f"left aside in {folder}, as they are tables of this program: {named}"] if named else []


def _others(names: Sequence[str], used: set[str]) -> list[str]:
    rest = Counter(suffix_of(name) for name in names if name not in used)
    return [f"{rest.total():,} files beside the shards left aside: {suffix_counts(rest)}"] if rest else []


def _visible(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders in `folder` that are not hidden, sorted."""
    try:
        with os.scandir(folder) as entries:
            seen = [(entry.name, entry.is_dir()) for entry in entries if not is_aside(entry.name)]
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}; check its permissions") from error
    return sorted(name for name, is_dir in seen if not is_dir), sorted(
        name for name, is_dir in seen if is_dir
    )


def _is_own(file: Path) -> bool:
    """Whether a Parquet file is a table of this program: a manifest, or the list of its bad images."""
    try:
        metadata = pq.read_metadata(file).metadata or {}
    except (OSError, ValueError, pa.ArrowException):
        return False  # damage shows when it is read
    return metadata.get(b"created_by", b"").startswith(b"subspace") and b"kind" in metadata
