"""Debian's packages are downloaded and unpacked into a folder: nothing is installed, so root is not needed.

    FOLDER/fonts-hanazono_20170904-2.1/usr/share/fonts/...

A package that is there is not fetched again. Where this machine's package lists do not know one, lists of our own
are fetched once into FOLDER/.apt, with the same sources.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from subspace.mining.artifacts import whole_folder
from subspace.mining.errors import InputError
from subspace.pipeline.console import Console

FONT_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
GONE = ("Unable to locate package", "no installation candidate", "Can't find a source", "Can't select")
ELSEWHERE = "take fonts from a folder with --fonts instead"


class FontFile(NamedTuple):
    """A file of one or several faces, and the package that it is from."""

    path: Path
    package: str
    """In a folder that the user gave: the file's folder within it."""
    version: str


class Package(NamedTuple):
    """A package that is unpacked."""

    name: str
    version: str
    path: Path


class PackageGoneError(Exception):
    """The sources do not have this package."""


def fetch(packages: Sequence[str], folder: Path, console: Console) -> list[FontFile]:
    """The font files of `packages`, in the order of their names; missing packages are fetched as `unpack` does it."""
    files: list[FontFile] = []
    for name, version, place in unpack(packages, folder, console):
        fonts = [FontFile(path, name, version) for path in _font_paths(place)]
        if not fonts:
            console.say(f"warning: {name} {version} holds no {' '.join(FONT_SUFFIXES)} file")
        files += fonts
    return files


def unpack(
    packages: Sequence[str], folder: Path, console: Console, elsewhere: str = ELSEWHERE
) -> list[Package]:
    """The packages, in the order of their names; missing ones are fetched.

    A package that the sources no longer have is named in a warning and left out. `elsewhere` says what else a user
    can do.

    Raises:
        InputError: apt-get or dpkg is missing or fails, the disk is full, or there is not one package.
    """
    missing = [name for name in packages if _unpacked(folder, name) is None]
    if missing:
        for program in ("apt-get", "dpkg"):
            if shutil.which(program) is None:
                raise InputError(f"{program} is not on this machine, so it is not Debian-like; {elsewhere}")
        folder.mkdir(parents=True, exist_ok=True)
        with console.progress("fetch", len(packages), "packages", len(packages) - len(missing)) as progress:
            for name in missing:
                try:
                    _fetch_one(name, folder)
                except PackageGoneError as error:
                    console.say(f"warning: {name} is left out, the package sources do not have it ({error})")
                progress.update(1, name)
    found = [(name, place) for name in sorted(packages) if (place := _unpacked(folder, name)) is not None]
    if not found:
        raise InputError(f"none of {', '.join(packages)} could be fetched; {elsewhere}")
    return [Package(name, unquote(place.name.removeprefix(f"{name}_")), place) for name, place in found]


def list_fonts(folder: Path) -> list[FontFile]:
    """The font files anywhere below `folder`, in the order of their paths; links are not followed.

    Raises:
        InputError: there is none.
    """
    paths = _font_paths(folder)
    if not paths:
        raise InputError(f"{folder} holds no {' '.join(FONT_SUFFIXES)} file; name a folder of fonts")
    return [FontFile(path, path.relative_to(folder).parent.as_posix(), "") for path in paths]


def _font_paths(folder: Path) -> list[Path]:
    """In the order of their places in the folder, which is the same wherever the folder is."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in FONT_SUFFIXES)
    files = [path for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(files, key=lambda path: path.relative_to(folder).parts)


def _unpacked(folder: Path, package: str) -> Path | None:
    return max((path for path in folder.glob(f"{package}_*") if path.is_dir()), default=None)


def _fetch_one(package: str, folder: Path) -> None:
    folder = folder.resolve()  # the programs run in another one
    lists = folder / ".apt"
    ours = [f"-oDir::State::lists={lists}/lists", f"-oDir::Cache={lists}/cache"]
    downloads = folder / ".download"
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir()
    try:
        _run(["apt-get", "download", "-q", *(ours if lists.is_dir() else []), package], downloads)
    except PackageGoneError:
        if lists.is_dir():
            raise
        with whole_folder(lists) as aside:
            (aside / "lists/partial").mkdir(parents=True)
            (aside / "cache").mkdir()
            options = [
                f"-oDir::State::lists={aside}/lists",
                f"-oDir::Cache={aside}/cache",
            ]
            _run(["apt-get", "update", "-q", *options], downloads)
        _run(["apt-get", "download", "-q", *ours, package], downloads)
    (deb,) = downloads.glob("*.deb")
    with whole_folder(folder / deb.stem.rpartition("_")[0]) as aside:
        _run(["dpkg", "-x", str(deb), str(aside)], downloads)
    shutil.rmtree(downloads)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    reason = next((line for line in lines if line.startswith("E:")), lines[-1])
    if any(sign in done.stderr for sign in GONE):
        raise PackageGoneError(reason)
    what = f"{' '.join(command[:2])} {command[-1]}"
    raise InputError(f"{what} failed: {reason}; the same command goes on from here once that is put right")
