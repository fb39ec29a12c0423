"""A stage at work: done when its marker, written last, carries the fingerprint of all that it depends on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...mining.artifacts import in_place, make_folder, remove, write_json
from ...mining.errors import InputError, StaleArtifactError, StoppedEarly
from ...mining.fingerprints import CODE_VERSION, fingerprint_of
from ...mining.local_paths import in_shell
from ...mining.machine import give_back_memory
from ...train.losses.registry import current_name
from ..console import counted
from ..estimates.estimate import Estimate
from ..faults.sealed_files import Sealed, seal
from ..options import Options
from ..round_chain import current_rounds
from ..run_directory import RunDirectory
from ..stage_folder import RESUME, StageFolder

if TYPE_CHECKING:
    from ...train.checkpoint_meta import CheckpointMeta


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
    fields_of: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda settings: {}
    """The fields with other settings of the run, as a checkpoint has them; {}: they are not known."""

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
            StaleArtifactError: it is done with others, or steps of a training with others are saved, and the message names
                the first that differs; or a file that it made is not as long as it was.
        """
        saved = self._saved_otherwise()
        if saved is not None and saved.step:
            raise self._refused(saved)
        if not self.marker.exists() or not self.folder.file(self.outputs[0]).exists():
            return False
        sealed = Sealed(self.folder, self.name, self.command)
        if sealed.missing(self.outputs):
            return False
        marker = self.folder.record(self.name)
        if marker.get("fingerprint") == self.fingerprint:
            sealed.refuse_other_sizes()
            return True
        change = self._change(marker.get("fields", {}))
        raise StaleArtifactError(
            f"{self.folder.file(self.outputs[0])} was {change.made}; {change.back}, or remake it: `{self.command} --force`, "
            f"or `{self.run_command} --force` for all that is stale"
            f"{_way_on(change.field, RunDirectory(self.folder.path.parent))}",
            change=change.short,
        )

    def needs_work(self, options: Options) -> bool:
        """Whether it is not done, or is to be done again by the options of the command.

        Raises:
            StaleArtifactError: as `is_done` does, where the options do not say to drop what is there.
        """
        if options.force:
            return True
        try:
            return not self.is_done()
        except StaleArtifactError:
            if options.remake_stale or not (options.resume or self.marker.exists()):
                return True
            raise

    def begins_anew(self, options: Options) -> bool:
        """Whether what is there of its work is dropped first: a marker of a stage that is not done is a stale one."""
        anew = options.force or not options.resume or self.marker.exists()
        return anew or self._saved_otherwise() is not None

    def _saved_otherwise(self) -> CheckpointMeta | None:
        """What the newest state of an unfinished training says where all are of other fields; None: there is none.

        One that is damaged is left to the training, which refuses it.
        """
        if RESUME not in self.outputs or self.marker.exists():
            return None
        from ...train.checkpoint_meta import read_meta_as_written  # pydantic is imported where a file is read

        with suppress(InputError):
            saved = [read_meta_as_written(state) for state in self.folder.states]
            if saved and self.fingerprint not in [meta.fingerprint for meta in saved]:
                return saved[0]
        return None

    def _refused(self, saved: CheckpointMeta) -> StaleArtifactError:
        """The refusal to go on from a state of other fields, or to drop it unasked."""
        before = dict(self.fields)
        with suppress(InputError):  # settings of another version
            before = dict(self.fields_of(saved.config)) or before
        network = "network" if "network" in self.fields else "model"
        made = {network: saved.parent, "plan": saved.plan, "code": saved.created_by.rpartition(" ")[2]}
        known = {key: value for key, value in made.items() if value and key in (*self.fields, "code")}
        change, steps = self._change(before | known), counted(saved.step, "step")
        return StaleArtifactError(
            f"{steps} of {self.label} are saved in {self.folder}, {change.made}; to go on, {change.back}; to begin anew, "
            f"`{self.command} --no-resume`, or `{self.run_command} --force` for all that is stale",
            change=f"{steps} saved, {change.short}",
        )

    def _change(self, before: Mapping[str, Any]) -> _Change:
        """The first field that differs from those of `before`; the version goes first, as it may bring fields of its own."""
        now = {**self.fields, "code": CODE_VERSION}
        keys = ("code", *now, *before) if "code" in before else (*now, *before)
        changed = next((key for key in keys if before.get(key) != now.get(key)), "")
        return _Change(changed, *(_short(fields.get(changed), changed in fields) for fields in (before, now)))

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
        StaleArtifactError: done or begun with other settings or inputs, and not called with an option that drops that; or
            what it reads is damaged.
        InputError: the run was moved meanwhile.
    """
    console = options.console
    if options.stop.name:  # it came while a stage that can save itself was at its very end
        raise StoppedEarly(
            f"stopped by {options.stop.name} before {stage.label}; run the same command to continue"
        )
    if not stage.needs_work(options):
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
    run = RunDirectory(stage.folder.path.parent)
    run.note_stage(stage.label, announced.seconds if isinstance(announced, Estimate) else None)
    make_folder(run.path)  # of `clean` it is that of a round, which may not be there yet
    with in_place(run.path):
        return _finish(stage, work)


def _finish(stage: Stage, work: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """Do the work and write the marker; return it."""
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


@dataclass(frozen=True)
class _Change:
    """A field that was another when something was made."""

    field: str
    """Empty: which it is is not known."""
    then: str
    now: str

    @property
    def made(self) -> str:
        """How it was made, and what is otherwise now."""
        if self.field == "code":
            return f"made by subspace-mining {self.then}, this is {self.now}"
        if not self.field:
            return "made with other settings or inputs"
        return f"made with {current_name(self.field)}={self.then}, now it is {self.now}"

    @property
    def back(self) -> str:
        """What a user does to keep it."""
        known = "install that version" if self.field == "code" else "set it back"
        return known if self.field else "set them back"

    @property
    def short(self) -> str:
        """The same for a table."""
        name = "version" if self.field == "code" else current_name(self.field)
        return f"{name}: {self.then}, now {self.now}" if self.field else "other settings or inputs"


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
    """What a user can do without training again: one who asks for more rounds, or whose images have moved or are more."""
    if changed not in ("manifest", "rounds"):
        return ""
    if changed == "rounds":
        said = ". The learning-rate schedule spans all rounds, so all of them change"
    else:
        said = ". If the same images only lie elsewhere now, keep the old manifest, with a link to them where they were"
    trained = [index for index in current_rounds(run) if run.round(index).finished("train")]
    if not trained:
        return said
    network = run.best if run.best.exists() else run.round(trained[-1]).checkpoint
    images = "" if changed == "rounds" else "with more images "
    return (
        f"{said}; to train on {images}from what is there: "
        f"`subspace init {in_shell(f'{run.path}-more')} --manifest MANIFEST --model {in_shell(f'checkpoint:{network}')}`"
    )


def _short(value: Any, there: bool) -> str:
    text = "not set" if not there else "null" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
