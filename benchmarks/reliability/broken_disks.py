"""A full disk (ENOSPC, and it stays full) and a place of it that cannot be written (EIO, met once), at every write.

A write is known by its call and the name of its file, numbers aside: each is tried where it comes first and where it comes
last.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

from accident_kinds import Accidents, Attempt, Trial, evenly, put_right
from disturbed_commands import Accident
from tiny_run import TinyRun

CANNOT_FAIL = ("unlink", "unlinkat", "rmdir")
"""Removing needs no space, and its failures are no lost data."""
DISKS = {"full disk (ENOSPC)": errno.ENOSPC, "I/O error (EIO)": errno.EIO}


def broken_disks(tiny: TinyRun, short: bool) -> list[Accidents]:
    """Both errors, at each of the kinds of writes."""
    _, writes = tiny.undisturbed()
    at = distinct(writes)
    if short:
        at = [at[index - 1] for index in evenly(len(at), 6)]
    return [Accidents(what, [_broken(tiny, number, error) for number in at]) for what, error in DISKS.items()]


def distinct(writes: tuple[str, ...]) -> list[int]:
    """The numbers, from 1, of the first and the last write of each kind.

    >>> distinct(("write /round-000/a", "write /round-000/a", "write /round-001/a", "unlink /b", "write /c"))
    [1, 3, 5]
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, write in enumerate(writes, 1):
        if write.split()[0] in CANNOT_FAIL:
            continue
        kind = re.sub(r"\d+", "N", re.sub(r"/\.tmp\w+$", "/.tmp", write))
        first.setdefault(kind, number)
        last[kind] = number
    return sorted({*first.values(), *last.values()})


def _broken(tiny: TinyRun, number: int, error: int) -> Trial:
    def trial(folder: Path) -> Attempt:
        run = tiny.fresh(folder / "run")
        return put_right(tiny, run, tiny.command(run, Accident(at=number, error=error)))

    return trial
