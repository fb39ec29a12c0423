"""RUN/jobs/001/: what one `subspace submit` wrote and started.

RUN/jobs/001/round-000-extract.sh, ...   what the scheduler was given, in the order of submission.json; for Kubernetes
                                         01-round-000-extract.yaml, ..., and apply.sh
RUN/jobs/001/logs/                       what the jobs said; a job that is queued again goes on in its log
RUN/jobs/001/submission.json             the numbers that the scheduler gave them
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import Field, NonNegativeInt, model_validator

from ...mining.artifacts import write_json
from ...mining.json_documents import Document, known, read_document
from ..configuration.overrides import UNKEPT, setting_of
from ..run_directory import RunDirectory
from ..stage_folder import ROUND, START
from ..stages.graph import STAGES, row
from .job_requests import job_names

MORE = "more"
"""What the job is for that submits what is still to come: it does no stage."""
FILE = "submission.json"


class _Task(Document):
    job: str
    stage: str
    folder: str = Field(pattern=rf"^({START}|{ROUND}[0-9]{{3,9}})?$")
    id: str = Field(pattern=r"^([0-9]{1,18}(_[0-9]{1,18})?|[^/]+/[^/]+)$")
    shards: list[NonNegativeInt]
    num_shards: NonNegativeInt

    @model_validator(mode="after")
    def _shards_are_of_a_stage_that_has_some(self) -> _Task:
        if self.shards and (self.stage not in job_names() or not row(self.stage).shards or not self.folder):
            raise ValueError(f"{self.stage!r} has no shards")
        if any(shard >= self.num_shards for shard in self.shards):
            raise ValueError(f"there is no shard {max(self.shards)} of {self.num_shards}")
        return self


class SubmissionFile(Document):
    """What submission.json holds."""

    run: str
    scheduler: str
    user: str
    overrides: list[str]
    overrides_are_kept: bool = False
    tasks: list[_Task]


@dataclass(frozen=True)
class Task:
    """One job of the scheduler: a whole stage, or some shards of an extraction."""

    job: str
    stage: str
    folder: str
    id: str
    """What the scheduler calls it: 17, 17_3 for number 3 of an array, or namespace/name in Kubernetes."""
    shards: tuple[int, ...] = ()
    num_shards: int = 0

    @property
    def log(self) -> str:
        """The name of its log."""
        return f"{self.job}-{self.id}.log"

    @property
    def is_whole_run(self) -> bool:
        """Whether it does all that is left of the run, and not one stage of one folder."""
        return not self.folder

    @property
    def is_more(self) -> bool:
        """Whether it submits what is still to come; it is among the jobs of `plan`, and does not do it."""
        return self.job.endswith(f"-{MORE}")


@dataclass(frozen=True)
class Submission:
    """The jobs of one `subspace submit`."""

    folder: Path
    scheduler: str
    tasks: tuple[Task, ...] = ()
    overrides: tuple[str, ...] = ()
    """Settings given with it, without which its stages would look stale."""
    user: str = ""
    """The user whose jobs they are."""
    run: str = ""
    """Where the run lay then, from the root on: their jobs work there."""
    overrides_are_kept: bool = True
    """Whether the settings are in the run's `overrides.json`; a run of an earlier version has them here alone."""

    @classmethod
    def new(cls, run: RunDirectory, scheduler: str, overrides: tuple[str, ...] = ()) -> Submission:
        """The next submission of a run, in a new folder."""
        folder, user = cls.next_folder(run), _user()
        (folder / "logs").mkdir(parents=True)
        return cls(folder, scheduler, (), overrides, user, str(run.path.resolve()))

    @staticmethod
    def next_folder(run: RunDirectory) -> Path:
        """The folder that the next submission of a run would have."""
        numbers = [int(path.name) for path in run.jobs.glob("*") if path.name.isdecimal()]
        return run.jobs / f"{max(numbers, default=0) + 1:03d}"

    @classmethod
    def latest(cls, run: RunDirectory) -> Submission | None:
        """The last submission of a run that started anything; None where there is none.

        A copy of a run has none, nor has one that was renamed: their jobs work in the folder that it was.

        Raises:
            StaleArtifactError: its submission.json is damaged.
        """
        newest = cls.newest(run)
        return newest if newest is not None and newest.is_here else None

    @classmethod
    def newest(cls, run: RunDirectory) -> Submission | None:
        """As `latest`, but it may be of the folder that the run was copied from, or was before it was renamed.

        Raises:
            StaleArtifactError: its submission.json is damaged.
        """
        kept = [path for path in run.jobs.glob(f"*/{FILE}") if path.parent.name.isdecimal()]
        for path in sorted(kept, key=lambda path: int(path.parent.name), reverse=True):
            found = read_document(
                path, SubmissionFile, "cancel its jobs by the scheduler's own command, and remove the file"
            )
            tasks = [replace(known(Task, task), shards=tuple(task["shards"])) for task in found["tasks"]]
            return cls(
                path.parent,
                found["scheduler"],
                tuple(tasks),
                tuple(found["overrides"]),
                found["user"],
                found["run"],
                found.get("overrides_are_kept", False),
            )
        return None

    def keep(self) -> None:
        """Write `submission.json`."""
        tasks = [asdict(task) for task in self.tasks]
        record = {
            "run": self.run,
            "scheduler": self.scheduler,
            "user": self.user,
            "overrides": list(self.overrides),
            "overrides_are_kept": self.overrides_are_kept,
            "tasks": tasks,
        }
        write_json(self.folder / FILE, record)

    def forget(self) -> None:
        """Remove `submission.json`, where nothing of it is left with its scheduler and nothing has begun."""
        if not any(self.logs.iterdir()):
            (self.folder / FILE).unlink(missing_ok=True)

    def with_tasks(self, tasks: Iterable[Task]) -> Submission:
        """This submission with more tasks."""
        return replace(self, tasks=(*self.tasks, *tasks))

    @property
    def is_here(self) -> bool:
        """Whether the run lies where it lay then."""
        return self.run == str(self.folder.parent.parent.resolve())

    @property
    def was_renamed(self) -> bool:
        """Whether the run was renamed since: nothing lies there any more, as it does where this is a copy."""
        return not self.is_here and not Path(self.run, *self.folder.parts[-2:]).exists()

    @property
    def logs(self) -> Path:
        """The folder of the tasks' logs, for schedulers that write them there."""
        return self.folder / "logs"

    def tasks_for(self, folder: str, stage: str) -> Iterator[Task]:
        """The tasks that do a stage of a folder: `cluster` merges an extraction too, `eval` validates too."""
        wanted = jobs_of(stage)
        return (
            task for task in self.tasks if task.folder == folder and task.stage in wanted and not task.is_more
        )

    def tasks_named(self, name: str) -> list[Task]:
        """The tasks of a job, as round-000-train; or those that do a stage, train, or that of one folder, round-000/train.

        One that does the whole run does every stage.
        """
        where, _, stage = name.rpartition("/")
        doing: set[Task] = set()
        if any(found.name == stage for found in STAGES):
            folders = [where] if where else {task.folder for task in self.tasks}
            doing = {task for folder in folders for task in self.tasks_for(folder, stage)}
            doing |= {task for task in self.tasks if task.is_whole_run}
        return [task for task in self.tasks if task in doing or task.job == name]


def _user() -> str:
    """The user by name; by number, which squeue takes too, where the machine has no name for it, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the latter from Python 3.13 on
        return str(os.getuid())


def submitted_with(run: RunDirectory, given: Sequence[str] = ()) -> list[str]:
    """The settings of a run's last submission of an earlier version, which kept them nowhere else; none where others are
    given now, or are kept since."""
    if given or run.overrides.exists():
        return []
    submission = Submission.latest(run)
    return [] if submission is None or submission.overrides_are_kept else list(submission.overrides)


def scheduled_before(run: RunDirectory, given: Sequence[str]) -> list[str]:
    """The settings of the section `schedule` that a run's last submission had and that are not given anew: the next has them."""
    submission = Submission.latest(run)
    if submission is None or not submission.overrides_are_kept:
        return []
    anew = [setting_of(word) for word in given]
    had = [word for word in submission.overrides if setting_of(word).split(".")[0] == UNKEPT]
    return [word for word in had if setting_of(word) not in anew]


def jobs_of(name: str) -> tuple[str, ...]:
    """The jobs that have a hand in a stage: that of its command, and for shards the one after it, which merges them."""
    own = row(name)
    after = STAGES[STAGES.index(own) + 1] if own.shards else own
    return tuple(dict.fromkeys((own.command_name, after.command_name)))
