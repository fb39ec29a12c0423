"""The calls of Slurm's commands, with others in their place; tests/slurm has a real Slurm."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from conftest import QUICK, subspace

from subspace.mining.errors import InputError, StoppedEarly
from subspace.mining.manifest import Manifest
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.schedulers import slurm
from subspace.pipeline.schedulers.jobs import Job
from subspace.pipeline.schedulers.scheduler import scheduler_named
from subspace.pipeline.schedulers.submission import Submission, Task
from subspace.pipeline.stages.context import Context

JOBS = [
    Job("extract", "round-000", (("extract", "run"),), (0, 1, 2), 3),
    Job("cluster", "round-000", (("extract", "run"), ("cluster", "run"))),
    Job("plan", "round-000", (("plan", "run"),)),
]


class Commands:
    """Stands for sbatch, squeue, scancel and scontrol: notes each call, and gives jobs the numbers 1, 2, ..."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.refuses = ""

    def __call__(self, command: list[str], folder: Path | None = None) -> str:
        self.calls.append(command)
        if self.refuses and command[-1] == self.refuses:
            raise StoppedEarly("stopped by SIGTERM")
        answers: dict[str, Callable[[], str]] = {
            "scontrol": lambda: "MaxArraySize = 2",
            "sbatch": lambda: str(len(self.of("sbatch"))),
            "squeue": lambda: "2_0|RUNNING\n3|PENDING\n77|RUNNING\n",
            "scancel": str,
        }
        return answers[command[0]]()

    def of(self, name: str) -> list[list[str]]:
        """The arguments of every call of a command."""
        return [call[1:] for call in self.calls if call[0] == name]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands()
    monkeypatch.setattr(slurm, "_call", made)
    return made


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


def start(run: RunDirectory, unlock: Callable[[], None] = lambda: None) -> Submission:
    config = RunConfig.model_validate({"manifest": "m"})
    context = Context(run, config, cast("Manifest", None), Options(Console(quiet=True)))
    return scheduler_named("slurm").start(JOBS, context, unlock)


def test_each_job_waits_for_all_arrays_of_the_one_before(run: RunDirectory, commands: Commands) -> None:
    submission = start(run)
    assert commands.of("sbatch") == [
        ["--parsable", "--hold", "--array=0-1", "round-000-extract.sh", "0"],
        ["--parsable", "--hold", "--array=0", "round-000-extract.sh", "2"],
        ["--parsable", "--dependency=afterok:1:2", "round-000-cluster.sh"],
        ["--parsable", "--dependency=afterok:3", "round-000-plan.sh"],
    ]
    assert [task.id for task in submission.tasks] == ["1_0", "1_1", "2_0", "3", "4"]
    assert Submission.latest(run) == submission


def test_the_first_job_is_held_until_it_can_have_the_lock(run: RunDirectory, commands: Commands) -> None:
    """On an idle node it would begin, find the run in use by `subspace submit`, and end the whole chain."""
    start(run, unlock=lambda: commands.calls.append(["unlock"]))
    *_, last, unlocked, first, second = commands.calls
    assert last[-1] == "round-000-plan.sh"
    assert unlocked == ["unlock"]
    assert [first, second] == [["scontrol", "release", "1"], ["scontrol", "release", "2"]]


def test_jobs_that_cannot_be_released_are_taken_back(run: RunDirectory, commands: Commands) -> None:
    commands.refuses = "1"
    with pytest.raises(StoppedEarly):
        start(run)
    assert commands.calls[-2] == ["scontrol", "release", "1"]
    assert commands.of("scancel") == [["1_0", "1_1", "2_0", "3", "4"]]


def test_a_signal_between_two_jobs_takes_back_the_first(run: RunDirectory, commands: Commands) -> None:
    """Half a chain would train a round, and nobody would know why the rest is missing."""
    before = start(run)
    commands.calls.clear()
    commands.refuses = "round-000-plan.sh"
    with pytest.raises(StoppedEarly):
        start(run)
    assert commands.of("scancel") == [["1_0", "1_1", "2_0", "3"]]
    assert ["scontrol", "release", "1"] not in commands.calls
    assert Submission.latest(run) == before  # whose logs say what failed


def test_live_and_cancel_speak_of_the_users_jobs(run: RunDirectory, commands: Commands) -> None:
    submission = Submission(run.path / "jobs" / "001", "slurm", (Task("p", "plan", "start", "3"),), (), "ann")
    scheduler = scheduler_named("slurm")
    assert scheduler.live(run, submission) == {"2_0": "RUNNING", "3": "PENDING", "77": "RUNNING"}
    assert commands.of("squeue")[0][0] == "--user=ann"
    scheduler.cancel(run, submission, ["3", "2_0", "3"])
    assert commands.of("scancel") == [["2_0", "3"]]
    assert scheduler.logs(run, submission) == submission.folder / "logs"


def test_a_path_with_a_line_break_is_refused(tmp_path: Path, commands: Commands) -> None:
    with pytest.raises(InputError, match="line break"):
        start(RunDirectory(tmp_path / "a\nb"))


def test_without_slurm_it_says_so(small_manifest: Path, tmp_path: Path) -> None:
    new_run = tmp_path / "run"
    assert subspace("init", new_run, "--manifest", small_manifest, *QUICK).returncode == 0
    command = [sys.executable, "-m", "subspace.pipeline.cli", "submit", str(new_run), "--scheduler", "slurm"]
    done = subprocess.run(
        command, env={**os.environ, "PATH": "/nowhere"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "there is no scontrol here" in done.stderr
    assert not list((new_run / "jobs").glob("*/submission.json"))
