"""Paths of the file system: as a word of a command, and object storage refused wherever something is written.

A run is renamed into place, locked, linked to and mapped into memory: object stores do none of that. Their mounts
(s3fs, gcsfuse, a parallel file system in front of them) do, or most of it. Images and tables are read from URLs:
`remote`.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from .errors import InputError
from .remote import url_of


def in_shell(path: Path | str) -> str:
    """`path` as one word of a command that a person may copy: quoted where a shell would see more in it.

    Example:
        >>> print(in_shell("runs/photos"), in_shell("my runs/$(reboot)"))
        runs/photos 'my runs/$(reboot)'
    """
    return shlex.quote(str(path))


def in_utf8(path: Path | str) -> str:
    """`path` as text for a table, whose texts are UTF-8.

    Raises:
        InputError: it is none, as an old archive may have it.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the path {str(path)!r} is not UTF-8; rename the file or folder") from error
    return str(path)


def refuse_url(path: Path | str) -> None:
    """Raise InputError where a path is a URL, such as s3://bucket/run; a Path has lost one of its slashes."""
    url = url_of(path)
    if url is not None:
        raise InputError(
            f"{url} is a URL: images and manifests are read from there, but runs and all that is written lie on file "
            "systems; mount the storage, or name a disk that all machines see"
        )
