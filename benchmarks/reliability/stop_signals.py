"""Signals that stop a command: of a user, a scheduler, a closed terminal; at writes, and while it still imports."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from accident_kinds import Accidents, Attempt, Trial, evenly, put_right
from disturbed_commands import Accident, end_of, start_anew
from tiny_run import TinyRun

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
MOMENTS = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Seconds after the start: from our first import, with Python's own behind it, to the first round on an idle machine."""


def stop_signals(tiny: TinyRun, short: bool) -> list[Accidents]:
    """Each signal at 40 writes, and at ten moments of a command that was started anew."""
    _, writes = tiny.undisturbed()
    at = evenly(len(writes), 2 if short else 40)
    moments = MOMENTS[2:7:4] if short else MOMENTS
    return [
        Accidents(
            number.name,
            [_at_write(tiny, number, write) for write in at]
            + [_at_moment(tiny, number, moment) for moment in moments],
        )
        for number in SIGNALS
    ]


def _at_write(tiny: TinyRun, number: signal.Signals, write: int) -> Trial:
    def trial(folder: Path) -> Attempt:
        run = tiny.fresh(folder / "run")
        first = tiny.command(run, Accident(at=write, signal=number))
        return put_right(tiny, run, first)

    return trial


def _at_moment(tiny: TinyRun, number: signal.Signals, seconds: float) -> Trial:
    def trial(folder: Path) -> Attempt:
        run = tiny.fresh(folder / "run")
        process = start_anew(["run", run, "--quiet"])
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, number)
        return put_right(tiny, run, end_of(process))

    return trial
