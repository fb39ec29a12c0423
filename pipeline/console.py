"""What a command says: lines for people, progress, or one JSON document for a program."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from .run_directory import note_progress
from .terminal_text import printable, printable_json, printable_line

if TYPE_CHECKING:
    from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_NOTES = 5.0
"""After which `subspace status` of another process sees how far the work is."""
RECENT_SECONDS = 30.0
"""The rate of plain lines and of notes is that of so long, so that what is slow or fast only now shows."""
FEWEST_ADVANCES = 4
"""And of so many, where they come more rarely: one whole part each minute is not 80,000 images in 30 s, and then none."""
ONE_LINE = 140
"""Columns that a bar and its note take; on a narrower terminal the note has a line of its own."""
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"
"""tqdm's own, but that the rate of slow work stays 0.50 steps/s."""

NO_BREAK = "\u00a0"
NARROWEST = 40
"""Characters that a column of text is left, however narrow the terminal."""

T = TypeVar("T")


@dataclass(frozen=True)
class Console:
    """People's lines go to standard output; with `as_json` they go to standard error and the result alone to output."""

    quiet: bool = False
    as_json: bool = False

    def say(self, line: str = "") -> None:
        """Print a line for people; a newline in it is of a name, and is spelt out."""
        self._print(printable_line(line))

    def say_lines(self, text: str) -> None:
        """Print several lines for people, in each of which names are of one line already, as `aligned` makes them."""
        self._print(printable(text))

    def _print(self, text: str) -> None:
        if not self.quiet:
            file = sys.stderr if self.as_json else sys.stdout
            bars = sys.modules.get("tqdm")  # loaded by the first bar: light commands have none
            with bars.tqdm.external_write_mode(file=file) if bars else nullcontext():  # a bar steps aside
                print(text, file=file, flush=True)

    def result(self, value: Any) -> None:
        """Print the command's result where `--json` asked for it."""
        if self.as_json:
            print(printable_json(json.dumps(value, ensure_ascii=False)), flush=True)

    @contextmanager
    def progress(self, what: str, total: int | None, unit: str, done: int = 0) -> Iterator[Progress]:
        """Show work advancing: a bar on a terminal, otherwise a plain line every ten seconds."""
        progress = Progress(what, total, unit, done, show=not self.quiet)
        try:
            yield progress
        finally:
            progress.close()


class Progress:
    """A tqdm bar, or its text printed as lines where standard error is no terminal; for `subspace status` in the lock, too."""

    def __init__(self, what: str, total: int | None, unit: str, done: int, show: bool) -> None:
        from tqdm import tqdm

        self._what, self._total, self._unit, self._done = printable_line(what), total, unit, done
        self._started = self._last_line = self._last_note = time.monotonic()
        self._marks = deque([(self._started, done)])
        self._printed = done
        self._note = ""
        self._lines = show and not sys.stderr.isatty()
        hidden = not show or self._lines
        self._bar = tqdm(
            desc=self._what,
            total=total,
            initial=done,
            unit=" " + unit,
            bar_format=None if total is None else BAR,
            dynamic_ncols=True,
            disable=hidden,
            leave=False,
        )
        self._narrow = not hidden and 0 < os.get_terminal_size(sys.stderr.fileno()).columns < ONE_LINE
        self._below: tqdm[NoReturn] | None = None
        self._tell()

    def update(self, count: int, note: str = "") -> None:
        """Advance by `count`; `note` is shown behind the bar, or below it, until the next one."""
        self._done += count
        if note and note != self._note:
            self._note = printable_line(note)
            self._show_note()
        self._bar.update(count)
        now = time.monotonic()
        if now - self._last_note >= SECONDS_BETWEEN_NOTES:
            self._look(now)
            self._tell()
        if self._lines and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._print()

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Yield `items`, advancing by one for each."""
        for item in items:
            yield item
            self.update(1)

    def close(self) -> None:
        """Remove the bar; after plain lines, print the last state."""
        if self._below is not None:
            self._below.close()
        self._bar.close()
        if self._last_line > self._started and self._done > self._printed:
            self._print()
        note_progress(None)

    @property
    def rate(self) -> float | None:
        """Done in a second of late; None before anything was."""
        (then, before), (now, done) = self._marks[0], self._marks[-1]
        return (done - before) / (now - then) if now > then else None

    def _look(self, now: float) -> None:
        """Keep how far it is at this time, and forget what is long ago."""
        self._last_note = now
        if len(self._marks) > 1 and self._marks[-2][1] == self._marks[-1][1]:
            self._marks.pop()  # it had not come on: what is kept is when it does, and now
        self._marks.append((now, self._done))
        while len(self._marks) > 2:
            later = list(self._marks)[1:]
            if now - later[0][0] < RECENT_SECONDS or len({done for _, done in later}) <= FEWEST_ADVANCES:
                break
            self._marks.popleft()

    def _tell(self) -> None:
        note_progress(
            {
                "what": self._what,
                "done": self._done,
                "total": self._total,
                "unit": self._unit,
                "rate": self.rate,
            }
        )

    def _show_note(self) -> None:
        if not self._narrow:
            self._bar.set_postfix_str(self._note, refresh=False)
            return
        if self._below is None:
            from tqdm import tqdm

            self._below = tqdm(bar_format="  {desc}", position=1, dynamic_ncols=True, leave=False)
        self._below.set_description_str(self._note)

    def _print(self) -> None:
        from tqdm import tqdm

        self._last_line, self._printed = time.monotonic(), self._done
        self._look(self._last_line)
        rate = self.rate or 0.0
        text = f"{self._what}: {self._done:,}"
        if self._total is not None:
            text += f"/{self._total:,}"
        text += f" {self._unit}, {rate:,.1f}/s"
        if self._total is not None and rate:
            text += f", {tqdm.format_interval((self._total - self._done) / rate)} left"
        print(
            text + (f", {self._note}" if self._note else ""),
            file=sys.stderr,
            flush=True,
        )


def amount(size: float) -> str:
    """A number of bytes for people: 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def duration(seconds: float) -> str:
    """A time for people: < 0.1 s, 0.4 s, 44 s, 3 min 12 s, 2 h 05 min, 6 days 22 h."""
    if seconds < 0.05:
        return "< 0.1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if (whole := round(seconds)) < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if (minutes := round(seconds / 60)) < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(seconds / 3600)
    return f"{hours // 24:,} days {hours % 24} h"


def about(seconds: float) -> str:
    """An estimate for people, in its largest unit that counts to two or more: about 40 seconds, about 7 days.

    Below three seconds in halves, so that rounding does not make half as much of it again.
    """
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"about {seconds / length:,.0f} {unit}s"
    if seconds < 0.75:
        return "less than a second"
    few = round(2 * seconds) / 2 if seconds < 2.75 else round(seconds)
    return f"about {few:g} second{'s' if few != 1 else ''}"


def percent(share: float, digits: int = 0) -> str:
    """A share of 1 for people: 61 %."""
    return f"{100 * share:.{digits}f} %"


def counted(count: int, thing: str, things: str | None = None) -> str:
    """A number of things for people: 1 image, 1,200 images; `things` where it is not `thing` with an s."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def aligned(rows: list[list[str]], text: Collection[int] = (0,), width: int | None = None) -> str:
    """Align rows of cells in columns; the first row is the head.

    Args:
        text: columns that are aligned to the left; the others hold numbers.
        width: a last column of text is broken into lines where the table is wider than so many characters.
    """
    rows = [[printable_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    room = width - sum(widths[:-1]) - 2 * len(widths[:-1]) if width is not None else widths[-1]
    if room < widths[-1] and len(widths) - 1 in text:
        widths[-1] = max(room, NARROWEST)
        rows = [piece for row in rows for piece in _broken(row, widths[-1])]

    def line(row: list[str]) -> str:
        cells = [
            cell.ljust(wide) if column in text else cell.rjust(wide)
            for column, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    head, *body = rows
    return "\n".join([line(head), "-" * (sum(widths) + 2 * len(widths) - 2), *map(line, body)])


def _broken(row: list[str], width: int) -> list[list[str]]:
    """A row, its last cell broken into lines of `width`, each in a row of its own; a number stays with its words."""
    together = re.sub(r" (?=[\d%])", NO_BREAK, row[-1])
    pieces = textwrap.wrap(together, width, break_on_hyphens=False) or [""]
    first, *more = (piece.replace(NO_BREAK, " ") for piece in pieces)
    return [[*row[:-1], first], *([""] * (len(row) - 1) + [piece] for piece in more)]
