"""The first answer: yes, no, or not to be told, by intervals; and a baseline only on the same images."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_runs import examine, finish, made_up_run, train

from subspace.pipeline.report.run_report import RunReport
from subspace.pipeline.report_sections.outcome import make_outcome, measured


def said(path: Path, baseline: Path | None = None) -> str:
    return str(make_outcome(RunReport.open(path, baseline=baseline)).html).replace("\xa0", " ")


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.60, "Yes: Rank-1 is 60.0 % after round 0, 50.0 % at the start: 10.0 points more, and the 95 % intervals do not touch"),
        (0.40, "No: Rank-1 is 40.0 %"),
        (0.53, "It cannot be told: Rank-1 is 53.0 % after round 0, 50.0 % at the start: 3.0 points more, and the 95 % intervals overlap"),
    ],
)  # fmt: skip
def test_the_verdict_goes_by_the_intervals(value: float, verdict: str, tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run")
    examine(run.start, "eval", 0.5)
    examine(run.round(0), "eval", value)
    text = said(run.path)
    assert verdict in text
    assert f"{100 * value:.1f} [{100 * value - 2:.1f}, {100 * value + 2:.1f}]" in text
    assert "No run with random batches is set beside it" in text


def test_a_baseline_on_the_same_images_stands_beside(tmp_path: Path) -> None:
    run, other = made_up_run(tmp_path / "run"), made_up_run(tmp_path / "other")
    for each, value, seed in ((run, 0.7, 1), (other, 0.6, 2)):
        train(each.round(0), 20)
        examine(each.start, "eval", 0.5, seed=seed)
        examine(each.round(0), "eval", value, seed=seed)
    text = said(run.path, other.path)
    assert (
        "The baseline came to 60.0 %. This run has 10.0 points more, and the 95 % intervals do not touch."
        in text
    )
    assert "The baseline is other: 20 training steps, this run 20." in text
    examine(other.round(0), "eval", 0.6, **{"evaluate.fars": [0.1]})  # chooses metrics, not images
    assert "The baseline came to 60.0 %." in said(run.path, other.path)
    examine(other.round(0), "eval", 0.6, manifest="another")
    text = said(run.path, other.path)
    assert "other was examined on other images" in text
    assert "60.0" not in text


def test_validation_stands_in_and_nothing_is_said_in_a_sentence(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run")
    finish(run.start, "pretrain", steps=0)
    assert "No network has been evaluated yet" in said(run.path)
    examine(run.start, "validate", 0.5)
    assert "Rank-1 of the network of start is 50.0 %; no other network of this run is evaluated yet." in said(
        run.path
    )
    assert "these are the validation figures" in said(run.path)
    found = measured(run)
    assert found is not None
    assert found.on == "validation"
