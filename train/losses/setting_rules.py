"""Which values a setting of a loss may have: a number in a range, a word, a flag; as data, without torch.

The words of `problem` follow `name=value` in an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol


class Rule(Protocol):
    """Which values a setting may have."""

    def problem(self, value: Any, others: Mapping[str, Any]) -> str | None:
        """Say what is wrong with `value`, None where nothing is.

        Args:
            others: all settings of the loss, this one included.
        """
        ...


@dataclass(frozen=True)
class Number:
    """A finite number from `low` to `high`."""

    low: float = -math.inf
    high: float = math.inf
    advice: str = ""
    above: bool = False
    """Whether `low` itself is refused."""
    below: bool = False
    """Whether `high` itself is refused."""
    whole: bool = False
    optional: bool = False
    """Whether None is allowed, too."""

    def problem(self, value: Any, others: Mapping[str, Any]) -> str | None:
        """Say what is wrong, or None."""
        if value is None and self.optional:
            return None
        kind = Integral if self.whole else Real
        if isinstance(value, kind) and not isinstance(value, bool) and self._holds(float(value)):
            return None
        return f" must be {self}{': ' if self.advice else ''}{self.advice}"

    def _holds(self, value: float) -> bool:
        low_is_met = value > self.low if self.above else value >= self.low
        high_is_met = value < self.high if self.below else value <= self.high
        return math.isfinite(value) and low_is_met and high_is_met

    def __str__(self) -> str:
        limits = [
            f"{'above' if self.above else 'of at least'} {self.low:.4g}" * math.isfinite(self.low),
            f"{'below' if self.below else 'at most'} {self.high:.4g}" * math.isfinite(self.high),
        ]
        words = f"a {'whole ' * self.whole}number {' and '.join(filter(None, limits))}".rstrip()
        return f"{words}, or null" if self.optional else words


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    def problem(self, value: Any, others: Mapping[str, Any]) -> str | None:
        """Say what is wrong, or None."""
        return None if value in self.words else f" must be one of {', '.join(self.words)}"


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def problem(self, value: Any, others: Mapping[str, Any]) -> str | None:
        """Say what is wrong, or None."""
        return None if isinstance(value, bool) else " must be true or false"


@dataclass(frozen=True)
class MarginOfKind:
    """A margin whose range follows from the setting `kind`; None is the usual one of that kind."""

    kinds: Mapping[str, Number | None]
    """The range for each kind; None where the kind has no margin."""

    def problem(self, value: Any, others: Mapping[str, Any]) -> str | None:
        """Say what is wrong, or None; a wrong kind is refused as such, not here."""
        kind = others["kind"]
        if value is None or kind not in self.kinds:
            return None
        rule = self.kinds[kind]
        if rule is None:
            having = ", ".join(each for each, its in self.kinds.items() if its)
            return f" with kind={kind!r}: leave it out, or choose {having}"
        return rule.problem(value, others)


@dataclass(frozen=True)
class Needs:
    """A flag that means something only where another setting has one value."""

    other: str
    value: Any

    def problem(self, value: Any, others: Mapping[str, Any]) -> str | None:
        """Say what is wrong, or None."""
        if not isinstance(value, bool):
            return Flag().problem(value, others)
        if value and others.get(self.other) != self.value:
            return f" is for {self.other}={str(self.value).lower()} alone"
        return None


@dataclass(frozen=True)
class Above:
    """A whole number above that of another setting, or null."""

    other: str

    def problem(self, value: Any, others: Mapping[str, Any]) -> str | None:
        """Say what is wrong, or None; a wrong value of the other is refused as such, not here."""
        wrong = Number(1, whole=True, optional=True).problem(value, others)
        low = others.get(self.other)
        if wrong or value is None or not isinstance(low, Integral):
            return wrong
        return None if value > int(low) else f" must be above {self.other}={low}, or no negative is left"
