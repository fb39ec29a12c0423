"""Rows of the table of a GPU machine, and how times and memory are taken on any device."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

NOT_INSTALLED = "not installed"
COLUMNS = ("what", "figure", "aim", "of it")


class Row(NamedTuple):
    """One line of the table."""

    what: str
    figure: str
    aim: str = ""
    note: str = ""
    met: bool | None = None
    """Whether the figure reaches the aim; None where there is none, or nothing was measured."""
    failed: bool = False


class Machine(NamedTuple):
    """Where and at which size everything is measured."""

    device: str
    """cpu or cuda."""
    quick: bool
    """Sizes at which every line runs in seconds, and figures mean nothing."""
    folder: Path
    """For files."""

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device == "cuda"


def at_most(what: str, figure: float | None, aim: float, unit: str = "times", note: str = "") -> Row:
    """A row whose figure is to be at most the aim; None where the other side is not there."""
    if figure is None:
        return Row(what, NOT_INSTALLED, f"at most {aim:g} {unit}", note)
    return Row(what, f"{number(figure)} {unit}", f"at most {aim:g} {unit}", note, figure <= aim)


def at_least(what: str, figure: float | None, aim: float, unit: str = "times", note: str = "") -> Row:
    """A row whose figure is to be at least the aim; None where the other side is not there."""
    if figure is None:
        return Row(what, NOT_INSTALLED, f"at least {aim:g} {unit}", note)
    return Row(what, f"{number(figure)} {unit}", f"at least {aim:g} {unit}", note, figure >= aim)


def number(value: float) -> str:
    """Three digits that count: 0.812, 12.3, 5,052."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def guarded(what: str, rows: Callable[[], Iterable[Row]]) -> Iterator[Row]:
    """Rows of a part; what it fails with is a row too, and the other parts go on."""
    try:
        yield from rows()
    except Exception as error:  # a check goes on, whatever a library raises
        yield Row(
            what, "failed", note=" ".join(f"{type(error).__name__}: {error}".split())[:300], failed=True
        )


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(
    work: Callable[[], object], device: str, most: int = 9, budget: float = 3.0, warm: int = 2
) -> float:
    """Median seconds of `work` over up to `most` runs, fewer where they take longer than `budget` seconds together."""
    for _ in range(warm):
        work()
    wait(device)
    taken: list[float] = []
    until = time.perf_counter() + budget
    while len(taken) < 2 or (len(taken) < most and time.perf_counter() < until):
        began = time.perf_counter()
        work()
        wait(device)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def peak_bytes(work: Callable[[], object], device: str) -> int | None:
    """Bytes of a GPU's memory that `work` takes beyond what is there before; None on a CPU."""
    if device != "cuda":
        work()
        return None
    wait(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    wait(device)
    return torch.cuda.max_memory_allocated() - before


def subspace(*arguments: object, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run a command of `subspace` in a process of its own.

    Raises:
        RuntimeError: it did not end well; with its last words.
    """
    words = [sys.executable, "-m", "subspace.pipeline.cli", *map(str, arguments)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=timeout, env=environment, check=False
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise RuntimeError(f"`subspace {' '.join(words[3:])}` ended with {done.returncode}: {''.join(last)}")
    return done


def as_table(rows: Iterable[Row]) -> list[str]:
    """Markdown, a row a line."""
    marks = {True: "met", False: "**missed**", None: ""}
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for row in rows:
        of_it = ", ".join(filter(None, (marks[row.met], row.note)))
        lines.append(
            f"| {' | '.join(cell.replace('|', '/') for cell in (row.what, row.figure, row.aim, of_it))} |"
        )
    return lines
