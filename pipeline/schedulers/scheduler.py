"""The face that every scheduler has: five calls. `submit.py` and `job_states.py` know no more than this of any.

A new scheduler is a class of these calls in a module of its own, and a row in `scheduler_registry.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ...mining.errors import InputError
from ...mining.local_paths import in_shell
from ..run_directory import RunDirectory
from ..scheduler_registry import SCHEDULERS
from .submission import Submission

if TYPE_CHECKING:
    from ..stages.context import Context
    from .jobs import Job

NOTHING_WRITTEN = "dry run: nothing was written or submitted"
"""What `show` says below all else."""
WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}
"""Words of `live` for a task that is not at work, as Slurm has them; any other word means that it is."""


class NotAskedError(InputError):
    """Only the user asks this scheduler; the message names the commands that do."""


class Scheduler(Protocol):
    """Says where and when jobs run. What is done is said by the completion markers of the stages alone."""

    @property
    def own_job(self) -> str | None:
        """The number of the job that this process is part of; None where it is part of none."""
        ...

    def show(self, jobs: list[Job], context: Context) -> str:
        """What `start` would hand over, as text, with `NOTHING_WRITTEN`; writes nothing.

        Raises:
            InputError: the jobs cannot be written for this scheduler.
        """
        ...

    def start(self, jobs: list[Job], context: Context, unlock: Callable[[], None]) -> Submission:
        """Hand the jobs over, each behind the one before; keep their numbers, and say how to follow them.

        Args:
            unlock: gives the run's lock back early, before a job may want it.

        Raises:
            InputError: the scheduler refuses one; then none of them is left with it.
        """
        ...

    def live(self, run: RunDirectory, submission: Submission) -> dict[str, str]:
        """The tasks that the scheduler still has, by number, each with its word for how it is (see `WAITING`).

        It may name tasks of other submissions too.

        Raises:
            NotAskedError: only the user asks this scheduler.
            InputError: the scheduler does not answer.
        """
        ...

    def cancel(self, run: RunDirectory, submission: Submission, ids: Iterable[str]) -> None:
        """Stop tasks; those that train or extract save themselves first.

        Raises:
            NotAskedError: only the user asks this scheduler.
            InputError: they cannot be stopped from here.
        """
        ...

    def logs(self, run: RunDirectory, submission: Submission) -> Path:
        """The folder of what the tasks said: `Task.log` is the name of each, and exists once the task has begun.

        Raises:
            NotAskedError: the scheduler keeps it.
        """
        ...


def scheduler_named(name: str) -> Scheduler:
    """A scheduler by its name; only its own module is imported.

    Raises:
        InputError: there is none of that name.
    """
    for known, (module, class_name) in SCHEDULERS.items():
        if name == known:
            return getattr(import_module(f".{module}", __package__), class_name)(known)
    raise InputError(f"there is no scheduler {name}; there are {', '.join(SCHEDULERS)}")


def how_to_follow(run: RunDirectory) -> str:
    """The commands for jobs that this program can ask about, in a line."""
    return (
        f"how it is: subspace status {in_shell(run.path)}; what failed: subspace logs {in_shell(run.path)} --failed; "
        f"stop it: subspace cancel {in_shell(run.path)}"
    )
