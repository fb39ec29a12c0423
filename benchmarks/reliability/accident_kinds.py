"""What became of a kind of accident: one attempt, all attempts of a kind, and the second command that puts it right."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from disturbed_commands import Ended
from tiny_run import TinyRun


@dataclass(frozen=True)
class Attempt:
    """One accident and what came of it."""

    happened: str
    """How the command ended that met it; few words, the same for equal ends."""
    wrong: str = ""
    """What a user would complain about; empty: the results are those of the undisturbed run."""


Trial = Callable[[Path], Attempt]
"""Works in a folder of its own, which is not there yet."""


@dataclass(frozen=True)
class Accidents:
    """One kind of accident, to be tried some times."""

    what: str
    """As the table calls it."""
    trials: Sequence[Trial]
    alone: bool = False
    """Whether no two may go side by side."""
    skipped: str = ""
    """Why this machine cannot try it."""


@dataclass(frozen=True)
class Outcome:
    """What all attempts of a kind came to."""

    attempts: Sequence[Attempt]

    @property
    def equal(self) -> int:
        """Attempts after which nothing was wrong."""
        return sum(not attempt.wrong for attempt in self.attempts)

    @property
    def happened(self) -> str:
        """How often the commands ended how, the most frequent first."""
        ends = Counter(attempt.happened for attempt in self.attempts)
        return ", ".join(f"{count} × {words}" for words, count in ends.most_common())


def try_all(accidents: Accidents, folder: Path, processes: int, say: Callable[[str], None]) -> Outcome:
    """Try every one, `processes` at a time; what is wrong is said at once, what was right leaves no folder."""

    def attempt(numbered: tuple[int, Trial]) -> Attempt:
        number, trial = numbered
        own = folder / f"{number:04d}"
        try:
            result = trial(own)
        except Exception as error:
            result = Attempt("the campaign failed", f"{type(error).__name__}: {error}")
        if result.wrong:
            say(f"{accidents.what}, {own}: {result.happened}; {result.wrong}")
        else:
            shutil.rmtree(own, ignore_errors=True)
        return result

    with ThreadPoolExecutor(1 if accidents.alone else processes) as pool:
        return Outcome(list(pool.map(attempt, enumerate(accidents.trials))))


def put_right(
    tiny: TinyRun, run: Path, first: Ended, settings: Sequence[str] = (), happened: str | None = None
) -> Attempt:
    """Run the same command again, to its end, and compare with the undisturbed run."""
    complaints = [] if first.is_clean else [first.errors.strip() or first.words]
    again = tiny.command(run)
    if again.code != 0:
        complaints.append(f"the same command again: {again.words}: {again.errors.strip()}")
    elif different := tiny.unlike(run, *settings):
        complaints.append(different)
    elif left := sorted(path.name for path in run.rglob("*") if path.suffix in (".tmp", ".old")):
        complaints.append(f"left behind: {', '.join(left)}")
    return Attempt(happened or first.words, "; ".join(complaints))


def evenly(last: int, number: int) -> list[int]:
    """At most so many numbers from 1 to `last`, evenly apart.

    >>> evenly(10, 5)
    [2, 4, 6, 8, 10]
    >>> evenly(3, 5)
    [1, 2, 3]
    """
    return sorted({round(last * (index + 1) / number) for index in range(number)} - {0})
