"""What is worth knowing of one path: facts by stable keys for programs, aligned lines for people."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..console import aligned, amount
from ..terminal_text import printable_line
from .histograms import Bins, bars, cosine_histogram, histogram

QUANTILES = (0.05, 0.5, 0.95)


class Line(NamedTuple):
    """One line for people."""

    label: str
    number: str
    """Aligned to the right with those of the other lines; empty where there is none."""
    words: str
    """A unit, or what there is to say without a number."""


class Table(NamedTuple):
    """Rows for people; the first is the head."""

    title: str
    rows: list[list[str]]
    text: Collection[int]
    """Columns of words."""


@dataclass
class Summary:
    """What is worth knowing of one path."""

    path: str
    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    """For programs. Keys are stable."""
    histograms: dict[str, Bins] = field(default_factory=dict)
    """What is counted, and how often, by title."""
    counted: dict[str, str] = field(default_factory=dict)
    """What the bars of a histogram are numbers of, by its title."""
    title: str = ""
    """The kind in words."""
    shown: list[Line] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    lists: list[tuple[str, list[str]]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Path, kind, facts and histograms, for a program."""
        return {"path": self.path, "kind": self.kind, "facts": self.facts, "histograms": self.histograms}

    def add(self, key: str, value: Any, label: str | None = None, unit: str = "") -> None:
        """Keep a fact and show it; unknown and empty ones are not shown.

        Args:
            label: what people call it, where that is not the key.
        """
        self.facts[key] = value
        label = label or key
        if isinstance(value, bool):
            self.show(label, words="yes" if value else "no")
        elif isinstance(value, int):
            self.show(label, f"{value:,}", unit)
        elif isinstance(value, float):
            self.show(label, f"{value:.3f}", unit)
        elif value:
            self.show(label, words=str(value))

    def add_spread(self, key: str, values: np.ndarray, label: str) -> None:
        """Keep the 5 %, 50 % and 95 % quantiles, and show them."""
        found = [round(float(value), 4) for value in np.quantile(values, QUANTILES)] if len(values) else []
        self.facts[key] = found
        if found:
            low, median, high = found
            self.show(label, f"{median:.3f}", f"median; 90 % between {low:.3f} and {high:.3f}")

    def add_histogram(self, title: str, values: np.ndarray, counted: str) -> None:
        """Keep and show how whole numbers are spread: median, smallest and largest, and bars.

        Args:
            title: a thing by another, such as identities per subspace.
            counted: what `values` has one of each: subspaces.
        """
        self.histograms[title], self.counted[title] = histogram(values), counted
        if len(values):
            low, median, high = int(values.min()), float(np.median(values)), int(values.max())
            self.facts[f"{title} (smallest, median, largest)"] = [low, median, high]
            middle = f"{median:,.0f}" if median.is_integer() else f"{median:,.1f}"
            self.show(title, middle, f"median; smallest {low:,}, largest {high:,}")

    def add_cosines(self, title: str, values: np.ndarray, counted: str) -> None:
        """Keep and draw how cosines are spread, or distances between 0 and 2."""
        if len(values):
            self.histograms[title], self.counted[title] = cosine_histogram(values), counted

    def add_bytes(self, size: int) -> None:
        """Keep and show the size on disk."""
        self.facts["bytes"] = size
        self.show("size", *amount(size).split())

    def show(self, label: str, number: str = "", words: str = "") -> None:
        """Show a line that is no fact of its own."""
        self.shown.append(Line(label, number, words))

    def show_table(
        self, title: str, rows: list[list[str]], text: Collection[int] = (0,), at_most: int | None = None
    ) -> None:
        """Show rows under their head, without columns that are empty.

        Args:
            text: columns of words.
            at_most: only so many rows, and a word on the others.
        """
        if at_most is not None and len(rows) - 1 > at_most:
            title += f" (the first {at_most} of {len(rows) - 1:,}; --json has all)"
            rows = rows[: at_most + 1]
        used = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
        if used:
            words = [place for place, column in enumerate(used) if column in text]
            self.tables.append(Table(title, [[row[column] for column in used] for row in rows], words))

    def show_list(self, title: str, lines: list[str]) -> None:
        """Show lines under a title, as they are."""
        if lines:
            self.lists.append((title, lines))

    def headline(self, title: str) -> str:
        """A title of a histogram with what its bars count."""
        return f"{title} (bars: {self.counted[title]})" if title in self.counted else title

    @property
    def first_line(self) -> str:
        """The path, and what it is."""
        return printable_line(f"{self.path}: {self.title or self.kind}")

    def lines(self) -> list[str]:
        """Everything, for a person."""
        lines = [self.first_line]
        labels = max((len(line.label) for line in self.shown), default=0)
        numbers = max((len(line.number) for line in self.shown), default=0)
        for label, number, words in self.shown:
            value = f"{number.rjust(numbers)} {words}" if number else words
            lines.append(f"  {label.ljust(labels)}  {value}".rstrip())
        for title, rows, text in self.tables:
            lines += ["", f"  {title}", *(f"  {row}" for row in aligned(rows, text).splitlines())]
        for title, texts in self.lists:
            lines += ["", f"  {title}", *(f"    {text}" for text in texts)]
        for title, bins in self.histograms.items():
            lines += ["", f"  {self.headline(title)}", *(f"    {bar}" for bar in bars(bins))]
        return [printable_line(line) for line in lines]
