"""A report is whole or absent; its first lines say how far the run is."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_runs import made_up_run, train
from markupsafe import Markup

from subspace.mining import InputError
from subspace.pipeline.report import write_report as module
from subspace.pipeline.report.run_report import RunReport
from subspace.pipeline.report.section import Section
from subspace.pipeline.report.write_report import make_page, report_lines


def test_sections_that_a_run_cannot_have_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made_up_run(tmp_path / "run", "rounds: 3")
    train(run.round(0), 20)
    report, seen = RunReport.open(run.path, seed=7), []
    monkeypatch.setattr(
        module, "render_page", lambda name, lines, sections: f"{name} {[part.name for part in sections]}"
    )
    one = Section("one", "One", Markup(""))
    made = make_page(
        report, [lambda report: one, lambda report: None], tmp_path / "r.html", track=seen.append
    )
    assert (tmp_path / "r.html").read_text() == "run ['one']"
    assert made == [one]
    assert seen == [1, 1]
    assert report_lines(report) == [
        "1 of 3 rounds trained; images of gone.parquet, which is gone.",
        "Samples are drawn by seed 7.",
    ]


def test_a_failure_leaves_the_page_that_was(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run")
    train(run.round(0), 20)
    out = tmp_path / "r.html"
    out.write_text("before")

    def fail(report: RunReport) -> Section:
        raise InputError("a damaged table")

    with pytest.raises(InputError, match="damaged"):
        make_page(RunReport.open(run.path), [fail], out)
    assert out.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["r.html"]
