"""Folders and sizes of remote files, as their storage lists them: some folders at once, and no question for each file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ...mining.errors import InputError
from ...mining.remote import LISTED, file_system, unreachable, web_refusal

AT_ONCE = 32
"""Folders that are listed side by side."""
UNKNOWN = 2**62
"""Size of a file whose web server does not say it; the image is read and checked when it is needed."""


class RemoteEntry(NamedTuple):
    """What a remote folder holds, asked as an `os.DirEntry` is."""

    name: str
    path: str
    folder: bool

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self.folder

    def is_symlink(self) -> bool:
        """Never: object storage has no links."""
        return False


class RemoteFolders:
    """Lists the folders of one storage; those that will be asked for soon are listed meanwhile."""

    def __init__(self, url: str) -> None:
        """Find what lists `url`.

        Raises:
            InputError: it is on a web server, which lists no folders.
        """
        self._files = file_system(url)
        scheme = url.partition("://")[0]
        if scheme not in LISTED:
            raise InputError(
                f"{url} is no table, and a web server lists no folders; give a CSV of the images' URLs"
            )
        self._scheme = scheme
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._coming: dict[str, Future[list[RemoteEntry]]] = {}

    @contextmanager
    def scan(self, folder: str) -> Iterator[Iterator[RemoteEntry]]:
        """What is in the folder of that URL, as `os.scandir` gives it.

        Raises:
            InputError: it is not there, or the storage does not answer.
        """
        coming = self._coming.pop(folder, None)
        yield iter(self._list(folder) if coming is None else coming.result())

    def ahead(self, folders: Sequence[str]) -> None:
        """Begin to list folders that will be asked for."""
        for folder in folders:
            if folder not in self._coming:
                self._coming[folder] = self._pool.submit(self._list, folder)

    def _list(self, folder: str) -> list[RemoteEntry]:
        try:
            found = self._files.ls(folder, detail=True)
        except FileNotFoundError as error:
            raise InputError(f"{folder} does not exist, or is an empty folder") from error
        except Exception as error:  # each storage raises errors of its own library
            raise unreachable(folder, error) from error
        own = _bare(self._files, folder)
        entries = []
        for entry in found:
            path = entry["name"].strip("/")
            if path != own.strip("/"):  # a marker of the folder itself
                name = path.rpartition("/")[2]
                entries.append(
                    RemoteEntry(name, f"{folder.rstrip('/')}/{name}", entry["type"] == "directory")
                )
        return sorted(entries)


def remote_sizes(urls: Sequence[str], seen: Callable[[int], object]) -> np.ndarray:
    """The size of each remote file, int64[n]; -1 where there is none, UNKNOWN where its server does not say.

    A folder with two or more of the files is listed, which costs one question for 1,000 files where the storage is S3.

    Raises:
        InputError: the storage does not answer.
    """
    sizes = np.full(len(urls), -1, np.int64)
    folders: dict[str, list[int]] = defaultdict(list)
    for place, url in enumerate(urls):
        folders[url.rpartition("/")[0]].append(place)
    file_systems = {
        scheme: file_system(f"{scheme}://") for scheme in {url.partition("://")[0] for url in urls}
    }

    def measure(folder: str) -> int:
        scheme, places = folder.partition("://")[0], folders[folder]
        files = file_systems[scheme]
        listed = _listed_sizes(files, folder) if len(places) > 1 and scheme in LISTED else None
        for place in places:
            url = urls[place]
            sizes[place] = _size(files, url) if listed is None else listed.get(_bare(files, url), -1)
        return len(places)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for count in pool.map(measure, folders):
            seen(count)
    return sizes


def _listed_sizes(files: Any, folder: str) -> dict[str, int] | None:
    """Sizes by path of what is in a folder; None where it may not be listed."""
    try:
        found = files.ls(folder, detail=True)
    except FileNotFoundError:
        return {}
    except PermissionError:
        return None
    except Exception as error:  # each storage raises errors of its own library
        raise unreachable(folder, error) from error
    return {entry["name"]: entry["size"] for entry in found if entry["type"] == "file"}


def _size(files: Any, url: str) -> int:
    """The size of one file; S3 forbids where a file is not there and the folder may not be listed."""
    try:
        found = files.info(url)
    except FileNotFoundError as error:
        refusal = web_refusal(error)
        if refusal is not None and not 400 <= getattr(refusal, "status", 0) < 500:
            raise unreachable(url, refusal) from error
        return -1
    except PermissionError:
        return -1
    except Exception as error:  # each storage raises errors of its own library
        raise unreachable(url, error) from error
    if found["type"] != "file":
        return -1
    return UNKNOWN if found["size"] is None else found["size"]


def _bare(files: Any, url: str) -> str:
    """A URL as the listings of its storage name it."""
    return str(files._strip_protocol(url))
