"""Remote files that are read through fsspec: which paths are URLs, and what opens them.

A URL names a scheme of `SCHEMES`; keys and endpoints come from the environment, as the tools of each storage take
them (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS, ...). Other schemes of fsspec are refused:
some unpack, run templates or cache, and a manifest is data that others write.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from .errors import InputError

SCHEMES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "memory": "fsspec",
}
"""Schemes that are read, and the package that each needs."""
LISTED = frozenset(SCHEMES) - {"http", "https"}
"""Schemes whose folders can be listed; a web server lists none."""

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+")


def url_of(path: Path | str) -> str | None:
    """The URL that `path` is, with both of its slashes, of which a Path keeps one; None for a path of a file system.

    Example:
        >>> url_of(Path("s3://bucket/photos.csv")), url_of("photos.csv")
        ('s3://bucket/photos.csv', None)
    """
    found = _URL.match(str(path))
    return f"{found[1]}://{str(path)[found.end() :]}" if found else None


def is_url(path: Path | str) -> bool:
    """Whether `path` is a URL."""
    return _URL.match(str(path)) is not None


def in_words(path: Path | str) -> str:
    """`path` for messages: a URL with both of its slashes, anything else as it is."""
    return url_of(path) or str(path)


def joined_url(folder: str, name: str) -> str:
    """`name` below the URL `folder`, with `.` and `..` resolved; a URL stays as it is.

    Example:
        >>> joined_url("s3://bucket/tables", "../photos/1.jpg")
        's3://bucket/photos/1.jpg'
    """
    if is_url(name):
        return name
    scheme, _, below = folder.partition("://")
    host = below.partition("/")[0]
    parts: list[str] = []
    for part in (name if name.startswith("/") else f"{below.partition('/')[2]}/{name}").split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return "/".join([f"{scheme}://{host}", *parts]) + ("/" if name.endswith("/") else "")


def refuse_unknown_scheme(url: str) -> None:
    """Raise InputError where the scheme of a URL is not one of those that are read."""
    if url.partition("://")[0] not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise InputError(f"{url} cannot be read: remote files are read from {known}; copy it to one of them")


def file_system(url: str) -> Any:
    """The fsspec file system of a URL, of this process: forked workers ask again and get their own.

    Raises:
        InputError: a scheme that is not read, or whose package is not installed.
    """
    refuse_unknown_scheme(url)
    scheme = url.partition("://")[0]
    try:
        import fsspec

        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        raise InputError(
            f"{url} needs the package {SCHEMES[scheme]}: pip install 'subspace-mining[remote]' {SCHEMES[scheme]}"
        ) from error


class RemoteFile(io.RawIOBase):
    """A remote file that is open for reading; whatever its storage raises is one line."""

    def __init__(self, url: str, file: Any) -> None:
        """Wrap an open file of fsspec."""
        self._url, self._file = url, file

    @property
    def size(self) -> int | None:
        """Bytes in it; None where its server does not say."""
        return self._file.size

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always; a server that gives no parts of files shows when another place is asked for."""
        return True

    def tell(self) -> int:
        """The place that is read next."""
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to another place.

        Raises:
            InputError: the server gives files only as a whole.
        """
        try:
            return int(self._file.seek(offset, whence))
        except ValueError as error:  # fsspec's, about a stream
            raise _without_parts(self._url) from error

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes; all that are left where it is negative or None.

        Raises:
            InputError: the storage does not answer, or breaks off.
        """
        try:
            return bytes(self._file.read(-1 if size is None else size))
        except Exception as error:  # each storage raises errors of its own library
            if "range requests" in str(error):
                raise _without_parts(self._url) from error
            raise unreachable(self._url, error) from error

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer`, as far as there are bytes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file of fsspec too."""
        if not self.closed:
            self._file.close()
        super().close()


def open_remote(url: str) -> RemoteFile:
    """A remote file, opened for reading at any place; it reads what it is asked for, without guessing ahead.

    Raises:
        InputError: it is not there, or the storage does not answer.
    """
    files = file_system(url)
    try:
        return RemoteFile(url, files.open(url, "rb", cache_type="none"))
    except FileNotFoundError as error:
        refusal = web_refusal(error)
        if refusal is not None:
            raise unreachable(url, refusal) from error
        raise InputError(f"{url} does not exist") from error
    except Exception as error:  # each storage raises errors of its own library
        raise unreachable(url, error) from error


def web_refusal(error: FileNotFoundError) -> BaseException | None:
    """What a web server or the network said, where fsspec says of any failure that the file is not found; else None."""
    cause = error.__cause__
    if cause is None or not type(cause).__module__.startswith("aiohttp"):
        return None
    return None if getattr(cause, "status", None) in (404, 410) else cause


def unreachable(url: str, error: BaseException) -> InputError:
    """The one line for a storage that does not answer as it should."""
    return InputError(f"cannot read {url}: {first_line(error)}; check the address, the keys and the network")


def _without_parts(url: str) -> InputError:
    return InputError(f"cannot read {url}: its server gives no parts of files; copy it")


def first_line(error: BaseException) -> str:
    """What an error of a library says first, or its kind where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]
