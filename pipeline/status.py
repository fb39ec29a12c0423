"""`subspace status`: what is done, begun, stale or still to do, who is at work, and where the time went."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from ..mining.errors import InputError, StaleArtifactError
from ..train.monitoring.metrics_file import read_metrics
from .best import kept_best
from .config import RunConfig
from .console import table
from .run_directory import RunDirectory
from .stage_folder import StageFolder
from .stages.context import Context
from .stages.graph import STAGES, StageRow, rows_of, steps_taken


@dataclass(frozen=True)
class StageStatus:
    """One line of the status."""

    folder: str
    stage: str
    state: str
    """done, stale, begun (at work, stopped or killed), or to do; of what was submitted also queued, running, failed."""
    seconds: float | None
    note: str
    phases: dict[str, float] | None = None
    """Of a training, done or begun: seconds of data, forward, mine (or loss), backward and so on, and of the rest."""
    jobs: tuple[str, ...] = ()
    """Numbers that a scheduler gave what is queued, running or failed of it."""


def stage_statuses(context: Context) -> list[StageStatus]:
    """The state of every stage of every round, in the order in which `subspace run` does them."""
    run = context.run
    examined = [stage for stage in rows_of("network") if stage.applies(context)]
    found = []
    for index in range(-1, max(_rounds_to_do(context), len(run.rounds))):
        at = context.at_round(index)
        here = (stage for stage in STAGES if stage.works_in(index))
        found += [_status(at, stage) for stage in here if stage.place != "network" or stage in examined]
    return found


def _rounds_to_do(context: Context) -> int:
    """Those until the run stopped early, or until all steps are done, which stale subspaces make more of."""
    run, config = context.run, context.config
    best = kept_best(run)
    values = [validation["value"] for validation in best["validations"].values()] if best else []
    if values and config.early_stop.stops_after(values):
        return len(values) - 1
    index = 0
    while (left := config.total_steps - steps_taken(run, index)) > 0:
        if not run.round(index).finished("train"):
            return index + math.ceil(left / config.plan.steps)
        index += 1
    return index


def _status(context: Context, stage: StageRow) -> StageStatus:
    folder = context.folder
    try:
        done = stage.stage(context).is_done()
    except StaleArtifactError as error:
        return StageStatus(folder.name, stage.name, "stale", None, str(error))
    except InputError:  # a stage before it is not done
        done = False
    phases = _phases(folder) if stage.phases else None
    if done:
        values = folder.record(stage.name)
        note = _summary(values["summary"])
        return StageStatus(folder.name, stage.name, "done", values["seconds"], note, phases)
    note = _partial(context, stage)
    return StageStatus(folder.name, stage.name, "begun" if note else "to do", None, note, phases)


def _phases(folder: StageFolder) -> dict[str, float] | None:
    """Where a training's time went, from its log; None where nothing is known of it."""
    lines = read_metrics(folder.metrics)
    mines = any(line.get("active_fraction") is not None for line in lines)
    seconds: dict[str, float] = {}
    for line in lines:
        for key, value in line.items():
            if key.startswith("seconds_") and value is not None:
                name = key.removeprefix("seconds_")
                name = "mine" if mines and name == "loss" else name
                seconds[name] = seconds.get(name, 0.0) + value
    if not seconds:
        return None
    whole = lines[-1]["seconds"] or 0.0
    return {**seconds, "other": max(0.0, whole - sum(seconds.values()))}


def _partial(context: Context, stage: StageRow) -> str:
    """What an unfinished stage has got, in words; empty where it has not begun."""
    folder = context.folder
    if stage.shards:
        parts = sorted(folder.identity_parts.glob("means-*.parquet"), key=lambda path: path.stat().st_mtime)
        return f"{len(parts)} of {_parts_left(parts)}" if parts else ""
    if stage.trains:
        lines = read_metrics(folder.metrics)
        saved = sorted(folder.resume.glob("step-*"))
        if not lines and not saved:
            return ""
        at = _steps_left(lines[-1], stage.name, context.config) if lines else ""
        return " ".join([at, f"(saved: {int(saved[-1].name[5:])})" if saved else "(not saved yet)"]).strip()
    return ""


def _parts_left(parts: list[Path]) -> str:
    """How many parts of an extraction there are, and the time that the rest takes at the pace of these, by age."""
    total = int(parts[0].stem[-5:])
    seconds = parts[-1].stat().st_mtime - parts[0].stat().st_mtime
    if len(parts) in (1, total) or not seconds:
        return f"{total} parts"
    pace = (len(parts) - 1) / seconds
    return (
        f"{total} parts, {60 * pace:.1f} a minute, {tqdm.format_interval((total - len(parts)) / pace)} left"
    )


def _steps_left(line: dict[str, float | None], stage_name: str, config: RunConfig) -> str:
    """The step that a training has come to, and the time that the rest takes at the pace of its last line."""
    section = config.pretrain if stage_name == "pretrain" else config.plan
    step, rate = int((line["step"] or 0) + 1), line.get("images_per_second")
    at = f"at step {step:,} of {section.steps:,}"
    if not rate or step >= section.steps:
        return at
    left = (section.steps - step) * section.P * section.K / rate
    return f"{at}, {rate:,.0f} images/s, {tqdm.format_interval(left)} left"


def _summary(summary: dict[str, float | int | None]) -> str:
    shown = [f"{key} {value:.4g}" for key, value in summary.items() if isinstance(value, (int, float))]
    return ", ".join(shown)


def describe(run: RunDirectory, statuses: list[StageStatus]) -> str:
    """The status as text."""
    note, alive = run.activity()
    rows = [["stage", "state", "seconds", "what"]]
    for status in statuses:
        seconds = f"{status.seconds:,.1f}" if status.seconds is not None else ""
        rows.append([f"{status.folder}/{status.stage}", status.state, seconds, status.note])
    widest = max(len(row[3]) for row in rows)
    rows = [[*row[:3], row[3].ljust(widest)] for row in rows]
    spent: dict[str, float] = {}
    for status in statuses:
        spent[status.stage] = spent.get(status.stage, 0.0) + (status.seconds or 0.0)
    total = sum(spent.values())
    lines = [table(rows), ""]
    if total:
        shares = sorted(spent.items(), key=lambda item: -item[1])
        lines.append(f"time: {_shares({name: seconds for name, seconds in shares if seconds})}")
    best = kept_best(run)
    if best:
        lines.append(f"best: {best['network']}, {best['metric']} {100 * best['value']:.1f} on validation")
    for status in statuses:
        if status.phases:
            lines.append(f"time of {status.folder}/{status.stage}: {_shares(status.phases)}")
    if note:
        ago = time.time() - note["since"]
        what = "running" if alive else "was stopped or killed; run it again to continue"
        lines.append(
            f"`subspace {note['command']}` (pid {note['pid']} on {note['host']}, begun {ago:,.0f} s ago): {what}"
        )
    else:
        lines.append("no command is at work here")
    return "\n".join(lines)


def _shares(seconds: dict[str, float]) -> str:
    total = sum(seconds.values()) or 1.0
    return ", ".join(f"{name} {value / total:.0%}" for name, value in seconds.items())


def as_json(statuses: list[StageStatus]) -> list[dict[str, object]]:
    """The status for a program."""
    return [asdict(status) for status in statuses]
