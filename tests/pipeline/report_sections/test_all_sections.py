"""The whole report: of made-up runs, of a half-done one, of hostile ones, and as a command on a real one.

Covers pipeline/report_sections/hardness.py, pipeline/report_sections/activity.py, pipeline/report_sections/curves.py,
pipeline/report_sections/subspaces.py, pipeline/report_sections/time_spent.py, pipeline/report_sections/provenance.py and
pipeline/commands/reports.py, too.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from made_up_runs import examine, finish, log, made_up_run, train

from subspace.mining import StaleArtifactError
from subspace.mining.parquet_tables import read_parquet, write_parquet
from subspace.mining.schemas import CENTROIDS
from subspace.pipeline.cli import app
from subspace.pipeline.report import page as page_module
from subspace.pipeline.report.run_report import RunReport
from subspace.pipeline.report.write_report import MOST_BYTES
from subspace.pipeline.report_sections.all_sections import SECTIONS
from subspace.pipeline.report_sections.curves import make_curves
from subspace.pipeline.report_sections.subspaces import make_subspaces
from subspace.pipeline.run_directory import RunDirectory

NAMES = ["outcome", "hardness", "activity", "curves", "subspaces", "time_spent", "settings", "provenance"]
"""In the order of the page."""


@pytest.fixture
def without_vega(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page without the library, which takes seconds to bundle."""
    monkeypatch.setattr(page_module, "charts_library", lambda: "")


def whole_run(path: Path, settings: str = "") -> RunDirectory:
    run = made_up_run(path, settings)
    finish(run.start, "pretrain", steps=0)
    examine(run.start, "eval", 0.5)
    examine(run.start, "validate", 0.5)
    for index in range(2):
        train(run.round(index), 40)
        examine(run.round(index), "eval", 0.7 + index / 10)
        examine(run.round(index), "validate", 0.7 + index / 10)
    return run


def html(run: RunDirectory, *options: str) -> str:
    app(["report", str(run.path), "--quiet", *options], standalone_mode=False)
    return (run.path / "report.html").read_text(encoding="utf-8").replace("\xa0", " ")


def test_a_finished_run_answers_all(tmp_path: Path, without_vega: None) -> None:
    run = whole_run(tmp_path / "run", "plan: {steps: 40}")
    text = html(run)
    places = [text.index(f'<section id="{name}"') for name in NAMES]
    assert places == sorted(places)
    for sentence in (
        "Yes: Rank-1 is 80.0 % after round 1",
        "In round 1 the nearest other identity of a batch is at cosine 0.60 on average; in random batches of the same size at 0.40",
        "Cosines at the end: one identity at 0.80, others, as mined at 0.50.",
        "50.0 % of the triplets of a batch still broke the margin",
        "Rank-1 on the validation identities went from 50.0 % to 80.0 %; the best network is that of round 1",
        "In round 1 there are 3 subspaces of 8 to 12 identities. 75 % of an identity's 10 nearest neighbours",
        "they meet 2.5 times more often",
        "All stages together took 39 s: training 54 %, mining 31 %, measuring 15 %",
        "The largest part of a training step is forward",
        "2 settings of",
        f"subspace run {run.path}\nsubspace status {run.path} --verify\nsubspace report",
        "subspace plan",
        "round-001-train",
    ):
        assert sentence.replace("'", "&#39;") in text, sentence
    charts = re.findall(r'<figure class="chart" id="chart-([\w-]+)">(.*?)</figure>', text, re.DOTALL)
    assert len({name for name, _ in charts}) == len(charts) >= 13
    for _, chart in charts:
        assert re.search(r'role="img" aria-label="[^"]{20,}"', chart)
        assert re.search(r"<figcaption>[^<]{20,}</figcaption>", chart)
        assert chart.count("<tr>") > 1
        json.loads(re.findall(r'<script type="application/json" id="spec-[\w-]+">(.*?)</script>', chart)[0])
    assert html(run) == text, "the same bytes"


def test_a_half_done_run_has_a_report(tmp_path: Path, without_vega: None) -> None:
    run = made_up_run(tmp_path / "run")
    finish(run.start, "pretrain", steps=0)
    text = html(run)
    for sentence in (
        "No network has been evaluated yet",
        "No batches have been planned yet",
        "Nothing has been trained in a round yet",
        "The identities have not been clustered yet",
        "0 of 2 rounds trained",
    ):
        assert sentence in text
    finish(run.round(0), "cluster", subspaces=1, smallest=30, largest=30)
    finish(run.round(0), "plan", batches=5, hardness=None, random_hardness=None)
    log(run.round(0), [{"step": 9, "loss": 1.0, "active_fraction": None, "seconds": 1.0}])
    text = html(run)
    assert (
        "In round 0 there is one subspace of 30 identities: look-alikes are sought among all identities."
        in text
    )
    assert "The plans of this run do not say how hard they are" in text
    assert "The log of this run has no active share: its loss, multi_similarity, did not report one." in text
    assert "The loss went from 1.000 to 1.000" in text


def test_batches_of_one_subspace_are_random_where_its_plan_has_no_groups(tmp_path: Path) -> None:
    run = whole_run(tmp_path / "run")
    finish(run.round(1), "cluster", subspaces=1, smallest=30, largest=30, kept=0.0, **{"recall@10": 1.0})
    for strategy, words in (
        ("mixed", "look-alikes are sought among all identities"),
        ("graph", "look-alikes are sought among all identities"),
        ("random", "batches are random"),
        ("subspace", "batches are random"),
    ):
        finish(run.round(1), "plan", fields={"plan.strategy": strategy}, batches=40)
        text = str(make_subspaces(RunReport.open(run.path)).html).replace("\xa0", " ")
        assert f"In round 1 there is one subspace of 30 identities: {words}." in text
    assert "75.0 % of the 10 nearest neighbours share the subspace." in text, "of the round before"
    assert "The subspaces of round 0 are like those of the round before to 0.40" in text


def said_of_curves(run: RunDirectory) -> str:
    return str(make_curves(RunReport.open(run.path)).html).replace("\xa0", " ")


def test_of_equal_validations_the_first_trained_one_is_the_best(tmp_path: Path) -> None:
    run = whole_run(tmp_path / "run")
    for folder in (run.start, run.round(0), run.round(1)):
        examine(folder, "validate", 0.7)
    assert "the best network is that of round 0, 70.0 %." in said_of_curves(run)
    run.start.marker("validate").unlink()
    examine(run.round(1), "validate", 0.8)
    assert "went from 70.0 % to 80.0 %; the best network is that of round 1, 80.0 %." in said_of_curves(run)


def test_validations_on_other_images_are_named_and_not_drawn(tmp_path: Path) -> None:
    run = whole_run(tmp_path / "run")
    examine(run.start, "validate", 0.9, **{"validation.distractors": 900})
    text = said_of_curves(run)
    assert (
        "went from 70.0 % to 80.0 %; the best network is that of round 1, 80.0 %. Not shown, since it was"
        in text
    )
    assert "examined on other images: start." in text


def test_pretraining_has_its_curve(tmp_path: Path, without_vega: None) -> None:
    run = made_up_run(tmp_path / "run", "pretrain: {loss: arcface}")
    finish(run.start, "pretrain", steps=8)
    log(run.start, [{"step": step, "loss": 8.0 - step, "seconds": 1.0} for step in range(8)])
    text = html(run)
    assert "Nothing has been trained in a round yet." in text
    assert "The loss of pretraining (arcface) went from 8.000 to 1.000." in text


def test_equal_sizes_and_shares_are_one_number(tmp_path: Path, without_vega: None) -> None:
    run = whole_run(tmp_path / "run")
    for index in range(2):
        table = read_parquet(run.round(index).centroids, CENTROIDS)
        equal = table.set_column(1, "size", pa.array([10, 10, 10], pa.int32()))
        write_parquet(run.round(index).centroids, CENTROIDS, equal, "fingerprint")
    text = html(run)
    assert "there are 3 subspaces of 10 identities." in text
    assert "75.0 % of the 10 nearest neighbours share the subspace." in text
    assert not re.search(r"\b([\d.]+)( %)? (to|and) \1 ", text)


def test_logs_of_any_loss_have_cosines_and_active_images_beside_a_baseline(
    tmp_path: Path, without_vega: None
) -> None:
    run, other = whole_run(tmp_path / "run"), whole_run(tmp_path / "other")
    for each, near in ((run, 0.6), (other, 0.4)):
        for index in range(2):
            line = {
                "step": 9,
                "loss": 1.0,
                "active_fraction": None,
                "active_images": near / 2,
                "cosine_positive": 0.8,
            }
            log(each.round(index), [{**line, "cosine_nearest_negative": near, "seconds": 1.0}])
    text = html(run, "--baseline", str(other.path))
    assert "one identity at 0.80, nearest other at 0.60, nearest other, baseline at 0.40" in text
    assert "30.0 % of the images of a batch still had a look-alike" in text
    assert "Of the baseline&#39;s it was 20.0 % and 20.0 %." in text


def test_hostile_names_stay_names(tmp_path: Path, without_vega: None) -> None:
    bad = "</script><script>alert('1')</script>\x1b[2J\u202e.parquet"
    run = whole_run(
        tmp_path / "<img src=x onerror=alert(1)>",
        f"manifest: {json.dumps(bad)}".replace("manifest", "weights", 1),
    )
    examine(run.round(1), "eval", 0.9, metric="</script><b>1")
    text = html(run)
    assert "alert" in text
    assert not re.search(r"<(img|b)\b", text)
    assert len(re.findall(r"<script>", text)) == 2
    assert text.count("</script>") == len(re.findall(r"<script\b", text))
    assert not set(text) & set("\x1b\u202e")
    assert r"\x1b[2J\u202e.parquet" in text


def test_a_damaged_log_is_named_and_writes_nothing(tmp_path: Path, without_vega: None) -> None:
    run = whole_run(tmp_path / "run")
    run.round(0).metrics.write_text("{}\n")
    with pytest.raises(StaleArtifactError, match=r"metrics\.jsonl.*line 1"):
        html(run)
    assert not (run.path / "report.html").exists()


def test_the_command_says_what_it_would_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = whole_run(tmp_path / "run")
    app(["report", str(run.path), "--dry-run", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == {"report": str(run.path / "report.html"), "written": False}
    assert not (run.path / "report.html").exists()


def test_a_real_run_with_vega_in_one_file(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.html"
    before = sorted(path for path in finished_run.rglob("*"))
    app(["report", str(finished_run), "--out", str(out), "--json"], standalone_mode=False)
    said = json.loads(capsys.readouterr().out)
    assert said["report"] == str(out)
    assert said["sections"] == [
        section.name for make in SECTIONS if (section := make(RunReport.open(finished_run)))
    ]
    assert said["bytes"] == out.stat().st_size < MOST_BYTES
    text = out.read_text(encoding="utf-8")
    assert "vegaEmbed" in text
    shown = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    assert "subspace clean" in shown
    assert not re.findall(r".{20}(?:`|\\n).{20}", shown), "marks of ours that no one has made into markup"
    assert sorted(path for path in finished_run.rglob("*")) == before
    shutil.rmtree(tmp_path)
