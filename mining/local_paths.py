"""Object storage is refused by name, wherever a path comes in that is written to.

A run is renamed into place, locked, linked to and mapped into memory: object stores do none of that. Their mounts
(s3fs, gcsfuse, a parallel file system in front of them) do, or most of it. Images and tables are read from URLs:
`remote`.
"""

from __future__ import annotations

from pathlib import Path

from .errors import InputError
from .remote import url_of


def refuse_url(path: Path | str) -> None:
    """Raise InputError where a path is a URL, such as s3://bucket/run; a Path has lost one of its slashes."""
    url = url_of(path)
    if url is not None:
        raise InputError(
            f"{url} is a URL: images and manifests are read from there, but runs and all that is written lie on file "
            "systems; mount the storage, or name a disk that all machines see"
        )
