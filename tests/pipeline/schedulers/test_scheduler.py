"""The face of all schedulers and the table of those there are (pipeline/scheduler_registry.py)."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import get_args

import pytest

from subspace import pipeline
from subspace.mining.errors import InputError
from subspace.pipeline import scheduler_registry
from subspace.pipeline.configuration.schedule_config import ScheduleConfig
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.scheduler_registry import SCHEDULERS, SchedulerName, resolve_name
from subspace.pipeline.schedulers.scheduler import NotAskedError, Scheduler, scheduler_named
from subspace.pipeline.schedulers.submission import Submission, Task


def test_every_scheduler_has_a_row_and_a_setting() -> None:
    assert tuple(SCHEDULERS) == get_args(SchedulerName)
    for name in SCHEDULERS:
        assert ScheduleConfig.model_validate({"scheduler": name}).scheduler == name


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_has_the_five_calls(name: str) -> None:
    scheduler = scheduler_named(name)
    for call in ("show", "start", "live", "cancel", "logs"):
        wanted = inspect.signature(getattr(Scheduler, call)).parameters
        assert list(inspect.signature(getattr(type(scheduler), call)).parameters) == list(wanted)


def test_an_unknown_scheduler_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="there is no scheduler pbs; there are slurm, local, kubernetes"):
        scheduler_named("pbs")


def test_auto_is_slurm_where_there_is_sbatch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert resolve_name("auto") == "local"
    (tmp_path / "sbatch").write_text("")
    (tmp_path / "sbatch").chmod(0o755)
    assert resolve_name("auto") == "slurm"
    assert resolve_name("kubernetes") == "kubernetes"


def test_what_only_the_user_asks_names_the_commands(tmp_path: Path) -> None:
    run, scheduler = RunDirectory(tmp_path), scheduler_named("kubernetes")
    task = Task("start-eval", "eval", "start", "faces/run-123456-001-start-eval")
    submission = Submission(tmp_path / "jobs" / "001", "kubernetes", (task,))
    for call in (scheduler.live, scheduler.logs):
        with pytest.raises(
            NotAskedError, match=r"kubectl logs .*--namespace faces --selector subspace\.run=run-123456`"
        ):
            call(run, submission)


def test_only_the_table_compares_names_of_schedulers() -> None:
    """A new scheduler is its own module and its row: nothing else asks which one it has."""
    root = Path(pipeline.__path__[0])
    for path in root.rglob("*.py"):
        if path == Path(scheduler_registry.__file__):
            continue
        compared = {
            part.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, (ast.Compare, ast.Dict, ast.match_case))
            for part in ast.walk(node.pattern if isinstance(node, ast.match_case) else node)
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
        }
        assert not compared & set(SCHEDULERS), path
