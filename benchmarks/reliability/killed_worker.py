"""A loader worker is killed, as the out-of-memory killer does it, or falls silent, as on a dead network drive."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from accident_kinds import Accidents, Attempt, Trial, put_right
from tiny_run import TinyRun

LONGER = (
    "pretrain.steps=60", "plan.steps=40", "rounds=1",
    "pretrain.num_workers=2", "extract.num_workers=2", "train.num_workers=2", "data.timeout=20",
)  # fmt: skip
WITHIN = {signal.SIGKILL: 30.0, signal.SIGSTOP: 60.0}
"""Seconds in which a command ends whose worker is dead, or silent."""


def killed_worker(tiny: TinyRun, short: bool) -> list[Accidents]:
    """The first worker that starts, the second, and so on through the stages."""
    workers = range(1 if short else 8)
    return [
        Accidents("loader worker killed", [_struck(tiny, number, signal.SIGKILL) for number in workers]),
        Accidents("loader worker silent", [_struck(tiny, number, signal.SIGSTOP) for number in workers]),
    ]


def _struck(tiny: TinyRun, which: int, number: signal.Signals) -> Trial:
    def trial(folder: Path) -> Attempt:
        run = tiny.fresh(folder / "run", *LONGER)
        running = tiny.begin(run)
        seen: list[int] = []

        def is_there() -> bool:
            seen.extend(pid for pid in _children(running.pid) if pid not in seen)
            return len(seen) > which

        if running.wait_until(is_there):
            with suppress(ProcessLookupError):
                os.kill(seen[which], number)
        began = time.monotonic()
        first = running.end(WITHIN[number] + 60)
        took = time.monotonic() - began
        attempt = put_right(tiny, run, first, LONGER)
        if first.code and took > WITHIN[number]:
            return Attempt(attempt.happened, f"only after {took:.0f} s; {attempt.wrong}")
        return attempt

    return trial


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
