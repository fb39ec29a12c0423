"""Places of sources and their images, local or behind a URL: opened, listed, measured, and relative paths made whole."""

# pyarrow.compute makes its functions when it is imported, out of a type checker's sight.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ...mining.remote import is_url, joined_url, open_remote, refuse_unknown_scheme, url_of

_FOLDERS = 2**16


def open_place(path: Path) -> Any:
    """What pyarrow reads a source from: the path of a local file, an open remote one."""
    url = url_of(path)
    return path if url is None else pa.PythonFile(open_remote(url), "r")


def open_bytes(path: Path) -> Any:
    """The file of a source to read from, local or remote."""
    url = url_of(path)
    return path.open("rb") if url is None else open_remote(url)


def folder_of(path: Path) -> Path | str:
    """Where relative paths in the file `path` start: its folder, as a path or a URL."""
    url = url_of(path)
    return path.parent if url is None else url.rpartition("/")[0]


def whole_uri(path: Path) -> str:
    """The uri of a file that holds images: its URL, or its path with its folder resolved."""
    return url_of(path) or os.path.join(os.path.realpath(path.parent), path.name)


class Placed:
    """Paths made whole, from `root`, with their folders resolved; a link at the end keeps its own name.

    Below a URL they become URLs. A folder is resolved once for all of its images, as `realpath` costs several system
    calls.
    """

    def __init__(self, root: Path | str) -> None:
        self._root, self._base = root, url_of(root)
        self._resolve = lru_cache(_FOLDERS)(self._resolved)
        self.relative = False
        """Whether any path was relative, so that it began in `root`."""

    def __call__(self, paths: pa.Array) -> pa.Array:
        """The paths made whole.

        Raises:
            InputError: a URL of a kind that is not read.
        """
        folders = pc.replace_substring_regex(paths, r"[^/]*\z", "").dictionary_encode()
        names = pc.replace_substring_regex(paths, r"(?s)\A.*/", "")
        resolved = pa.array(map(self._resolve, folders.dictionary.to_pylist()), pa.large_string())
        between = pa.scalar("", pa.large_string())
        return pc.binary_join_element_wise(resolved.take(folders.indices), names, between)

    def _resolved(self, folder: str) -> str:
        if is_url(folder):
            refuse_unknown_scheme(folder)
            return folder
        self.relative |= not os.path.isabs(folder)
        if self._base is not None:
            return joined_url(self._base, folder or "./")
        whole = os.path.join(self._root, folder)
        return whole if "\0" in whole else os.path.join(os.path.realpath(whole), "")


def placed_from(root: Path | str) -> Placed:
    """What makes paths whole that begin in `root`."""
    return Placed(root)
