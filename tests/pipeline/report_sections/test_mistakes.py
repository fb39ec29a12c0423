"""The worst mistakes of the evaluation, and runs that kept none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from subspace.pipeline.report.run_report import RunReport
from subspace.pipeline.report_sections.mistakes import make_mistakes


def test_the_worst_are_shown_with_both_cosines(finished_run: Path) -> None:
    table = pq.read_table(finished_run / "round-001" / "mistakes.parquet")
    html = str(make_mistakes(RunReport.open(finished_run)).html)
    worst = table.slice(0, 1).to_pylist()[0]
    for words in (
        f'alt="{worst["identity"]}, the test image"',
        f'alt="{worst["wrong_identity"]}, what it was taken for"',
        f"taken for<br><b>{worst['wrong_similarity']:.3f}</b>",
        f"its own<br><b>{worst['right_similarity']:.3f}</b>",
    ):
        assert words in html
    evaluation = json.loads((finished_run / "round-001" / "evaluation.json").read_text())
    metadata = table.schema.metadata
    assert int(metadata[b"probes"]) == evaluation["probes"]
    wrong = 1 - evaluation["metrics"]["Rank-1"]["value"]
    assert int(metadata[b"mistaken"]) == round(wrong * evaluation["probes"])


def test_a_sample_of_the_probes_is_said_to_be_one(finished_run: Path, tmp_path: Path) -> None:
    """It was told of as if all test images had been looked at."""
    html = str(make_mistakes(RunReport.open(finished_run)).html).replace("\xa0", " ")
    assert "drawn from" not in html
    assert " of 63 test images for another identity" in html
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    path = run / "round-001" / "mistakes.parquet"
    table = pq.read_table(path)
    found = {
        **table.schema.metadata,
        b"probes": b"20",
        b"mistaken": b"7",
    }  # as `compared` has it where it is small
    pq.write_table(table.replace_schema_metadata(found), path)
    html = str(make_mistakes(RunReport.open(run)).html).replace("\xa0", " ")
    assert "takes 7 of 20 test images drawn from 63 for another identity. Below are the" in html


def test_a_run_of_an_earlier_version_says_how_to_get_them(finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    (run / "round-001" / "mistakes.parquet").unlink()
    html = str(make_mistakes(RunReport.open(run)).html)
    assert "kept no single mistakes" in html
    assert "--force" in html
    shutil.rmtree(run / "start" / "done")
    for done in run.glob("round-*/done/eval.json"):
        done.unlink()
    assert "No network has been evaluated yet." in str(make_mistakes(RunReport.open(run)).html)
