"""The run folder: where everything lies, and that one command at a time works in it.

    RUN/subspace.yaml                           settings
    RUN/overrides.json                          settings given on the command line, kept for the next command
    RUN/images.index                            where the manifest's images lie; made again when it is missing
    RUN/start/                                  the starting network, laid out like a round
    RUN/round-000/{identities.parquet, quarantine.parquet, subspaces.parquet, centroids.parquet, duplicates.parquet,
                   plan/, checkpoint/, metrics.jsonl, validation.json, evaluation.json, mistakes.parquet, keep.parquet,
                   suspects.parquet}
    RUN/round-001/...
    RUN/best -> round-001/checkpoint, RUN/best.json     the network that validates best
    RUN/lr/{trials.json, lr.svg}                what `subspace lr` tried
    RUN/search-loss/{search.json, curve.json, curve.svg, epoch-003/}    what `subspace search-loss` tried and found
    RUN/rounds/{tensorboard/, shown.json}       figures of every round, for trackers
    RUN/jobs/001/                               what one `subspace submit` wrote and started

Each folder of a network or a round also holds `done/STAGE.json`, the completion markers. Only this file and
`stage_folder.py` spell the names of a run's files.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ..mining.artifacts import remove, unwritable
from ..mining.errors import InputError
from .stage_folder import CLEANING, LOSS_SEARCH, ROUND, START, StageFolder

_HELD: dict[tuple[int, int], dict[str, Any]] = {}
"""The notes in the lock files that this process holds, by device and inode: however their paths are written."""
_FILES: dict[tuple[int, int], TextIO] = {}
"""These files, open."""
_OPENING = threading.RLock()
"""Held while a lock file is opened and closed, so that no thread closes one that another has just come to hold."""
MOST_LOCK_CHARACTERS = 64 * 1024
NOTE_BYTES = 1024
"""The notes in a lock are of multiples of it."""


@dataclass(frozen=True)
class RunDirectory:
    """Paths of a run.

    >>> run = RunDirectory(Path("runs/photos"))
    >>> str(run.config), str(run.round(1).checkpoint), str(run.network(0).checkpoint)
    ('runs/photos/subspace.yaml', 'runs/photos/round-001/checkpoint', 'runs/photos/start/checkpoint')
    """

    path: Path

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.path / "subspace.yaml"

    @property
    def overrides(self) -> Path:
        """The settings that were given on the command line."""
        return self.path / "overrides.json"

    @property
    def image_index(self) -> Path:
        """Where training looks up its images; any command may make it again."""
        return self.path / "images.index"

    @property
    def best(self) -> Path:
        """A link to the checkpoint that validates best."""
        return self.path / "best"

    @property
    def best_record(self) -> Path:
        """Which network validates best, and why."""
        return self.path / "best.json"

    @property
    def rate_trials(self) -> Path:
        """What trials of learning rates came to."""
        return self.path / "lr" / "trials.json"

    @property
    def rate_plot(self) -> Path:
        """Figure and loss over the learning rate."""
        return self.path / "lr" / "lr.svg"

    @property
    def tracked(self) -> Path:
        """What trackers are shown of all rounds, laid out like the folder of a training for them."""
        return self.path / "rounds"

    @property
    def jobs(self) -> Path:
        """A numbered folder for each submission to a scheduler."""
        return self.path / "jobs"

    @property
    def start(self) -> StageFolder:
        """Folder of the starting network."""
        return StageFolder(self.path / START, -1)

    def round(self, index: int) -> StageFolder:
        """Folder of a round, counted from 0; -1 is the starting network's."""
        return StageFolder(self.path / f"{ROUND}{index:03d}", index) if index >= 0 else self.start

    def network(self, index: int) -> StageFolder:
        """Folder whose checkpoint round `index` begins with: the round before, or the start."""
        return self.round(index - 1)

    def index_of(self, folder: str) -> int:
        """The round of a folder, by its name; -1 for the starting network's."""
        return -1 if folder == START else int(folder.removeprefix(ROUND))

    @property
    def rounds(self) -> list[int]:
        """Indices of the rounds that have begun, ascending; a folder in which a network only cleaned is none."""
        return [index for index in self._round_folders if not self.round(index).only_cleaned]

    @property
    def _round_folders(self) -> list[int]:
        return sorted(
            int(number)
            for number in (path.name.removeprefix(ROUND) for path in self.path.glob(f"{ROUND}[0-9]*"))
            if number.isascii() and number.isdecimal()
        )

    @property
    def latest_round(self) -> int:
        """The round that a stage command works on unless --round says which; 0 where there is none yet."""
        return max(self.rounds, default=0)

    @property
    def lock(self) -> Path:
        """Which command is at work, and its lock."""
        return self.path / ".lock"

    @contextmanager
    def locked(self, command: str) -> Iterator[None]:
        """Hold the run for one command, and sweep away what killed ones left half-written.

        The lock is a POSIX record lock: it dies with the process and is not inherited by loader workers that
        outlive it for a moment, so a killed command blocks nobody; and network file systems have it. But a process loses
        it by closing any descriptor of the file, so this one never opens again what it holds (`_HELD`).

        Raises:
            InputError: another process, or this one, works in this run, or the folder cannot be written.
        """
        with _OPENING:
            if (own := self._held_here()) is not None:
                raise InputError(f"{self.path} is in use by {_in_words(own)}; wait for it or stop it")
            file = self._acquire()
            try:
                note = {"command": command, "pid": os.getpid(), "since": time.time()}
                note["host"] = socket.gethostname()
                _write(file, note)
            except BaseException as error:
                file.close()
                if isinstance(error, OSError):
                    raise unwritable(self.lock, error) from error
                raise
            held = os.fstat(file.fileno())
            key = held.st_dev, held.st_ino
            _HELD[key] = note
            _FILES[key] = file
        try:
            self._sweep()
            yield
        finally:
            with _OPENING:
                file.truncate(0)
                file.close()
                del _HELD[key], _FILES[key]

    @contextmanager
    def locked_to_make(self, command: str) -> Iterator[None]:
        """As `locked`, for a folder that goes again where the command has put nothing into it."""
        with self.locked(command):
            try:
                yield
            finally:
                with suppress(OSError):  # it is gone, or others' files are in it
                    if os.listdir(self.path) == [self.lock.name]:
                        self.lock.unlink()
                        self.path.rmdir()

    def note_stage(self, stage: str | None, announced: float | None = None) -> None:
        """Say in the lock at which stage the command is that holds it, None: at none any more; without it do nothing.

        Args:
            announced: seconds that the stage was said to take.
        """
        with _OPENING:
            if (note := self._held_here()) is None:
                return
            found, since = os.stat(self.lock), stage and time.time()
            note |= {"stage": stage, "stage_since": since, "announced": announced, "progress": None}
            _write(_FILES[found.st_dev, found.st_ino], note)

    def _sweep(self) -> None:
        """Remove what killed commands left half-written."""
        for folder in (
            *(self.path / name for name in (".", "lr", LOSS_SEARCH)),
            *(self.round(index).path for index in (-1, *self._round_folders)),
            *(self.round(index).file(CLEANING) for index in self._round_folders),
        ):
            for kind in (".*.tmp", ".*.old", "done/.*.tmp"):
                for leftover in folder.glob(kind):
                    remove(leftover)

    def _held_here(self) -> dict[str, Any] | None:
        """The note of this very process, where it holds the run; the file is not opened."""
        try:
            found = os.stat(self.lock)
        except OSError:
            return None
        note = _HELD.get((found.st_dev, found.st_ino))
        ours = note is not None and note["pid"] == os.getpid()  # not that of a forked child's parent
        return note if ours else None

    def _acquire(self) -> TextIO:
        """The lock file, open and locked; `status` may hold it for an instant, so a refusal is tried again for a second."""
        for attempt in range(6):
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                file = open(self.lock, "r+" if self.lock.exists() else "w+")  # noqa: SIM115
            except OSError as error:
                raise unwritable(self.path, error) from error
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file.fileno()), os.stat(self.lock)):
                    return file
                file.close()  # of a folder that the command before has just removed, with its lock
            except OSError as error:
                file.close()
                if attempt == 5 and not isinstance(error, FileNotFoundError):
                    used = f"{self.path} is in use by {_holder(self.path)}; wait for it or stop it"
                    raise InputError(used) from error
                time.sleep(0.2)
        raise InputError(f"{self.path} is made and removed by another command; wait for it or stop it")

    def activity(self) -> tuple[dict[str, Any] | None, bool]:
        """What the lock file says, and whether its process is still at work (otherwise it was killed)."""
        with _OPENING:
            if (own := self._held_here()) is not None:
                return dict(own), True
            try:
                with open(self.lock, encoding="utf-8", errors="replace") as file:
                    text = file.read(MOST_LOCK_CHARACTERS)
                    try:
                        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                        alive = False
                    except OSError:
                        alive = True
            except OSError:
                return None, False
        from .records.lock_note import parse_lock_note  # pydantic is imported where a file is read

        try:
            return parse_lock_note(text), alive
        except ValueError:  # the next command writes it anew
            return None, alive


def note_progress(progress: dict[str, Any] | None) -> None:
    """Say in the locks that this process holds how far its work is, for `subspace status`; a full disk stops nothing.

    >>> note_progress(None)  # no lock is held here
    """
    with _OPENING:
        for key, note in _HELD.items():
            if note["pid"] == os.getpid():
                note["progress"] = progress and {**progress, "when": time.time()}
                with suppress(OSError):
                    _write(_FILES[key], note)


def _write(file: TextIO, note: dict[str, Any]) -> None:
    """Write a note over the one before, with one call and as long as that, so that nobody reads half of one."""
    text = json.dumps({key: value for key, value in note.items() if value is not None}).encode()
    text = text.ljust(-(-len(text) // NOTE_BYTES) * NOTE_BYTES)
    os.pwrite(file.fileno(), text, 0)
    os.ftruncate(file.fileno(), len(text))


def _holder(path: Path) -> str:
    note, _ = RunDirectory(path).activity()
    return _in_words(note) if note else "another process"


def _in_words(note: dict[str, Any]) -> str:
    return f"`subspace {note['command']}` (pid {note['pid']} on {note['host']})"
