"""A run as its report sees it: refused in a line where nothing is done, and open without its manifest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_up_runs import finish, made_up_run, train

from subspace.mining import InputError
from subspace.mining.cleaning.keep_table import table_to_keep
from subspace.mining.parquet_tables import write_parquet
from subspace.mining.schemas import KEEP
from subspace.pipeline.report.run_report import RunReport
from subspace.pipeline.report_sections.lookalikes import make_lookalikes
from subspace.pipeline.report_sections.suspects import make_suspects
from subspace.pipeline.run_directory import RunDirectory


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


def test_pictures_are_of_images_that_cleaning_left(finished_run: Path, tmp_path: Path) -> None:
    run = RunDirectory(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    book = RunReport.open(run.path).pictures
    assert book is not None
    identity = int(book.manifest.identities_in(["train"]).identity_id[0])
    every = sorted(book.rows_of(identity, 100))
    images = np.arange(len(book.manifest))
    kept = images != every[0]
    table = table_to_keep(images, book.manifest.identity_id, kept, np.array(["outlier"] * len(images)))
    write_parquet(tmp_path / "keep.parquet", KEEP, table, "0")
    settings = run.config.read_text()
    assert "cleaned: null" in settings
    run.config.write_text(settings.replace("cleaned: null", f"cleaned: {tmp_path / 'keep.parquet'}"))
    book = RunReport.open(run.path).pictures
    assert book is not None
    assert sorted(book.rows_of(identity, 100)) == every[1:]
    (tmp_path / "keep.parquet").unlink()
    book = RunReport.open(run.path).pictures
    assert book is not None
    assert sorted(book.rows_of(identity, 100)) == every


def test_a_round_whose_means_are_made_anew_is_not_looked_into(finished_run: Path, tmp_path: Path) -> None:
    run = RunDirectory(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    marker = run.round(1).marker("extract")
    of_other_settings = json.loads(marker.read_text()) | {"fingerprint": "another"}
    marker.write_text(json.dumps(of_other_settings))
    clustered = RunReport.open(run.path).clustered
    assert clustered is not None
    assert clustered.name == "round-000"
    marker.unlink()
    run.round(1).identities.unlink()
    report = RunReport.open(run.path)
    assert report.sample is not None
    assert report.sample.folder.name == "round-000"
    assert "Of round-000, from" in str(make_lookalikes(report).html)
    assert "suspected duplicates among" in str(make_suspects(report).html)
    run.round(0).marker("extract").unlink()
    run.round(0).identities.unlink()
    for make in (make_lookalikes, make_suspects):
        html = str(make(RunReport.open(run.path)).html)
        assert "The subspaces of round-001 are of other means than it has now" in html


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
