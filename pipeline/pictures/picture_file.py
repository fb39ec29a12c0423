"""The file of a picture that a command draws: where it may lie, and by what a later command knows it as ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...mining.errors import InputError
from ...mining.local_paths import refuse_url

MADE_BY = "drawn by subspace-mining"
"""Stands in the metadata of every such picture; a file without it is never overwritten."""
HEAD = 4096
"""Bytes in which it stands, in PNG and in SVG."""


def check_picture_file(out: Path, suffixes: Sequence[str] = (".png",)) -> None:
    """Refuse a place where something else would be lost, or a kind of picture that is not drawn; nothing is touched.

    >>> check_picture_file(Path("plot.gif"), [".png", ".svg"])
    Traceback (most recent call last):
    subspace.mining.errors.InputError: --out plot.gif: name a file that ends in .png or .svg

    Raises:
        InputError: `out` is a URL, a folder, of another suffix, or a file that no such command drew.
    """
    refuse_url(out)
    if out.suffix.lower() not in suffixes:
        raise InputError(f"--out {out}: name a file that ends in {' or '.join(suffixes)}")
    if out.is_dir():
        raise InputError(f"cannot write {out}: it is a folder; give --out a file")
    if not out.exists():
        return
    ours = False
    if out.is_file():
        with open(out, "rb") as file:
            head = file.read(HEAD)
        ours = not head or MADE_BY.encode() in head
    if not ours:
        raise InputError(
            f"cannot write {out}: it is there already, and was not drawn here; give --out another file"
        )
