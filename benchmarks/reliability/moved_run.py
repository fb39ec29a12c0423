"""The run folder gets another name, or another place, between two commands."""

from __future__ import annotations

import signal
from pathlib import Path

from accident_kinds import Accidents, Attempt, Trial, evenly, put_right
from disturbed_commands import Accident
from tiny_run import TinyRun


def moved_run(tiny: TinyRun, short: bool) -> list[Accidents]:
    """Killed, moved and gone on with; by turns beside where it was and deeper down."""
    _, writes = tiny.undisturbed()
    at = evenly(len(writes) - 1, 2 if short else 20)
    return [
        Accidents(
            "run folder moved", [_moved(tiny, number, index % 2 == 1) for index, number in enumerate(at)]
        )
    ]


def _moved(tiny: TinyRun, number: int, deeper: bool) -> Trial:
    def trial(folder: Path) -> Attempt:
        run = tiny.fresh(folder / "run")
        first = tiny.command(run, Accident(at=number, signal=signal.SIGKILL))
        to = folder / ("another/place/run" if deeper else "another name")
        to.parent.mkdir(parents=True, exist_ok=True)
        return put_right(tiny, run.rename(to), first)

    return trial
