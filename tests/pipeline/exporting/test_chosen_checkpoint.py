"""Which checkpoint a path means: itself, the best of a run, else the latest finished."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import subspace

from subspace.mining import InputError
from subspace.pipeline.exporting.chosen_checkpoint import choose_checkpoint


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished_run, tmp_path / "run", symlinks=True)


def test_a_run_means_its_best_network(run: Path) -> None:
    record = json.loads((run / "best.json").read_text())
    record.update(network="round-000", checkpoint="round-000/checkpoint", value=0.5)
    (run / "best.json").write_text(json.dumps(record))
    chosen = choose_checkpoint(run)
    assert chosen.folder == run / "round-000" / "checkpoint"
    assert (chosen.why, chosen.name) == ("it validates best: Rank-1 0.5000", "run/round-000")
    assert chosen.stage_folder is not None
    assert chosen.stage_folder.index == 0


def test_a_run_without_a_best_network_means_its_latest_finished_one(run: Path) -> None:
    (run / "best.json").unlink()
    assert choose_checkpoint(run).folder == run / "round-001" / "checkpoint"
    assert choose_checkpoint(run).why == "the latest finished one, as no round is kept as the best"
    (run / "round-001" / "done" / "train.json").unlink()  # still at work
    assert choose_checkpoint(run).folder == run / "round-000" / "checkpoint"
    shutil.rmtree(run / "round-000")
    shutil.rmtree(run / "round-001")
    assert choose_checkpoint(run).folder == run / "start" / "checkpoint"
    shutil.rmtree(run / "start")
    with pytest.raises(InputError, match=r"has no finished network yet; make one with: subspace run "):
        choose_checkpoint(run)


def test_a_best_network_that_is_gone_is_not_replaced_by_another(run: Path) -> None:
    best = json.loads((run / "best.json").read_text())["checkpoint"]
    shutil.rmtree(run / best)
    with pytest.raises(InputError, match=rf"best\.json says {best}, which is gone"):
        choose_checkpoint(run)


def test_a_best_network_that_was_made_again_is_said_to_be(run: Path) -> None:
    best = json.loads((run / "best.json").read_text())["network"]
    marker = run / best / "done" / "validate.json"
    record = json.loads(marker.read_text())
    record["fields"]["network"] = "another"
    marker.write_text(json.dumps(record))
    assert "before it was made again; `subspace eval" in choose_checkpoint(run).why
    marker.rename(marker.with_suffix(".aside"))  # as while it is validated anew
    assert choose_checkpoint(run).why.startswith("it validates best: ")
    marker.with_suffix(".aside").rename(marker)
    status = subspace("status", run).stdout
    assert "on validation, before it was made again" in " ".join(status.split())


def test_a_checkpoint_means_itself_in_a_run_or_out_of_it(run: Path, tmp_path: Path) -> None:
    chosen = choose_checkpoint(run / "round-000" / "checkpoint")
    assert (chosen.why, chosen.name) == ("as given", "run/round-000")
    assert choose_checkpoint(run / "best").folder == (run / "best").resolve()
    moved = shutil.copytree(run / "round-000" / "checkpoint", tmp_path / "elsewhere" / "faces")
    assert choose_checkpoint(moved).name == "faces"
    assert choose_checkpoint(moved).stage_folder is None
    with pytest.raises(
        InputError, match=r"neither a checkpoint \(no meta\.json\) nor a run \(no subspace\.yaml\)"
    ):
        choose_checkpoint(tmp_path / "elsewhere")


def test_a_round_of_an_earlier_run_is_not_the_latest_one(run: Path) -> None:
    """As `run rounds=1 --force` leaves it behind, which was trained from a network that is gone."""
    (run / "best.json").unlink()
    trained_from(run, "another")
    chosen = choose_checkpoint(run)
    assert chosen.folder == run / "round-000" / "checkpoint"
    assert chosen.why.endswith("; round-001: made from another network than lies before it now; not counted")


def test_a_best_network_of_an_earlier_run_is_said_to_be(run: Path) -> None:
    record = json.loads((run / "best.json").read_text())
    record.update(network="round-001", checkpoint="round-001/checkpoint", value=0.5)
    (run / "best.json").write_text(json.dumps(record))
    assert choose_checkpoint(run).why == "it validates best: Rank-1 0.5000"
    trained_from(run, "another")
    assert "of an earlier training; `subspace run" in choose_checkpoint(run).why


def trained_from(run: Path, network: str) -> None:
    marker = run / "round-001" / "done" / "train.json"
    record = json.loads(marker.read_text())
    record["fields"]["network"] = network
    marker.write_text(json.dumps(record))
