"""What a run is at, how far that is, and when it ends: from the lock, the log of a training, and parts of an extraction."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...train.monitoring.metrics_file import Line, read_metrics
from ..stages.context import Context
from ..stages.graph import STAGES, StageRow
from ..stages.parts import MEANS_PARTS, parts_in_all
from ..status import StageStatus, made_at, parts_a_second, steps_a_second, steps_of

MOST_NOTE_AGE = 120.0
"""Seconds after which a note of progress says nothing more of how far the work is: a bar writes one every few seconds."""


@dataclass(frozen=True)
class HowFar:
    """How far work is, and how fast of late.

    >>> HowFar("train", 25, 100, "steps", rate=5.0).left
    15.0
    """

    what: str
    done: int
    total: int | None
    unit: str
    rate: float | None = None
    """A second."""
    age: float = 0.0
    """Seconds since it was so."""

    @property
    def left(self) -> float | None:
        """Seconds until it is done; None where that is not known."""
        if not self.rate or self.total is None:
            return None
        return max(0.0, (self.total - self.done) / self.rate - self.age)


@dataclass(frozen=True)
class AtWork:
    """The command at work in a run, and its stage."""

    command: str
    pid: int
    host: str
    since: float
    """Seconds of the epoch."""
    stage: str | None = None
    """round-000/train, once it has begun."""
    stage_since: float | None = None
    how_far: HowFar | None = None
    left: float | None = None
    """Seconds until the stage ends."""

    def to_json(self) -> dict[str, Any]:
        """For a program; `until` is a time of the epoch."""
        until = None if self.left is None else round(time.time() + self.left, 1)
        return {**asdict(self), "until": until}


def work_now(context: Context) -> AtWork | None:
    """The command that holds the run's lock; None where none does, or where it has said nothing yet."""
    note, alive = context.run.activity()
    if note is None or not alive:
        return None
    own = AtWork(note["command"], note["pid"], note["host"], note["since"], note.get("stage"))
    now = time.time()
    said, announced = _noted(note.get("progress"), now), note.get("announced")
    if own.stage is None:  # none yet, or `lr` and the like; a bar of another name is that of a part
        left = said.left if said and said.what == own.command else None
        return replace(own, how_far=said, left=left or None)
    folder, _, name = own.stage.partition("/")
    since = note.get("stage_since") or note["since"]
    row = next((row for row in STAGES if row.name == name), None)
    at = context.at_round(context.run.index_of(folder))
    # what is on disk may be of before: of a stage that was made again
    how_far = said or (_on_disk(at, row, since, now) if row else None)
    left = how_far.left if how_far else None
    if announced is not None and not (row and (row.trains or row.shards) and left is not None):
        left = max(left or 0.0, announced - (now - since))  # a bar may be that of a part of the stage
    return replace(own, stage_since=since, how_far=how_far, left=left or None)


def _noted(progress: dict[str, Any] | None, now: float) -> HowFar | None:
    if not progress or now - progress["when"] > MOST_NOTE_AGE:
        return None
    known = {key: progress.get(key) for key in ("what", "done", "total", "unit", "rate")}
    return HowFar(**known, age=max(0.0, now - progress["when"]))  # pyright: ignore[reportArgumentType]


def _on_disk(at: Context, row: StageRow, since: float, now: float) -> HowFar | None:
    """How far a training or an extraction is by what it has written since then, of whichever process."""
    if row.shards:
        return of_parts(at.folder.identity_parts.glob(MEANS_PARTS), now)
    if row.trains and at.folder.metrics.exists():
        written = at.folder.metrics.stat().st_mtime
        lines = read_metrics(at.folder.metrics) if written >= since else []
        return of_training(lines, at, row, now - written) if lines else None
    return None


def of_training(lines: Sequence[Line], at: Context, row: StageRow, age: float = 0.0) -> HowFar:
    """How far a training is by the lines of its log, the last so many seconds old."""
    step, total = int((lines[-1]["step"] or 0) + 1), steps_of(at, row)
    return HowFar(row.name, step, total, "steps", steps_a_second(lines), age)


def of_parts(parts: Iterable[Path], now: float) -> HowFar | None:
    """How far an extraction is by its parts, and at which pace of late; None before the first is there."""
    made = made_at(parts)
    if not made:
        return None
    newest, written = list(made.items())[-1]
    age = max(0.0, now - written)
    return HowFar("extract", len(made), int(parts_in_all(newest)), "parts", parts_a_second(made), age)


def with_expected(statuses: Sequence[StageStatus]) -> list[StageStatus]:
    """The statuses of what is left say how long it may take: as long as the same stage took when it was done last."""
    took: dict[str, float] = {}
    for one in statuses:
        if one.state == "done" and one.seconds is not None:
            took[one.stage] = one.seconds
    return [one if one.state == "done" else replace(one, expected=took.get(one.stage)) for one in statuses]


def seconds_left(statuses: Sequence[StageStatus], now: AtWork | None) -> float | None:
    """Seconds until the run ends, where a round before says how long each stage takes; None where one is not known."""
    total = 0.0
    for one in statuses:
        if one.state == "done":
            continue
        is_now = now is not None and now.stage == f"{one.folder}/{one.stage}"
        left = now.left if is_now and now is not None and now.left is not None else one.expected
        if left is None:
            return None
        total += left
    return total
