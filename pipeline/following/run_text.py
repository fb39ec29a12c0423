"""A run's status as text: what runs now, how far and until when; then all stages, and where the time went. 100 columns."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Sequence

from ..best import kept_best, since_it_was_best
from ..console import aligned, counted, duration, percent
from ..learning_rate.verdict import newest_in_words
from ..round_chain import left_over_in_words
from ..run_directory import RunDirectory
from ..stage_words import PHASE_WORDS, metric_in_words
from ..status import StageStatus, stale_exports
from ..terminal_text import printable_line
from .at_work import AtWork, HowFar, seconds_left

COLUMNS = 100
"""As wide as it becomes; narrower on a narrower terminal."""
NARROWEST = 60


def status_text(
    run: RunDirectory, statuses: list[StageStatus], now: AtWork | None, columns: int | None = None
) -> str:
    """The status for a person, no line of which is wider than `columns`, or than the terminal."""
    width = columns or columns_here()
    rows = [["stage", "state", "time", "what"]]
    for status in statuses:
        took = duration(status.seconds) if status.seconds is not None else ""
        if took == "" and status.expected is not None:
            took = f"~ {duration(status.expected)}"
        rows.append([f"{status.folder}/{status.stage}", status.state, took, status.note])
    lines = [*_now(run, statuses, now), "", *aligned(rows, text=(0, 1, 3), width=width).split("\n"), ""]
    if advice := next((status.advice for status in statuses if status.advice), ""):
        lines += [advice, ""]
    trainings = {f"{status.folder}/{status.stage}": status.phases for status in statuses if status.phases}
    if trainings:
        lines += [*_phase_table(trainings, width).split("\n"), ""]
    spent: dict[str, float] = {}
    for status in statuses:
        spent[status.stage] = spent.get(status.stage, 0.0) + (status.seconds or 0.0)
    if total := sum(spent.values()):
        largest_first = sorted(spent.items(), key=lambda item: -item[1])
        shares = ", ".join(f"{name} {percent(seconds / total)}" for name, seconds in largest_first if seconds)
        lines.append(f"time: {duration(total)} in all; {shares}")
    if best := kept_best(run):
        lines.append(
            f"best: {best['network']}, {metric_in_words(best['metric'], best['value'])} on validation{since_it_was_best(run, best)}"
        )
    listed = {status.folder for status in statuses}
    if older := [name for name in (run.round(index).name for index in run.rounds) if name not in listed]:
        lines.append(left_over_in_words(older))
    if tried := newest_in_words(run.rate_trials):
        lines.append(f"learning rate: {tried} ({run.rate_trials})")
    return "\n".join(fitted([*lines, *stale_exports(run)], width))


def columns_here() -> int:
    """Columns that text may take: 100, or those of a narrower terminal."""
    if not sys.stdout.isatty():
        return COLUMNS
    return max(NARROWEST, min(COLUMNS, shutil.get_terminal_size().columns))


def fitted(lines: Sequence[str], width: int) -> list[str]:
    """Lines of at most so many columns: longer ones go on in the next, two spaces in; names are made harmless.

    >>> fitted(["time: 44 s in all; train 90 %"], 20)
    ['time: 44 s in all;', '  train 90 %']
    """
    found: list[str] = []
    for line in map(printable_line, lines):
        if len(line) <= width:
            found.append(line)
            continue
        found += textwrap.wrap(line, width, subsequent_indent="  ", break_on_hyphens=False)
    return found


def now_in_words(statuses: Sequence[StageStatus], now: AtWork) -> str:
    """The stage at work, how far it is and until when, in a line.

    >>> now_in_words([], AtWork("train", 7, "here", 0.0, "round-000/train", 0.0, HowFar("train", 5, 10, "steps")))
    'round-000/train: 5 of 10 steps (50 %)'
    """
    if now.how_far is None and now.stage is None:
        ago = duration(time.time() - now.since)
        return (
            f"beginning for {ago}: libraries are loaded, and it is measured how long the first work will take"
        )
    done = any(one.state == "done" and f"{one.folder}/{one.stage}" == now.stage for one in statuses)
    if now.how_far is None and done:
        return f"{now.stage} is done: it is measured how long the next stage will take"
    parts = [how_far_in_words(now.how_far, now.stage or now.command)] if now.how_far else []
    if now.left is not None:
        parts.append(f"until {clock_time(now.left)} ({duration(now.left)} left)")
    elif now.stage_since is not None and not parts:
        parts.append(f"for {duration(time.time() - now.stage_since)}")
    notes = [one.note for one in statuses if one.jobs and f"{one.folder}/{one.stage}" == now.stage]
    return f"{now.stage or now.command}{': ' if parts else ''}{', '.join([*parts, *notes])}"


def how_far_in_words(how_far: HowFar, stage: str) -> str:
    """Steps or images done of all, and how many a second of late; of what, where that is a part of the stage or command."""
    of_stage = stage.rpartition("/")[2] == how_far.what
    words = "" if of_stage else f"{how_far.what} "
    words += f"{how_far.done:,}"
    if how_far.total:
        words += f" of {how_far.total:,} {how_far.unit} ({percent(how_far.done / how_far.total)})"
    else:
        words += f" {how_far.unit}"
    if how_far.rate:
        slow = how_far.rate < 0.1
        words += f", {60 * how_far.rate if slow else how_far.rate:,.1f} a {'minute' if slow else 'second'}"
    return words


def clock_time(left: float) -> str:
    """The time of the clock in so many seconds, with the day where it is another one."""
    then, today = time.localtime(time.time() + left), time.localtime()
    return time.strftime("%H:%M:%S" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)


def _now(run: RunDirectory, statuses: list[StageStatus], now: AtWork | None) -> list[str]:
    """The first lines: what runs, who does it, and when all of it is done."""
    if now is None:
        jobs = [one for one in statuses if one.state in ("running", "queued", "failed") and one.jobs]
        lines = [f"{one.state}  {one.folder}/{one.stage}: {one.note}" for one in jobs]
        return lines + [_idle(run)]
    ago = duration(time.time() - now.since)
    lines = [f"now  {now_in_words(statuses, now)}"]
    lines.append(f"by   `subspace {now.command}` (process {now.pid} on {now.host}, begun {ago} ago): running")
    open_ones = [one for one in statuses if one.state != "done"]
    if now.command in ("run", "demo") and len(open_ones) > 1:
        left = seconds_left(statuses, now)
        words = counted(len(open_ones), "stage is", "stages are")
        until = "" if left is None else f", about {duration(left)}, until {clock_time(left)}"
        lines.append(f"all  {words} left{until}")
    return lines


def _idle(run: RunDirectory) -> str:
    note, alive = run.activity()
    if note is None:
        return "a command is at work here" if alive else "no command is at work here"
    ago = duration(time.time() - note["since"])
    at = f" at {note['stage']}" if note.get("stage") else ""
    return (
        f"no command is at work here: `subspace {note['command']}` (process {note['pid']} on {note['host']}, begun {ago} "
        f"ago) was stopped or killed{at}; run it again to continue"
    )


def _phase_table(trainings: dict[str, dict[str, float]], width: int) -> str:
    """Shares of each training's time, a column a phase; where that is too wide, in words, the largest first."""
    names = list(
        dict.fromkeys(PHASE_WORDS.get(name, name) for phases in trainings.values() for name in phases)
    )
    names.sort(key=lambda name: name == PHASE_WORDS["other"])  # the rest comes last
    rows, in_words = [["time of", *names]], [["time of", "is"]]
    for training, phases in trainings.items():
        total = sum(phases.values()) or 1.0
        share = dict.fromkeys(names, 0.0)
        for name, seconds in phases.items():
            share[PHASE_WORDS.get(name, name)] += seconds / total
        rows.append([training, *(percent(share[name]) for name in names)])
        largest = sorted(share.items(), key=lambda item: -item[1])
        in_words.append([training, ", ".join(f"{name} {percent(part)}" for name, part in largest if part)])
    table = aligned(rows)
    if max(map(len, table.split("\n"))) <= width:
        return table
    return aligned(in_words, text=(0, 1), width=width)
