"""The first answer: yes, no, or not to be told, by intervals; and a baseline only on the same images."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from made_up_runs import examine, finish, made_up_run, train

from subspace.pipeline.report.run_report import RunReport
from subspace.pipeline.report_sections.outcome import make_outcome, measured, network_words


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


@pytest.mark.parametrize(("value", "verdict"), [(0.04, "Yes: EER is 4.0 %"), (0.2, "No: EER is 20.0 %")])
def test_less_of_an_error_is_better(value: float, verdict: str, tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run")
    examine(run.start, "eval", 0.1, metric="EER")
    examine(run.round(0), "eval", value, metric="EER")
    text = said(run.path)
    assert f"{verdict} after round 0, 10.0 % at the start" in text


def test_a_metric_of_which_more_is_better_answers_if_there_is_one(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run")
    for folder, value in ((run.start, 0.5), (run.round(0), 0.6)):
        examine(folder, "eval", 0.1, metric="EER")
        figures = json.loads(folder.evaluation.read_text())
        figures["metrics"]["TAR@FAR=1e-4"] = {"value": value, "low": value - 0.02, "high": value + 0.02}
        folder.evaluation.write_text(json.dumps(figures))
    assert "Yes: TAR@FAR=1e-4 is 60.0 % after round 0, 50.0 % at the start" in said(run.path)


def test_networks_that_were_examined_on_other_images_are_named_and_not_compared(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run")
    examine(run.start, "eval", 0.5, **{"eval.distractors": 900})
    examine(run.round(0), "eval", 0.6)
    text = said(run.path)
    assert "Rank-1 of the network of round 0 is 60.0 %; no other network of this run is evaluated on the same images." in text  # fmt: skip
    assert "Not shown, since it was examined on other images: start." in text
    assert "50.0" not in text
    train(run.round(0), 20)
    examine(run.round(1), "eval", 0.7)
    words = "Rank-1 of the network of round 1 is 70.0 %; the starting network is not evaluated by it on the same images."
    assert words in said(run.path)


def test_a_baseline_on_the_same_images_stands_beside(tmp_path: Path) -> None:
    run, other = made_up_run(tmp_path / "run"), made_up_run(tmp_path / "other")
    for each, value, seed in ((run, 0.7, 1), (other, 0.6, 2)):
        train(each.round(0), 20)
        examine(each.start, "eval", 0.5, seed=seed)
        examine(each.round(0), "eval", value, seed=seed)
    text = said(run.path, other.path)
    words = "The baseline came to 60.0 % after round 0. This run has 10.0 points more, and the 95 % intervals do not touch."
    assert words in text
    assert "The baseline is other: 20 training steps, this run 20." in text
    examine(other.round(0), "eval", 0.6, **{"evaluate.fars": [0.1]})  # chooses metrics, not images
    assert "The baseline came to 60.0 % after round 0." in said(run.path, other.path)
    examine(other.round(0), "eval", 0.6, manifest="another")
    text = said(run.path, other.path)
    assert "other was examined on other images" in text
    assert "60.0" not in text


@pytest.mark.parametrize(
    ("own", "its"), [((0, 1), (-1, 0, 1)), ((-1, 0, 2), (-1, 0, 1, 2)), ((-1, 9, 10), (-1, 8))]
)
def test_the_chart_has_the_networks_of_both_runs_in_order(
    own: tuple[int, ...], its: tuple[int, ...], tmp_path: Path
) -> None:
    """Those of the baseline that the run has not came last, the start too."""
    run, other = made_up_run(tmp_path / "run"), made_up_run(tmp_path / "other")
    for each, indices in ((run, own), (other, its)):
        for index in range(max(indices) + 1):
            train(each.round(index), 20)
        for index in indices:
            examine(each.round(index), "eval", 0.6)
    found = re.search(r'"sort":\s*(\[[^]]*\])', said(run.path, other.path))
    assert found is not None
    assert json.loads(found[1]) == [network_words(run.round(index)) for index in sorted({*own, *its})]


def test_another_seed_of_the_baseline_is_said(tmp_path: Path) -> None:
    run, other = made_up_run(tmp_path / "run"), made_up_run(tmp_path / "other")
    examine(run.round(0), "eval", 0.7, seed=1)
    words = "The seeds of the two runs draw other images of the same identities: figures differ by that, too."
    for seed, is_said in ((1, False), (2, True)):
        examine(other.round(0), "eval", 0.6, seed=seed)
        assert (words in said(run.path, other.path)) is is_said


def test_a_baseline_of_which_another_seed_drew_the_identities_is_not_set_beside(tmp_path: Path) -> None:
    run, other = made_up_run(tmp_path / "run"), made_up_run(tmp_path / "other")
    for limit, is_beside in ((101, True), (100, False)):  # each has 100
        for seed, each in enumerate((run, other)):
            examine(each.round(0), "validate", 0.7, seed=seed, **{"validation.identities": limit})
        text = said(run.path, other.path)
        assert ("The baseline came to 70.0 %" in text) is is_beside
        assert ("other was examined on other images" in text) is not is_beside


def test_a_baseline_that_is_not_trained_yet_is_named_as_its_start(tmp_path: Path) -> None:
    run, other = made_up_run(tmp_path / "run"), made_up_run(tmp_path / "other")
    examine(run.round(0), "eval", 0.7)
    examine(other.start, "eval", 0.5)
    text = said(run.path, other.path)
    assert "The baseline came to 50.0 % at its start. This run has 20.0 points more" in text
    assert "50.0 [48.0, 52.0] % for the baseline at its start." in text
    assert "Rank-1, baseline, start" in text


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
