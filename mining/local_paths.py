"""Object storage is refused by name, wherever a path comes in.

A run is renamed into place, locked, linked to and mapped into memory, and a manifest is read at random places: object
stores do none of that. Their mounts (s3fs, gcsfuse, a parallel file system in front of them) do, or most of it.
"""

from __future__ import annotations

import re
from pathlib import Path

from .errors import InputError

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/")


def refuse_url(path: Path | str) -> None:
    """Raise InputError where a path is a URL, such as s3://bucket/run; a Path has lost one of its slashes."""
    found = _URL.match(str(path))
    if found:
        rest = str(path)[found.end() :].lstrip("/")
        raise InputError(
            f"{found[1]}://{rest} is a URL, and files are read and written on file systems only; mount the storage, or "
            "copy to a disk that all machines see"
        )
