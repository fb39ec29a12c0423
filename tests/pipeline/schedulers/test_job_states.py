"""Whether the work of a scheduler's task is done, by what the markers and the parts say."""

from __future__ import annotations

import shutil
from pathlib import Path

from subspace.pipeline.schedulers.job_states import _Done
from subspace.pipeline.schedulers.submission import Task
from subspace.pipeline.stages.context import Context
from subspace.pipeline.status import stage_statuses


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
