"""`subspace status`: what is done, begun, stale or still to do of a run, stage by stage. `following/` says it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..mining.errors import InputError, StaleArtifactError, SubspaceError
from ..mining.local_paths import in_shell
from ..train.checkpoint_meta import read_meta
from ..train.monitoring.metrics_file import Line, read_metrics
from ..train.monitoring.phase_seconds import sum_phases
from .console import duration
from .due import over_before
from .exporting.request import CARD
from .round_chain import current_rounds
from .run_directory import RunDirectory
from .stage_folder import EXPORT, StageFolder
from .stage_words import summary_in_words
from .stages.context import Context
from .stages.graph import STAGES, StageRow, rows_of, steps_taken
from .stages.parts import MEANS_PARTS, begun_by, parts_in_all, seconds_of

_OF_CARD = re.compile(r"^\| fingerprint \| (\w+) \|", re.MULTILINE)
"""The row of a model card that says which checkpoint it is of."""
MOST_OF_CARD = 1 << 16
PACE_LINES = 5
"""Lines of a log that its pace goes by."""
PACE_PARTS = 5
"""Parts of an extraction, one after another, that its pace goes by: with shards at work side by side so many of each."""
UNCHECKED = "ended, but what it was made from is not all there"


@dataclass(frozen=True)
class StageStatus:
    """One line of the status."""

    folder: str
    stage: str
    state: str
    """done, stale, unchecked (done, but an input is missing), running, begun (stopped or killed), or to do; of what was
    submitted also queued or failed."""
    seconds: float | None
    note: str
    phases: dict[str, float] | None = None
    """Where the time of a training went, done or begun: seconds of data, forward, mine (or loss), backward and so on, and of the rest."""
    jobs: tuple[str, ...] = ()
    """Numbers that a scheduler gave what is queued, running or failed of it."""
    summary: dict[str, Any] | None = None
    """What the marker of a finished stage says."""
    advice: str = ""
    """What can be done about a stale one, in a line."""
    expected: float | None = None
    """Seconds that what is left of it may take."""


def stage_statuses(context: Context) -> list[StageStatus]:
    """The state of every stage of every round, in the order in which `subspace run` does them."""
    run = context.run
    examined = [stage for stage in rows_of("network") if _applies(context, stage)]
    found = []
    for index in range(-1, max(_rounds_to_do(context), _rounds_there(run))):
        at = context.at_round(index)
        here = (stage for stage in STAGES if stage.works_in(index))
        found += [_status(at, stage) for stage in here if stage.place != "network" or stage in examined]
    note, alive = run.activity()
    at_work = note.get("stage") if note and alive else None
    return [
        replace(one, state="running")
        if f"{one.folder}/{one.stage}" == at_work and one.state != "done"
        else one
        for one in found
    ]


def _applies(context: Context, stage: StageRow) -> bool:
    """Whether the run has a stage; one that was done is proof, where the whole manifest would have to be read to know."""
    return context.run.start.finished(stage.name) or (not context.lost and stage.applies(context))


def _rounds_to_do(context: Context) -> int:
    """The rounds until the run stopped early, or until all steps are done, which stale subspaces make more of."""
    run, config, index = context.run, context.config, 0
    while not _is_over_before(context.at_round(index)):
        if not run.round(index).finished("train"):
            return index + math.ceil((config.total_steps - steps_taken(run, index)) / config.plan.steps)
        index += 1
    return index


def _is_over_before(context: Context) -> bool:
    try:
        return over_before(context) is not None
    except SubspaceError:  # a validation is damaged, or has no such metric: how the run goes on is not known
        return steps_taken(context.run, context.round_index) >= context.config.total_steps


def _rounds_there(run: RunDirectory) -> int:
    """The rounds that have begun, without those of an earlier, longer run."""
    try:
        return max(current_rounds(run), default=-1) + 1
    except StaleArtifactError:  # a marker is damaged, which is said at its stage
        return max(run.rounds) + 1


def _status(context: Context, stage: StageRow) -> StageStatus:
    folder = context.folder
    try:
        done = _is_done(context, stage)
    except StaleArtifactError as error:
        return StageStatus(folder.name, stage.name, "stale", None, error.change, advice=str(error))
    phases = _phases(folder) if stage.phases else None
    if done is not False:
        try:
            values = folder.record(stage.name)
        except StaleArtifactError as error:
            return StageStatus(
                folder.name, stage.name, "stale", None, "its marker is damaged", advice=str(error)
            )
        summary, state = values["summary"], "done" if done else "unchecked"
        words = summary_in_words(stage.name, summary) if done else UNCHECKED
        return StageStatus(folder.name, stage.name, state, values["seconds"], words, phases, summary=summary)
    note = _partial(context, stage)
    return StageStatus(folder.name, stage.name, "begun" if note else "to do", None, note, phases)


def _is_done(context: Context, stage: StageRow) -> bool | None:
    """Whether a stage is done; None: it has ended, with these settings as far as is known without all of its inputs.

    Raises:
        StaleArtifactError: it is done, or begun in parts, with others, or what it is made from will be another.
    """
    with suppress(InputError):  # a stage before it is not done, or what it made is gone
        made = stage.stage(context)
        done = made.is_done()
        if stage.shards and not done:
            begun_by(made).refuse_others()
        return done
    if not context.folder.finished(stage.name):
        return False
    # Stale subspaces end rounds early, so that plans after them are not known before.
    if context.config.recluster.stale_below is None:
        with suppress(InputError):
            stage.stage(context, foreseen=True).is_done()
    return None


def _phases(folder: StageFolder) -> dict[str, float] | None:
    """Where a training's time went, from its log; None where nothing is known of it."""
    return sum_phases(read_metrics(folder.metrics))


def _partial(context: Context, stage: StageRow) -> str:
    """What an unfinished stage has got, in words; empty where it has not begun."""
    folder = context.folder
    if stage.shards:
        made = made_at(folder.identity_parts.glob(MEANS_PARTS))
        return f"{len(made)} of {_parts_left(made)}" if made else ""
    if stage.trains:
        lines = read_metrics(folder.metrics)
        saved = sorted(folder.resume.glob("step-*"))
        if not lines and not saved:
            return ""
        at = _steps_left(lines, context, stage) if lines else ""
        return " ".join([at, f"(saved: {int(saved[-1].name[5:])})" if saved else "(not saved yet)"]).strip()
    return ""


def _parts_left(made: Mapping[Path, float]) -> str:
    """How many parts of an extraction there are, and the time that the rest takes at the pace of these."""
    total, pace = int(parts_in_all(next(iter(made)))), parts_a_second(made)
    if len(made) == total or not pace:
        return f"{total} parts"
    return f"{total} parts, {60 * pace:.1f} a minute, {duration((total - len(made)) / pace)} left"


def made_at(parts: Iterable[Path]) -> dict[Path, float]:
    """When parts of an extraction were made, oldest first; those cut otherwise than the newest count as nothing."""
    times: dict[Path, float] = {}
    for path in parts:
        with suppress(FileNotFoundError):  # all are merged at this moment
            times[path] = path.stat().st_mtime
    oldest_first = sorted(times, key=times.__getitem__)
    return {
        path: times[path] for path in oldest_first if parts_in_all(path) == parts_in_all(oldest_first[-1])
    }


def parts_a_second(made: Mapping[Path, float]) -> float | None:
    """The pace of an extraction by its last parts, and the times at which they were made; None where nothing says it.

    Between two of them is no more time than one takes, unless nobody was at work: a pause counts for no longer.
    """
    gaps = np.diff(list(made.values()))[::-1]
    if not len(gaps):
        return None
    longest = max(map(_seconds_noted, list(made)[-PACE_PARTS:])) or float(np.median(gaps[:PACE_PARTS]))
    worked = np.cumsum(np.minimum(gaps, longest))
    count = min(len(gaps), int(np.searchsorted(worked, PACE_PARTS * longest)) + 1)
    return count / float(worked[count - 1]) if worked[count - 1] else None


def _seconds_noted(part: Path) -> float:
    with suppress(InputError):  # it is damaged, or gone at this moment
        return seconds_of(part)
    return 0.0


def _steps_left(lines: Sequence[Line], context: Context, stage: StageRow) -> str:
    """The step that a training has come to, and the time that the rest takes at the pace of its last lines."""
    step, total = int((lines[-1]["step"] or 0) + 1), steps_of(context, stage)
    images, rate = lines[-1].get("images_per_second"), steps_a_second(lines)
    at = f"at step {step:,} of {total:,}"
    if not images or not rate or step >= total:
        return at
    return f"{at}, {images:,.0f} images/s, {duration((total - step) / rate)} left"


def steps_of(context: Context, stage: StageRow) -> int:
    """How many steps a training has; in the last round those that are left, where rounds before it ended early."""
    config = context.config
    if stage.name == "pretrain":
        return config.pretrain.steps
    left = config.total_steps - steps_taken(context.run, context.round_index)
    return min(config.plan.steps, left) if left > 0 else config.plan.steps


def steps_a_second(lines: Sequence[Line]) -> float | None:
    """The pace of a training by the last lines of its log; None where they do not have the time.

    Images would not tell: a batch takes each once, so that it may have fewer than P * K.

    >>> steps_a_second([{"step": 9, "seconds": 30.0}, {"step": 19, "seconds": 32.0}, {"step": 29, "seconds": 34.0}])
    5.0
    """
    marks = [((line["step"] or 0) + 1, line.get("seconds") or 0.0) for line in lines[-PACE_LINES:]]
    (before, then), (step, now) = marks[0] if len(marks) > 1 else (0, 0.0), marks[-1]
    return (step - before) / (now - then) if now > then else None


def stale_exports(run: RunDirectory) -> list[str]:
    """A line for each exported network in the run that is not of the checkpoint beside it any more."""
    lines = []
    for index in (-1, *run.rounds):
        folder = run.round(index)
        card = folder.file(EXPORT) / CARD
        if not card.is_file() or not folder.checkpoint.is_dir():
            continue
        with open(card, encoding="utf-8", errors="replace") as file:
            found = _OF_CARD.search(file.read(MOST_OF_CARD))
        if found and found[1] != read_meta(folder.checkpoint).fingerprint:
            lines.append(
                f"{folder.name}/{EXPORT} is stale, as its round was trained again: "
                f"`subspace export {in_shell(folder.checkpoint)} --force`"
            )
    return lines


def as_json(statuses: list[StageStatus], now: dict[str, Any] | None = None) -> list[dict[str, object]]:
    """The status for a program; `now` stands at the stage that it names."""
    named = now["stage"] if now else None
    return [
        {**asdict(one), "at_work": now if f"{one.folder}/{one.stage}" == named and now else None}
        for one in statuses
    ]
