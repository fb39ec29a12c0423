"""The clock of the machine runs backwards, and files are of tomorrow."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from accident_kinds import Accidents, Attempt, Trial, evenly, put_right
from disturbed_commands import Accident
from tiny_run import TinyRun

HOUR, YEAR = 3600, 365 * 86_400
STEPS = ((1, 60), (10, HOUR), (1000, YEAR))
"""At each so-manieth look at the clock it is set back by so many seconds."""


def wrong_clock(tiny: TinyRun, short: bool) -> list[Accidents]:
    """Clocks set back under a command, and a command that meets files of the future where it goes on."""
    _, writes = tiny.undisturbed()
    tries = 1 if short else 4
    return [
        Accidents("clock set back at work", [_set_back(tiny, step) for step in STEPS for _ in range(tries)]),
        Accidents(
            "files of the future",
            [_future(tiny, number) for number in evenly(len(writes) - 1, 2 if short else 12)],
        ),
    ]


def _set_back(tiny: TinyRun, step: tuple[int, int]) -> Trial:
    def trial(folder: Path) -> Attempt:
        run = tiny.fresh(folder / "run")
        return put_right(tiny, run, tiny.command(run, Accident(clock=step)))

    return trial


def _future(tiny: TinyRun, number: int) -> Trial:
    def trial(folder: Path) -> Attempt:
        run = tiny.fresh(folder / "run")
        first = tiny.command(run, Accident(at=number, signal=signal.SIGKILL))
        then = time.time() + YEAR
        for path in [run, *run.rglob("*")]:
            os.utime(path, (then, then), follow_symlinks=False)
        return put_right(tiny, run, first)

    return trial
