"""Work with a searched loss is known by what the curve's file holds: a renamed run, and one of before, are still done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import subspace

from subspace.mining import StaleArtifactError
from subspace.mining.fingerprints import CODE_VERSION, fingerprint_of
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.stages.context import Context
from subspace.pipeline.stages.graph import row
from subspace.pipeline.stages.stage import Stage
from subspace.train.checkpoint_meta import CheckpointMeta
from subspace.train.loss_search.curve import LossCurve

ROUND = {"pretrain": -1, "train": 0}


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    (run / "search-loss").mkdir()
    write_curve(run, 0.0)
    return run


def write_curve(run: Path, a: float) -> None:
    (run / "search-loss" / "curve.json").write_text(json.dumps(LossCurve(16.0, a=a).to_json()))


def loss_of(run: Path, name: str = "train", weight: str = "") -> str:
    return f"{name}.loss={weight}searched:{run.resolve()}/search-loss/curve.json"


def stage_of(run: Path, name: str, *overrides: str, force: bool = False) -> Stage:
    options = Options(Console(quiet=True), force=force, overrides=overrides)
    return row(name).stage(Context.open(run, overrides, options).at_round(ROUND[name]))


def finish(stage: Stage, **fields: str) -> None:
    """Let the marker of a stage be as if it had been made with its fields, and with these over them."""
    made = {**stage.fields, **fields, "code": CODE_VERSION}
    marker = {**json.loads(stage.marker.read_text()), "fields": made, "fingerprint": fingerprint_of(made)}
    stage.marker.write_text(json.dumps(marker))


def by_path(run: Path, name: str) -> dict[str, str]:
    """The field as versions before this one had it."""
    key, _, value = loss_of(run, name).partition("=")
    return {key: value}


@pytest.mark.parametrize("older", [False, True])
def test_a_renamed_run_is_done_with_the_new_path(run: Path, older: bool) -> None:
    """It was exit 3, for a curve that was the same."""
    given = [loss_of(run), "train.loss_args={}"]
    finish(stage_of(run, "train", *given), **(by_path(run, "train") if older else {}))
    (run / "overrides.json").write_text(
        json.dumps(
            {"train.loss": {"value": given[0].partition("=")[2], "instead_of": "batch_ohnm"},
             "train.loss_args": {"value": "{}", "instead_of": None}}
        )
    )  # fmt: skip
    moved = run.rename(run.with_name("moved"))
    done = subspace("train", moved, "--round", "0", loss_of(moved), "train.loss_args={}")
    assert done.returncode == 0, done.stderr
    assert "round-000/train: already done" in done.stdout


@pytest.mark.parametrize("name", ["pretrain", "train"])
def test_work_of_before_is_what_it_was(run: Path, name: str) -> None:
    given = [loss_of(run, name), f"{name}.loss_args={{}}"]
    finish(stage_of(run, name, *given), **by_path(run, name))
    older = stage_of(run, name, *given)
    assert older.is_done()
    assert older.fields[f"{name}.loss"] == given[0].partition("=")[2]
    anew = stage_of(run, name, *given, force=True)
    assert str(run) not in str(anew.fields[f"{name}.loss"])  # what begins anew is known by content
    with pytest.raises(StaleArtifactError, match=rf"with {name}\.optimizer\.lr="):
        stage_of(run, name, *given, f"{name}.optimizer.lr=0.5").is_done()
    with pytest.raises(StaleArtifactError, match=rf"with {name}\.loss=searched:"):
        stage_of(run, name, loss_of(run, name, "2*"), given[1]).is_done()
    write_curve(run, -1.0)
    with pytest.raises(StaleArtifactError, match=rf"with {name}\.loss\.curve="):
        stage_of(run, name, *given).is_done()


def test_a_training_of_before_goes_on(run: Path) -> None:
    given = [loss_of(run), "train.loss_args={}"]
    stage = stage_of(run, "train", *given)
    older = fingerprint_of({**stage.fields, **by_path(run, "train"), "code": CODE_VERSION})
    stage.marker.unlink()
    shutil.rmtree(stage.folder.checkpoint)
    for fingerprint in (older, stage.fingerprint):
        state = stage.folder.resume / "step-00000003" / "meta.json"
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_text(CheckpointMeta("small", 8, 3, fingerprint).to_json())
        assert stage_of(run, "train", *given).fingerprint == fingerprint
    moved = run.rename(run.with_name("moved"))
    assert stage_of(moved, "train", loss_of(moved), given[1]).fingerprint == stage.fingerprint
