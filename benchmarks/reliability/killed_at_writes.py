"""SIGKILL at counted writes, as a power cut or the out-of-memory killer has it; a write may be torn in the middle."""

from __future__ import annotations

import signal
from pathlib import Path

from accident_kinds import Accidents, Attempt, Trial, evenly, put_right
from disturbed_commands import Accident
from tiny_run import TinyRun


def killed_at_writes(tiny: TinyRun, short: bool) -> list[Accidents]:
    """200 kills, evenly over the writes of a run."""
    _, writes = tiny.undisturbed()
    at = evenly(len(writes), 6 if short else 200)
    return [Accidents("SIGKILL at a write", [_killed(tiny, number) for number in at])]


def _killed(tiny: TinyRun, number: int) -> Trial:
    def trial(folder: Path) -> Attempt:
        run = tiny.fresh(folder / "run")
        first = tiny.command(run, Accident(at=number, signal=signal.SIGKILL))
        return put_right(tiny, run, first)

    return trial
