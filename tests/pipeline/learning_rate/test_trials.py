"""RUN/lr/trials.json: searches side by side, each by all that it depends on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from subspace.mining import StaleArtifactError
from subspace.pipeline.learning_rate.trials import Trial, Trials
from subspace.pipeline.learning_rate.verdict import newest_in_words

FIGURES = {"Rank-1": {"value": 0.9, "low": 0.85, "high": 0.95}}


def trial(rate: float) -> Trial:
    return Trial(rate, "done", 40, 1920, 2.5, "cpu", FIGURES, [[20, 0.9], [40, 0.5]])


def test_trials_are_found_again_by_what_they_depend_on(tmp_path: Path) -> None:
    path = tmp_path / "lr" / "trials.json"
    first = Trials.open(path, {"steps": 40, "train.loss": "arcface"})
    assert first.trials == []
    first.start = FIGURES
    first.add(trial(0.1))
    first.add(trial(0.001))
    other = Trials.open(path, {"steps": 41, "train.loss": "arcface"})
    assert (other.start, other.trials, other.of(0.1)) == (None, [], None)
    other.add(trial(10.0))
    again = Trials.open(path, {"train.loss": "arcface", "steps": 40})
    assert (again.start, again.trials, again.of(0.1)) == (FIGURES, [trial(0.001), trial(0.1)], trial(0.1))
    assert [entry["fields"]["steps"] for entry in json.loads(path.read_text())["searches"]] == [40, 41]


def test_the_newest_search_in_words(tmp_path: Path) -> None:
    path = tmp_path / "trials.json"
    assert newest_in_words(path) == ""
    search = Trials.open(path, {})
    search.start = {"Rank-1": {"value": 0.2, "low": 0.15, "high": 0.25}}
    search.add(trial(0.1))
    assert newest_in_words(path) == "1 rate tried so far"
    search.keep_best("Rank-1", trial(0.1))
    assert newest_in_words(path) == "0.1 is the best of 1 rate, Rank-1 90.0 % on validation"
    before = path.stat().st_mtime_ns
    search.keep_best("Rank-1", trial(0.1))
    assert path.stat().st_mtime_ns == before
    search.add(trial(0.2))  # of a search that goes on: the best of one is not the best of two
    assert newest_in_words(path) == "2 rates tried so far"
    search.trials.pop()
    search.keep_best("Rank-1", trial(0.1))
    search.start = {"Rank-1": {"value": 0.87, "low": 0.8, "high": 0.92}}  # within the interval of the best
    search.save()
    assert newest_in_words(path) == (
        "none of 1 rate surely gains on the start, Rank-1 87.0 % on validation; the best, 0.1, has Rank-1 90.0 %"
    )


def test_keys_of_a_later_version_pass(tmp_path: Path) -> None:
    path = tmp_path / "trials.json"
    Trials.open(path, {}).add(trial(0.1))
    found = json.loads(path.read_text())
    found["searches"][0]["trials"][0]["later"] = 1
    path.write_text(json.dumps(found))
    assert Trials.open(path, {}).trials == [trial(0.1)]


@pytest.mark.parametrize("text", ["{", "[]", '{"searches": 1}', '{"searches": [{"trials": []}]}'])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "trials.json").write_text(text)
    with pytest.raises(StaleArtifactError, match=r"trials\.json"):
        Trials.open(tmp_path / "trials.json", {})
