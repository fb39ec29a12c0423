"""Summaries and tables on a terminal, in colour, by rich; elsewhere the same words are plain lines."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from ..console import Console, aligned
from ..terminal_text import printable_line
from .histograms import Bins
from .summary import Summary

if TYPE_CHECKING:
    from rich.console import Console as Screen
    from rich.console import RenderableType
    from rich.text import Text

BAR = "█"
PARTS = " ▏▎▍▌▋▊▉"
"""Eighths of a bar's last character."""
BAR_COLUMNS = 50
"""The longest bar, where the terminal is wide enough."""
TITLE, HEAD, COLOUR = "bold", "bold cyan", "cyan"


def say_first_line(console: Console, summary: Summary) -> None:
    """Print what a path is, before all of it is read: of a million identities the rest takes seconds."""
    if _draws(console):
        _screen().print(_first_line(summary))
    else:
        console.say(summary.first_line)


def say_summary(console: Console, summary: Summary, begun: bool = False) -> None:
    """Print a summary: drawn where standard output is a terminal, as plain lines elsewhere.

    Args:
        begun: its first line has been printed.
    """
    if _draws(console):
        screen = _screen()
        parts = summary_on_terminal(summary, screen)
        for part in islice(parts, 1 if begun else 0, None):
            screen.print(part)
    else:
        console.say_lines("\n".join(summary.lines()[1 if begun else 0 :]))


def say_table(console: Console, rows: Sequence[Sequence[str]], text: Collection[int] = (0,)) -> None:
    """Print rows under their head, the same way; `text` are columns of words."""
    if _draws(console):
        _screen().print(table_on_terminal(rows, text))
    else:
        console.say_lines(aligned([list(row) for row in rows], text))


def _draws(console: Console) -> bool:
    return not console.quiet and not console.as_json and sys.stdout.isatty()


def _screen() -> Screen:
    from rich.console import Console as Screen

    # Names are data: no markup, no emoji codes, no links are looked for in them.
    return Screen(file=sys.stdout, highlight=False, markup=False, emoji=False)


def summary_on_terminal(summary: Summary, screen: Screen) -> Iterator[RenderableType]:
    """What a summary looks like, part by part; its first line first, as the rest may take a moment."""
    from rich.table import Table as Grid

    yield _first_line(summary)
    facts = Grid.grid(padding=(0, 2, 0, 0))
    facts.add_column(overflow="fold")
    facts.add_column(justify="right", style=TITLE, no_wrap=True)
    facts.add_column(overflow="fold")
    for label, number, words in summary.shown:
        facts.add_row(_text(f"  {label}"), _text(number), _text(words))
    yield facts
    for title, rows, text in summary.tables:
        yield _text(f"\n  {title}", HEAD)
        yield table_on_terminal(rows, text)
    for title, lines in summary.lists:
        yield _text(f"\n  {title}", HEAD)
        yield from (_text(f"    {line}") for line in lines)
    for title, bins in summary.histograms.items():
        yield _text(f"\n  {summary.headline(title)}", HEAD)
        yield from _bars(bins, screen.width)


def _first_line(summary: Summary) -> Text:
    return _text(summary.path, TITLE) + _text(summary.first_line.removeprefix(printable_line(summary.path)))


def table_on_terminal(rows: Sequence[Sequence[str]], text: Collection[int]) -> RenderableType:
    """A table with a rule under its head; a cell too long for the terminal is broken into lines, never cut."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Grid

    table = Grid(box=SIMPLE_HEAD, header_style=TITLE, pad_edge=True, show_edge=False)
    head, *body = rows
    for place, name in enumerate(head):
        table.add_column(
            _text(name),
            justify="left" if place in text else "right",
            overflow="fold",
            no_wrap=place not in text,
        )
    for row in body:
        table.add_row(*map(_text, row))
    return table


def _bars(bins: Bins, columns: int) -> Iterator[Text]:
    tallest = max((count for _, count in bins), default=0) or 1
    labels = max((len(label) for label, _ in bins), default=0)
    numbers = max((len(f"{count:,}") for _, count in bins), default=0)
    room = max(8, min(BAR_COLUMNS, columns - labels - numbers - 9))
    for label, count in bins:
        eighths = max(1, round(8 * room * count / tallest)) if count else 0
        bar = BAR * (eighths // 8) + PARTS[eighths % 8].strip()
        yield _text(f"    {label.rjust(labels)}  {count:>{numbers},} ") + _text(bar, COLOUR)


def _text(words: str, style: str = "") -> Text:
    from rich.text import Text

    lead = "\n" if words.startswith("\n") else ""
    return Text(lead + printable_line(words.removeprefix("\n")), style)
