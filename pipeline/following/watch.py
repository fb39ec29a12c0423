"""`subspace status --watch`: the status again and again until the run ends; drawn over itself where it is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from ...mining.errors import StoppedEarly


class Seen(NamedTuple):
    """The status at one moment."""

    text: str
    """All of it."""
    line: str
    """The line that says what runs now."""
    over: bool
    """Whether nothing runs and nothing is queued."""


def watch_run(look: Callable[[], Seen], seconds: float) -> None:
    """Show what `look` sees every so many seconds until it is over, or until Ctrl-C; at the end all of it stays.

    Where standard output is no terminal, a line is printed for each change, and all at the end.
    """
    try:
        if sys.stdout.isatty():
            _redraw(look, seconds)
        else:
            _print_changes(look, seconds)
    except (KeyboardInterrupt, StoppedEarly):
        return


def _redraw(look: Callable[[], Seen], seconds: float) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(highlight=False, markup=False), auto_refresh=False, screen=False) as live:
        while True:
            seen = look()
            live.update(Text(seen.text), refresh=True)
            if seen.over:
                return
            time.sleep(seconds)


def _print_changes(look: Callable[[], Seen], seconds: float) -> None:
    before = ""
    while not (seen := look()).over:
        if seen.line != before:
            print(seen.line, flush=True)
        before = seen.line
        time.sleep(seconds)
    print(seen.text, flush=True)
