"""Rounds that follow from the start as it is, those that do not, and who must not count the latter."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import subspace

from subspace.pipeline.comparison.compared_run import ComparedRun
from subspace.pipeline.report.run_report import RunReport
from subspace.pipeline.report_sections.outcome import measured
from subspace.pipeline.round_chain import current_rounds, left_over
from subspace.pipeline.run_directory import RunDirectory


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> RunDirectory:
    return RunDirectory(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))


def change(run: RunDirectory, folder: str, stage: str, **fields: Any) -> None:
    marker = run.path / folder / "done" / f"{stage}.json"
    record = json.loads(marker.read_text())
    record["fields"] |= fields
    marker.write_text(json.dumps(record))


def test_a_finished_run_is_one_chain(run: RunDirectory) -> None:
    assert (current_rounds(run), left_over(run)) == ([0, 1], [])


@pytest.mark.parametrize("stage", ["extract", "train"])
def test_a_round_of_another_network_is_left_over_and_so_is_all_after_it(
    run: RunDirectory, stage: str
) -> None:
    change(run, "round-001", stage, network="another")
    assert (current_rounds(run), left_over(run)) == ([0], ["round-001"])
    change(run, "round-000", stage, network="another")
    assert (current_rounds(run), left_over(run)) == ([], ["round-000", "round-001"])


def test_a_round_under_way_is_current_and_nothing_after_it(run: RunDirectory) -> None:
    (run.round(0).path / "done" / "train.json").unlink()
    assert (current_rounds(run), left_over(run)) == ([0], ["round-001"])


def test_rounds_may_be_thrown_away(run: RunDirectory) -> None:
    shutil.rmtree(run.round(0).path)
    assert current_rounds(run) == [1]


def test_a_marker_of_a_version_that_did_not_say_so_is_believed(run: RunDirectory) -> None:
    change(run, "round-001", "train", network=None)
    assert current_rounds(run) == [0, 1]


def test_report_comparison_and_evaluation_count_current_rounds_alone(run: RunDirectory) -> None:
    change(run, "round-001", "train", network="another")
    assert [network.name for network in ComparedRun.read(run.path).networks] == ["start", "round-000"]
    assert [folder.name for folder in RunReport.open(run.path).rounds] == ["round-000"]
    found = measured(run)
    assert found is not None
    assert list(found.networks) == ["start", "round 0"]
    done = subspace("eval", run.path)
    assert done.returncode == 0, done.stderr
    assert "round-001: made from another network than lies before it now; not counted" in done.stdout
    assert not re.search(r"^round-001 +\d", done.stdout, re.MULTILINE)


def test_figures_of_a_network_before_it_was_made_again_are_none_of_its(run: RunDirectory) -> None:
    change(run, "round-001", "eval", network="of before")
    last = ComparedRun.read(run.path).networks[-1]
    assert (last.name, sorted(last.figures)) == ("round-001", ["validation"])
    found = measured(run)
    assert found is not None
    assert list(found.networks) == ["start", "round 0"]
