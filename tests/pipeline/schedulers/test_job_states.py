"""The states of a scheduler's tasks, and whether their work is done, by what the markers and the parts say."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

import pytest

from subspace.mining.manifest import Manifest
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.options import Options
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.schedulers import job_states, slurm
from subspace.pipeline.schedulers.job_states import _Done, read_job_states, with_jobs
from subspace.pipeline.schedulers.submission import Submission, Task
from subspace.pipeline.stages.context import Context
from subspace.pipeline.status import StageStatus, stage_statuses

EVAL = Task("round-000-eval", "eval", "round-000", "8")
MORE = Task("round-000-more", "plan", "round-000", "9")
"""As `recluster.stale_below` has it."""


@pytest.fixture
def context(tmp_path: Path) -> Context:
    config = RunConfig.model_validate({"manifest": "m"})
    return Context(RunDirectory(tmp_path), config, cast("Manifest", None), Options())


def rows(**states: str) -> list[StageStatus]:
    """Statuses of the stages of a round."""
    return [StageStatus("round-000", stage, state, None, "") for stage, state in states.items()]


def test_shards_of_a_round_whose_means_come_from_training_are_not_done(
    finished_run: Path, tmp_path: Path
) -> None:
    """They were submitted before `recluster.refresh=running` was: the round has no parts any more."""
    run = Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    (run / "round-001" / "done" / "extract.json").unlink()
    shard = Task("round-001-extract", "extract", "round-001", "7_0", (0,), 3)
    for settings in ([], ["recluster.refresh=running"]):
        context = Context.open(run, settings)
        assert not _Done(context, stage_statuses(context))(shard)


def test_what_has_a_marker_is_done(finished_run: Path) -> None:
    context = Context.open(finished_run)
    assert _Done(context, stage_statuses(context))(
        Task("round-001-extract", "extract", "round-001", "7_0", (0,), 3)
    )


def test_a_job_of_two_stages_is_done_with_both(context: Context) -> None:
    """The job `eval` validates too; without test identities that is all."""
    left = rows(train="done", extract="to do")
    assert _Done(context, [*left, *rows(validate="done")])(EVAL)
    assert _Done(context, [*left, *rows(validate="done", eval="unchecked")])(EVAL)
    assert not _Done(context, [*left, *rows(validate="to do", eval="done")])(EVAL)
    assert not _Done(context, left)(EVAL)


def test_a_job_that_submits_the_rest_is_done_with_the_run(context: Context) -> None:
    ended = rows(plan="done", train="done")
    assert _Done(context, ended)(MORE)
    assert not _Done(context, [*ended, StageStatus("round-001", "extract", "to do", None, "")])(MORE)


@pytest.mark.parametrize(
    ("squeue", "state"), [("", "failed"), ("9|PENDING", "queued"), ("9|RUNNING", "running")]
)
def test_a_job_that_submits_the_rest_stands_at_what_is_left(
    context: Context, monkeypatch: pytest.MonkeyPatch, squeue: str, state: str
) -> None:
    """Its round ended early, so that there is another one, which has no jobs yet."""
    monkeypatch.setattr(slurm, "_call", lambda command: squeue)
    plan = Task("round-000-plan", "plan", "round-000", "7")
    submission = Submission.new(context.run, "slurm").with_tasks([plan, EVAL, MORE])
    for task in submission.tasks:
        (submission.logs / task.log).touch()
    left = [StageStatus("round-001", stage, "to do", None, "") for stage in ("extract", "cluster")]
    statuses = [*rows(plan="done", validate="done"), *left]
    monkeypatch.setattr(job_states, "stage_statuses", lambda context: statuses)
    read, states = read_job_states(context, submission)
    assert read == statuses
    assert getattr(states, state) == (MORE,)
    assert states.are_live == bool(squeue)
    *ended, extract, cluster = with_jobs(statuses, states)
    assert ended == statuses[:2]
    assert (extract.state, extract.note, extract.jobs) == (state, f"job 9 {state}", ("9",))
    assert cluster == left[1]
