"""`subspace submit` without a cluster: `subspace run` in the background, which outlives the terminal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable

from ...mining.errors import InputError
from ..child_processes import python_calling
from ..run_directory import RunDirectory
from .submission import Submission, Task


def command(run: RunDirectory, processes: int, overrides: tuple[str, ...]) -> list[str]:
    """What is started, as arguments of `subspace`."""
    return ["run", str(run.path.resolve()), *overrides, "--processes", str(processes)]


def start(run: RunDirectory, processes: int, overrides: tuple[str, ...]) -> Submission:
    """Start the whole run as one process and its children, and keep its number.

    Raises:
        InputError: it ended with an error before it could begin, such as that another command works in the run.
    """
    submission = Submission.new(run, "local", overrides)
    unnamed = submission.folder / "logs" / "run.log"
    with open(unnamed, "wb") as log:
        process = subprocess.Popen(
            [*python_calling("subspace.pipeline.cli"), *command(run, processes, overrides)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    while process.poll() is None and not _at_work(run, process.pid):
        time.sleep(0.02)
    if process.returncode:
        last = unnamed.read_text(errors="replace").strip().rpartition("\n")[2]
        raise InputError(f"the run ended at once: {last.removeprefix('subspace: ')} ({unnamed})")
    task = Task("run", "run", "", str(process.pid))
    submission = submission.having([task])
    unnamed.rename(submission.log_of(task))
    submission.keep()
    return submission


def live(run: RunDirectory, submission: Submission) -> dict[str, str]:
    """The submission's process where it is at work still: its number, and RUNNING.

    By the run's lock, and not by the number alone, which another process may have by now.
    """
    return {task.id: "RUNNING" for task in submission.tasks if _at_work(run, int(task.id))}


def _at_work(run: RunDirectory, process: int) -> bool:
    note, alive = run.activity()
    return alive and note is not None and note["pid"] == process


def cancel(run: RunDirectory, ids: Iterable[str]) -> None:
    """Ask the processes to save themselves and end.

    Raises:
        InputError: they are on another machine, or another user's.
    """
    note, _ = run.activity()
    if note is not None and note["host"] != socket.gethostname():
        raise InputError(f"{run.path} is at work on {note['host']}; call `subspace cancel {run.path}` there")
    for number in ids:
        try:
            os.kill(int(number), signal.SIGTERM)
        except ProcessLookupError:
            continue
        except PermissionError as error:
            raise InputError(f"process {number} is another user's; ask them to stop it") from error
