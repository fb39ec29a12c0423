"""A run as its report sees it: refused in a line where nothing is done, and open without its manifest."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_runs import finish, made_up_run, train

from subspace.mining import InputError
from subspace.pipeline.report.run_report import RunReport


def test_nothing_done_is_refused_in_a_line(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run")
    with pytest.raises(InputError, match=r"nothing is done in .*run yet.*`subspace run ") as refused:
        RunReport.open(run.path)
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="is not a run"):
        RunReport.open(tmp_path / "none")
    finish(run.start, "pretrain", steps=0)
    with pytest.raises(InputError, match="other is not a run"):
        RunReport.open(run.path, baseline=tmp_path / "other")


def test_folders_and_the_latest_of_a_stage(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run")
    train(run.round(0), 20)
    finish(run.round(1), "extract", identities=30)
    report = RunReport.open(run.path)
    assert [folder.name for folder in report.folders] == ["start", "round-000", "round-001"]
    assert report.manifest is None
    for stage, name in (("cluster", "round-000"), ("extract", "round-001")):
        latest = report.latest(stage)
        assert latest is not None
        assert latest.name == name
    assert report.latest("eval") is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gone.parquet", "gone.parquet"),
        ("s3://bucket/a/b/c/photos/all.parquet", "…/photos/all.parquet"),
        ("/" + "deep/" * 9 + "all.parquet", "…/deep/all.parquet"),
    ],
)
def test_a_sentence_has_the_end_of_a_long_path(tmp_path: Path, given: str, said: str) -> None:
    run = made_up_run(tmp_path / "run")
    run.config.write_text(f"manifest: {given}\n")
    train(run.round(0), 20)
    assert RunReport.open(run.path).manifest_name == said
