"""Files that are whole or absent.

Every file is written aside (`.NAME.PID.tmp` in the same folder), synced and renamed, so a kill at any
moment leaves either the old file, the new one, or a leftover that nothing reads.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import InputError

_PLACES: list[tuple[Path, int]] = []
"""Folders that commands work in, each with a descriptor that stays on it wherever it is moved."""


@contextmanager
def in_place(folder: Path) -> Iterator[None]:
    """Within it, no file is written below `folder` once that is moved, removed or replaced: nothing is made at its old place.

    Raises:
        InputError: there is no such folder.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise unwritable(folder, error) from error
    place = (folder, descriptor)
    _PLACES.append(place)
    try:
        yield
    finally:
        _PLACES.remove(place)
        os.close(descriptor)


def displaced(path: Path | None = None) -> str | None:
    """What to say where a folder of `in_place`, of those above `path` or of all, is not there any more; None: all are."""
    for folder, descriptor in _PLACES:
        above = path is None or path.absolute().is_relative_to(folder.absolute())
        if above and not _is_there(folder, descriptor):
            return (
                f"{folder} was moved, removed or replaced while this command worked in it; where it was moved, the same "
                "command with its new path continues from what is saved"
            )
    return None


def _is_there(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(folder), os.fstat(descriptor))
    except OSError as error:  # of others nobody can say; a write will
        return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it that are missing, if there is none.

    Raises:
        InputError: it was to be in one that is `displaced`.
    """
    if problem := displaced(folder):
        raise InputError(problem)
    folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def whole_file(path: Path, process: str = "") -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed over `path`.

    Args:
        process: what the temporary name has of this process; its number unless given.

    Raises:
        InputError: the folder cannot be written or is `displaced`, or the disk is full.
    """
    aside = path.with_name(f".{path.name}.{process or os.getpid()}.tmp")
    try:
        make_folder(path.parent)
        yield aside
        _sync(aside)
        os.replace(aside, path)
        _sync(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    remove_leftovers(path)
    try:
        shutil.rmtree(aside, ignore_errors=True)
        make_folder(aside)
        yield aside
        for file in aside.iterdir():
            if file.is_file():
                with suppress(OSError):  # some file systems have no modes
                    # as the umask has it: safetensors writes for the owner alone
                    file.chmod(aside.stat().st_mode & 0o666)
            _sync(file)
        _sync(aside)
        before = path.with_name(f".{path.name}.{os.getpid()}.old")
        if path.is_dir():
            os.replace(path, before)
        else:
            remove(path)
        os.replace(aside, path)
        _sync(path.parent)
        shutil.rmtree(before, ignore_errors=True)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove what processes of this machine that were killed left of `path` half-written, beside it."""
    aside = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.(tmp|old)")
    with suppress(OSError):  # there is no such folder yet
        for entry in os.listdir(path.parent):
            if (found := aside.fullmatch(entry)) and not _is_alive(int(found[1])):
                remove(path.with_name(entry))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def take_room(descriptor: int, size: int) -> None:
    """Give an open file all of its bytes on disk, where the system can; for one that is written through a map.

    A disk that fills up under a map kills the process without a word.

    Raises:
        OSError: there is no room.
    """
    if hasattr(os, "posix_fallocate") and size:
        os.posix_fallocate(descriptor, 0, size)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if there is one; a folder goes at once, never half of it."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}.old")
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(path, aside)
    shutil.rmtree(aside)


def point_to(path: Path, target: Path) -> None:
    """Make `path` a symbolic link to `target`, relative to its folder; one rename takes it from the old to the new.

    Raises:
        InputError: the folder cannot be written, a real folder is in the way, or there are no links here.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        aside.unlink(missing_ok=True)
        aside.symlink_to(target)
        os.replace(aside, path)
        _sync(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> InputError:
    """The one line for a file that could not be written: what, where, what to do."""
    return InputError(f"cannot write {path}: {error.strerror or error}; check permissions and free space")


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or none; containers whose processes have equal numbers may write one at the same time."""
    with whole_file(path, f"{socket.gethostname()}.{os.getpid()}") as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a whole JSON file or none, for people too: indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
