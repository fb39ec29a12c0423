"""Two commands on one run: the second is refused, the first does not notice."""

from __future__ import annotations

import random
import time
from pathlib import Path

from accident_kinds import Accidents, Attempt, Trial, put_right
from disturbed_commands import run_command
from tiny_run import TinyRun

SECOND = ("run", "pretrain", "train", "cluster", "status")


def two_at_once(tiny: TinyRun, short: bool) -> list[Accidents]:
    """A second command at any moment of the first, and two at the same instant."""
    chance = random.Random(21)
    later = [
        _later(tiny, SECOND[index % len(SECOND)], chance.uniform(0, 2)) for index in range(2 if short else 20)
    ]
    at_once = [_at_once(tiny) for _ in range(1 if short else 10)]
    return [Accidents("second command at work on the run", [*later, *at_once])]


def _later(tiny: TinyRun, command: str, seconds: float) -> Trial:
    def trial(folder: Path) -> Attempt:
        run = tiny.fresh(folder / "run")
        first = tiny.begin(run)
        lock = run / ".lock"
        first.wait_until(lambda: lock.exists() and lock.stat().st_size)
        time.sleep(seconds)
        second = run_command([command, run, *["--quiet"] * (command != "status")], run)
        overlapped = not first.has_ended
        ended = first.end()
        wrong = "" if ended.code == 0 else f"the first: {ended.words}: {ended.errors.strip()}"
        expected = 0 if command == "status" else 2
        if overlapped and (second.code != expected or not second.is_clean):
            wrong += f"the second, {command}: {second.words}: {second.errors.strip()}"
        attempt = put_right(tiny, run, second, happened=f"{command}: {second.words}")
        return Attempt(attempt.happened, "; ".join(filter(None, (wrong, attempt.wrong))))

    return trial


def _at_once(tiny: TinyRun) -> Trial:
    def trial(folder: Path) -> Attempt:
        run = tiny.fresh(folder / "run")
        ends = [running.end() for running in [tiny.begin(run), tiny.begin(run)]]
        codes = sorted(-1 if end.code is None else end.code for end in ends)
        clean = all(end.is_clean for end in ends) and codes in ([0, 2], [0, 0])
        attempt = put_right(tiny, run, ends[0], happened=f"both at once: exits {codes[0]} and {codes[1]}")
        return attempt if clean else Attempt(attempt.happened, f"{ends[0].errors}{ends[1].errors}")

    return trial
