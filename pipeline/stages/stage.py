"""A stage of a run: done when its marker, written last, carries the fingerprint of all that it depends on."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import Any

from ...mining.artifacts import CODE_VERSION, fingerprint_of, read_json, remove, write_json
from ...mining.errors import InputError, StaleArtifactError, StoppedEarly
from ..console import Console
from ..run_directory import RunDirectory

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@dataclass(frozen=True)
class Stage:
    """One unit of work in one folder of a run."""

    name: str
    folder: Path
    fields: Mapping[str, Any]
    """Everything that the output is a function of: settings, seeds, fingerprints of the inputs."""
    outputs: tuple[str, ...]
    """Files and folders that the stage writes in `folder`, partial work included."""
    command: str
    """The command that makes it, for messages."""

    @property
    def marker(self) -> Path:
        """The completion marker."""
        return self.folder / "done" / f"{self.name}.json"

    @property
    def fingerprint(self) -> str:
        """Of the fields and the code."""
        return fingerprint_of({**self.fields, "code": CODE_VERSION})

    def is_done(self) -> bool:
        """Whether the stage is done with these very fields.

        Raises:
            StaleArtifactError: it is done with others; the message names the first that differs.
        """
        if not self.marker.exists() or not all((self.folder / name).exists() for name in self.outputs[:1]):
            return False
        marker = read_json(self.marker)
        if marker.get("fingerprint") == self.fingerprint:
            return True
        before, now = dict(marker.get("fields", {})), {**self.fields, "code": CODE_VERSION}
        changed = next((key for key in (*now, *before) if before.get(key) != now.get(key)), "fingerprint")
        raise StaleArtifactError(
            f"{self.folder / self.outputs[0]} was made with {changed}={_short(before.get(changed))}, "
            f"now it is {_short(now.get(changed))}; set it back, or remake it: `{self.command} --force` with the "
            f"same overrides, or `subspace run --force` for all that is stale"
        )

    def forget(self) -> None:
        """Remove the marker, then the outputs."""
        self.marker.unlink(missing_ok=True)
        for name in self.outputs:
            remove(self.folder / name)


def done_fingerprint(folder: Path, name: str, command: str) -> str:
    """The fingerprint in a completion marker: what the next stage depends on.

    Raises:
        InputError: that stage is not done; the message names the command that does it.
    """
    marker = folder / "done" / f"{name}.json"
    if not marker.exists():
        raise InputError(f"{folder} has no finished {name} yet; run `{command}` first")
    return read_json(marker)["fingerprint"]


def steps_taken(run: RunDirectory, round_index: int) -> int:
    """Training steps of all rounds before `round_index`, as their completion markers have it."""
    markers = (run.round(index) / "done" / "train.json" for index in range(round_index))
    return sum(read_json(marker)["summary"]["steps"] for marker in markers if marker.exists())


def network_fingerprint(run: RunDirectory, round_index: int) -> str:
    """The fingerprint of the network that a round begins with: the round before, or the start."""
    if round_index == 0:
        return done_fingerprint(run.start, "pretrain", f"subspace pretrain {run.path}")
    return done_fingerprint(
        run.network(round_index), "train", f"subspace train {run.path} --round {round_index - 1}"
    )


@dataclass
class StopRequest:
    """Signals, turned into a saved and resumable end.

    Work that can save itself sets `graceful` and looks at `name` between steps; elsewhere a signal
    raises `StoppedEarly` at once, and the stage's unfinished files are removed or resumed from later.
    """

    name: str | None = None
    graceful: bool = False
    hurries: bool = True
    """Whether a second signal ends graceful work at once. Not where a launcher passes on signals that a scheduler has
    sent to every process already."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the stop signals inside the block."""
        before = {number: signal.signal(number, self._handle) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.name is not None and self.hurries
        self.name = signal.Signals(number).name
        if again or not self.graceful:
            raise StoppedEarly(f"stopped by {self.name}; run the same command to continue")


@dataclass(frozen=True)
class Options:
    """How a command was called."""

    console: Console = field(default_factory=Console)
    device: str | None = None
    force: bool = False
    remake_stale: bool = False
    """Like `force`, but only for stages that are done with other settings or inputs."""
    resume: bool = True
    dry_run: bool = False
    stop: StopRequest = field(default_factory=StopRequest)
    processes: int = 1
    """That train together or extract side by side; more than 1: this one starts them and waits."""
    overrides: tuple[str, ...] = ()
    """Settings given on the command line, for the processes that it starts."""


def run_stage(
    stage: Stage, options: Options, estimate: Callable[[], str], work: Callable[[], dict[str, Any] | None]
) -> dict[str, Any]:
    """Do a stage unless it is done, and return its marker.

    Args:
        estimate: one line on the time, memory and disk that it will take.
        work: does it and returns the summary that the marker keeps; None leaves the stage open (a shard).

    Raises:
        StaleArtifactError: done with other settings or inputs, and not called with `--force`.
    """
    console, where = options.console, f"{stage.folder.name}/{stage.name}"
    if options.stop.name:  # it came while a stage that can save itself was at its very end
        raise StoppedEarly(f"stopped by {options.stop.name} before {where}; run the same command to continue")
    if not options.force and _is_done(stage, options):
        marker = read_json(stage.marker)
        console.say(f"{where}: already done ({marker['seconds']:.1f} s, {marker['finished']})")
        return marker
    console.say(f"{where}: {estimate()}")
    if options.dry_run:
        return {"stage": stage.name, "dry_run": True}
    if options.force or not options.resume or stage.marker.exists():  # a marker here is a stale one
        stage.forget()
    started = time.monotonic()
    summary = work()
    if summary is None:
        return {"stage": stage.name, "open": True}
    marker = {
        "stage": stage.name,
        "fingerprint": stage.fingerprint,
        "seconds": round(time.monotonic() - started, 3),
        "finished": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "summary": summary,
        "fields": {**stage.fields, "code": CODE_VERSION},
    }
    write_json(stage.marker, marker)
    return marker


def _is_done(stage: Stage, options: Options) -> bool:
    try:
        return stage.is_done()
    except StaleArtifactError:
        if options.remake_stale:
            return False
        raise


def flat_fields(section: str, values: Mapping[str, Any], without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Settings as `section.key` fields, except those that do not change the result."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key in without:
            continue
        if isinstance(value, Mapping):
            flat.update(flat_fields(f"{section}.{key}", value))
        else:
            flat[f"{section}.{key}"] = list(value) if isinstance(value, tuple) else value
    return flat


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
