"""The images go away, as a mount that is lost: at the start, in the middle, and in the middle for a moment."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from accident_kinds import Accidents, Attempt, Trial, evenly, put_right
from disturbed_commands import Accident
from tiny_run import TinyRun

MOMENT = 0.2
"""Seconds for which images are gone that come back by themselves."""


def images_gone(tiny: TinyRun, short: bool) -> list[Accidents]:
    """Each at several writes; afterwards the images are back, and the same command goes on."""
    _, writes = tiny.undisturbed()
    at = evenly(len(writes) - 1, 2 if short else 12)
    kinds = {
        "images gone at the start": _at_start,
        "images gone in the middle": _in_the_middle,
        "images gone for a moment": _for_a_moment,
    }
    return [
        Accidents(what, [kind(tiny, number) for number in at], alone=True) for what, kind in kinds.items()
    ]


def _at_start(tiny: TinyRun, number: int) -> Trial:
    """Where a killed command goes on; the first number is small, so that one begins without images."""

    def trial(folder: Path) -> Attempt:
        run = tiny.fresh(folder / "run")
        tiny.command(run, Accident(at=number, signal=signal.SIGKILL))
        tiny.images.rename(_away(tiny))
        try:
            first = tiny.command(run)
        finally:
            _away(tiny).rename(tiny.images)
        return put_right(tiny, run, first)

    return trial


def _in_the_middle(tiny: TinyRun, number: int) -> Trial:
    def trial(folder: Path) -> Attempt:
        run = tiny.fresh(folder / "run")
        try:
            first = tiny.command(run, Accident(at=number, renamed=(str(tiny.images), str(_away(tiny)))))
        finally:
            _bring_back(tiny)
        return put_right(tiny, run, first)

    return trial


def _for_a_moment(tiny: TinyRun, number: int) -> Trial:
    def trial(folder: Path) -> Attempt:
        run = tiny.fresh(folder / "run")
        running = tiny.begin(run, accident=Accident(at=number, renamed=(str(tiny.images), str(_away(tiny)))))
        running.wait_until(_away(tiny).exists)
        time.sleep(MOMENT)
        _bring_back(tiny)
        return put_right(tiny, run, running.end())

    return trial


def _away(tiny: TinyRun) -> Path:
    return tiny.images.with_name("images-of-a-lost-mount")


def _bring_back(tiny: TinyRun) -> None:
    if _away(tiny).exists():
        _away(tiny).rename(tiny.images)
