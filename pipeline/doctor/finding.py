"""What every check says: a name, a value, and advice where something is wrong or slow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

WIDTH = 14
"""Columns that a name takes."""


class Finding(NamedTuple):
    """One line of `subspace doctor`, or two.

    >>> print("\\n".join(Finding("disk", "1 GB free", "free some").lines()))
    disk           1 GB free
                   -> free some
    """

    name: str
    value: str
    advice: str | None = None
    facts: Mapping[str, Any] = {}
    """The same for programs."""
    broken: bool = False
    """Whether commands cannot work like this."""

    def lines(self) -> list[str]:
        """Name and value, and the advice below."""
        below = [f"{'':{WIDTH}} -> {self.advice}"] if self.advice else []
        return [f"{self.name:{WIDTH}} {self.value}", *below]


def as_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings as objects."""
    return [
        {
            "name": found.name,
            "value": found.value,
            "advice": found.advice,
            "broken": found.broken,
            **found.facts,
        }
        for found in findings
    ]
