"""Without a cluster: `subspace run` as a process in the background of this machine, which outlives the terminal."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...mining.errors import InputError
from ...mining.local_paths import in_shell
from ..child_processes import this_program
from ..run_directory import RunDirectory
from .job_requests import job_request
from .scheduler import NOTHING_WRITTEN, how_to_follow
from .submission import Submission, Task

if TYPE_CHECKING:
    from ..stages.context import Context
    from .jobs import Job


@dataclass(frozen=True)
class Local:
    """One process and its children do all that is left, whatever the jobs are."""

    name: str

    @property
    def own_job(self) -> None:
        """None: the process submits nothing."""
        return

    def show(self, jobs: list[Job], context: Context) -> str:
        """The command that would be started."""
        return f"{shlex.join(['subspace', *_command(context)])} &\n{NOTHING_WRITTEN}"

    def start(self, jobs: list[Job], context: Context, unlock: Callable[[], None]) -> Submission:
        """Start the whole run, and keep the number of its process; an error or a signal before that stops it.

        Raises:
            InputError: it ended with an error before it could begin, such as that another command works in the run.
        """
        run, options = context.run, context.options
        unlock()  # the process takes the lock itself
        submission = Submission.new(run, self.name, options.overrides)
        unnamed = submission.logs / "run.log"
        with open(unnamed, "wb") as log:
            process = subprocess.Popen(
                [*this_program(), *_command(context)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            while process.poll() is None and not _at_work(run, process.pid):
                time.sleep(0.02)
            if process.returncode:
                last = unnamed.read_text(errors="replace").strip().rpartition("\n")[2]
                raise InputError(f"the run ended at once: {last.removeprefix('subspace: ')} ({unnamed})")
            task = Task("run", "run", "", str(process.pid))
            submission = submission.with_tasks([task])
            unnamed.rename(submission.logs / task.log)
            submission.keep()
        except BaseException:  # a process that is not kept is one that nobody can cancel
            process.terminate()
            raise
        context.say(f"{run.path}: process {task.id} does all that is left, in {submission.folder}")
        context.say(how_to_follow(run))
        return submission

    def live(self, run: RunDirectory, submission: Submission) -> dict[str, str]:
        """The submission's process where it is at work still: its number, and RUNNING.

        By the run's lock, and not by the number alone, which another process may have by now.
        """
        return {
            task.id: "RUNNING"
            for task in submission.tasks
            if task.id.isdecimal() and _at_work(run, int(task.id))
        }

    def cancel(self, run: RunDirectory, submission: Submission, ids: Iterable[str]) -> None:
        """Ask the processes to save themselves and end.

        Raises:
            InputError: they are on another machine, or another user's.
        """
        note, _ = run.activity()
        if note is not None and note["host"] != socket.gethostname():
            raise InputError(
                f"{run.path} is at work on {note['host']}; call `subspace cancel {in_shell(run.path)}` there"
            )
        for number in ids:
            try:
                os.kill(int(number), signal.SIGTERM)
            except ProcessLookupError:
                continue
            except PermissionError as error:
                raise InputError(f"process {number} is another user's; ask them to stop it") from error

    def logs(self, run: RunDirectory, submission: Submission) -> Path:
        """The folder of the process's log."""
        return submission.logs


def _command(context: Context) -> list[str]:
    """What is started, as arguments of `subspace`."""
    processes = job_request(context.config.schedule, "train").processes_per_node
    return ["run", str(context.run.path.resolve()), *context.options.overrides, "--processes", str(processes)]


def _at_work(run: RunDirectory, process: int) -> bool:
    note, alive = run.activity()
    return alive and note is not None and note["pid"] == process
