"""A stage at work: done when its marker, written last, carries the fingerprint of all that it depends on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...mining.artifacts import remove, write_json
from ...mining.errors import StaleArtifactError, StoppedEarly
from ...mining.fingerprints import CODE_VERSION, fingerprint_of
from ...mining.local_paths import in_shell
from ...mining.machine import give_back_memory
from ...train.losses.registry import current_name
from ..estimates.estimate import Estimate
from ..faults.sealed_files import Sealed, seal
from ..options import Options
from ..run_directory import RunDirectory
from ..stage_folder import StageFolder


@dataclass(frozen=True)
class Stage:
    """One unit of work in one folder of a run. `graph.StageRow.stage` makes it."""

    name: str
    folder: StageFolder
    fields: Mapping[str, Any]
    """Everything that the output is a function of: settings, seeds, fingerprints of the inputs."""
    outputs: tuple[str, ...]
    """Files and folders that the stage writes in `folder`, partial work included."""
    command: str
    """The command that makes it, for messages."""
    run_command: str
    """The command that makes all that is stale."""
    reads: tuple[Sealed, ...] = ()
    """The finished stages whose files it reads."""

    @property
    def marker(self) -> Path:
        """The completion marker."""
        return self.folder.marker(self.name)

    @property
    def fingerprint(self) -> str:
        """A hash of the fields and of the code's version."""
        return fingerprint_of({**self.fields, "code": CODE_VERSION})

    @property
    def label(self) -> str:
        """round-000/train: what lines for people begin with."""
        return f"{self.folder.name}/{self.name}"

    def is_done(self) -> bool:
        """Whether the stage is done with these very fields.

        Raises:
            StaleArtifactError: it is done with others, and the message names the first that differs; or a file that it
                made is not as long as it was.
        """
        if not self.marker.exists() or not self.folder.file(self.outputs[0]).exists():
            return False
        sealed = Sealed(self.folder, self.name, self.command)
        if sealed.missing(self.outputs):
            return False
        marker = self.folder.record(self.name)
        if marker.get("fingerprint") == self.fingerprint:
            sealed.refuse_other_sizes()
            return True
        before, now = dict(marker.get("fields", {})), {**self.fields, "code": CODE_VERSION}
        changed = next((key for key in (*now, *before) if before.get(key) != now.get(key)), "fingerprint")
        then, is_now = (_short(fields.get(changed), changed in fields) for fields in (before, now))
        raise StaleArtifactError(
            f"{self.folder.file(self.outputs[0])} was made with {current_name(changed)}={then}, now it is {is_now}; set "
            f"it back, or remake it: `{self.command} --force`, or `{self.run_command} --force` for all that is stale"
            f"{_way_on(changed, RunDirectory(self.folder.path.parent))}",
            change=f"{current_name(changed)}: {then}, now {is_now}",
        )

    def begins_anew(self, options: Options) -> bool:
        """Whether what is there of its work is dropped first: a marker of a stage that is not done is a stale one."""
        return options.force or not options.resume or self.marker.exists()

    def forget(self) -> None:
        """Remove the marker, then the outputs."""
        self.marker.unlink(missing_ok=True)
        for name in self.outputs:
            remove(self.folder.file(name))


def run_stage(
    stage: Stage,
    options: Options,
    estimate: Callable[[], str | Estimate],
    work: Callable[[], dict[str, Any] | None],
) -> dict[str, Any]:
    """Do a stage unless it is done, and return its marker.

    Args:
        estimate: one line on the time, memory and disk that it will take.
        work: does it and returns the summary that the marker keeps, with the `seconds` of all commands that had a part in it
            where it knows them; None leaves the stage open (a shard).

    Raises:
        StaleArtifactError: done with other settings or inputs, and not called with `--force`; or what it reads is
            damaged.
    """
    console = options.console
    if options.stop.name:  # it came while a stage that can save itself was at its very end
        raise StoppedEarly(
            f"stopped by {options.stop.name} before {stage.label}; run the same command to continue"
        )
    if not options.force and _is_done(stage, options):
        marker = stage.folder.record(stage.name)
        console.say(f"{stage.label}: already done ({marker['seconds']:.1f} s, {marker['finished']})")
        return marker
    if not options.dry_run:
        for sealed in stage.reads:
            sealed.refuse_damage()
    announced = estimate()
    console.say(f"{stage.label}: {announced}")
    if options.dry_run:
        return {"stage": stage.name, "dry_run": True}
    if stage.begins_anew(options):
        stage.forget()
    options.on_work()
    RunDirectory(stage.folder.path.parent).note_stage(
        stage.label, announced.seconds if isinstance(announced, Estimate) else None
    )
    started = time.monotonic()
    summary = work()
    give_back_memory()
    if summary is None:
        return {"stage": stage.name, "open": True}
    before_too = summary.get("seconds") or 0.0  # of what commands before this one have done of it
    marker = {
        "stage": stage.name,
        "fingerprint": stage.fingerprint,
        "seconds": max(round(time.monotonic() - started, 3), before_too),
        "finished": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "summary": summary,
        "fields": {**stage.fields, "code": CODE_VERSION},
        "files": seal(stage.folder.path, stage.outputs),
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


def _way_on(changed: str, run: RunDirectory) -> str:
    """What a user can do without training again: one who asks for more rounds, or whose images have moved."""
    if changed == "manifest":
        return ". If the same images only lie elsewhere now, keep the old manifest, with a link to them where they were"
    if changed != "rounds":
        return ""
    network = run.best if run.best.exists() else run.round(run.latest_round).checkpoint
    return (
        ". The learning-rate schedule spans all rounds, so all of them change; to train on from what is there: "
        f"`subspace init {in_shell(f'{run.path}-more')} --manifest MANIFEST --model {in_shell(f'checkpoint:{network}')}`"
    )


def _short(value: Any, there: bool) -> str:
    text = "not set" if not there else "null" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
