"""The run folder: where everything lies, and that one command at a time works in it.

    RUN/subspace.yaml
    RUN/start/{plan/, checkpoint/, metrics.jsonl, evaluation.json}     the starting network
    RUN/round-000/{identities.parquet, quarantine.parquet, subspaces.parquet, centroids.parquet,
                   plan/, checkpoint/, metrics.jsonl, evaluation.json}
    RUN/round-001/...

Each of these folders also holds `done/STAGE.json`, the completion markers.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..mining.artifacts import unwritable
from ..mining.errors import InputError


@dataclass(frozen=True)
class RunDirectory:
    """Paths of a run."""

    path: Path

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.path / "subspace.yaml"

    @property
    def start(self) -> Path:
        """Folder of the starting network."""
        return self.path / "start"

    def round(self, index: int) -> Path:
        """Folder of a round, counted from 0."""
        return self.path / f"round-{index:03d}"

    def network(self, index: int) -> Path:
        """Folder whose checkpoint round `index` begins with: the round before, or the start."""
        return self.start if index == 0 else self.round(index - 1)

    @property
    def rounds(self) -> list[int]:
        """Indices of the round folders that exist, ascending."""
        return sorted(
            int(path.name[6:]) for path in self.path.glob("round-[0-9]*") if path.name[6:].isdigit()
        )

    @property
    def latest_round(self) -> int:
        """The round that a stage command works on unless told; 0 where there is none yet."""
        return max(self.rounds, default=0)

    @contextmanager
    def locked(self, command: str) -> Iterator[None]:
        """Hold the run for one command. The lock dies with the process, so a killed one blocks nobody.

        Raises:
            InputError: another process works in this run, or the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = open(self.path / ".lock", "a+")  # noqa: SIM115  (closed below; the lock is the open file)
        except OSError as error:
            raise unwritable(self.path, error) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(
                    f"{self.path} is in use by {_holder(self.path)}; wait for it or stop it"
                ) from error
            file.truncate(0)
            note = {
                "command": command,
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "since": time.time(),
            }
            file.write(json.dumps(note))
            file.flush()
            yield
            file.truncate(0)

    def activity(self) -> tuple[dict[str, Any] | None, bool]:
        """What the lock file says, and whether its process is still at work (otherwise it was killed)."""
        try:
            with open(self.path / ".lock") as file:
                text = file.read()
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    alive = False
                except OSError:
                    alive = True
            return (json.loads(text) if text else None), alive
        except (OSError, ValueError):
            return None, False


def _holder(path: Path) -> str:
    note, _ = RunDirectory(path).activity()
    return (
        f"`subspace {note['command']}` (pid {note['pid']} on {note['host']})" if note else "another process"
    )
