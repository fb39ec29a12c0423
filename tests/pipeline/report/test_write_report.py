"""A report is whole or absent; its first lines say how far the run is."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_runs import finish, made_up_run, train
from markupsafe import Markup

from subspace.mining import InputError
from subspace.mining.manifest import Manifest
from subspace.pipeline.report import write_report as module
from subspace.pipeline.report.run_report import RunReport
from subspace.pipeline.report.section import Section
from subspace.pipeline.report.write_report import make_page, report_lines
from subspace.pipeline.report_sections.provenance import make_provenance


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


def test_a_manifest_that_has_changed_is_said_to_have(small_manifest: Path, tmp_path: Path) -> None:
    """The report counted the images of data that the network never saw. The section of fingerprints has both."""
    run = made_up_run(tmp_path / "run")
    run.config.write_text(f"manifest: {small_manifest}\n")
    now = Manifest.open(small_manifest).fingerprint
    lines, facts = {}, {}
    for then in (now, "before"):
        train(run.round(0), 20)
        finish(run.round(0), "train", fields={"manifest": then}, steps=20)
        report = RunReport.open(run.path)
        lines[then], facts[then] = report_lines(report)[0], str(make_provenance(report).html)
    assert "; 420 images of " in lines[now]
    assert lines["before"].endswith("glyphs.parquet, which has changed since the network was trained.")
    assert "420" not in lines["before"]
    assert f"<code>{now}</code>" in facts[now]
    assert f"<code>{now}; before when the network was trained</code>" in facts["before"]
    run.config.write_text("manifest: gone.parquet\n")
    gone = str(make_provenance(RunReport.open(run.path)).html)
    assert "<code>not known: it is gone; before when the network was trained</code>" in gone


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
