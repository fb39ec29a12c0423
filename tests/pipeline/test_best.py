"""`RUN/best` is what the validation says, never points back, and works wherever a checkpoint does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import QUICK, subspace

from subspace.mining import InputError
from subspace.pipeline.best import Standing
from subspace.pipeline.configuration.early_stop import EarlyStopConfig
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.stage_folder import StageFolder
from subspace.train import load_network


def validated(run: RunDirectory, ranks: dict[str, float | None], edition: str = "") -> list[StageFolder]:
    """Write a `validation.json` into each folder; its fingerprint is the folder's name and the edition."""
    for name, value in ranks.items():
        (run.path / name).mkdir(parents=True, exist_ok=True)
        told = {
            "fingerprint": name + edition,
            "identities": 9,
            "metrics": {
                name: {"value": number, "low": number, "high": number}
                for name, number in {"Rank-1": value, "Rank-5": 1.0}.items()
            },
        }
        (run.path / name / "validation.json").write_text(json.dumps(told))
    return [StageFolder(run.path / name, run.index_of(name)) for name in ranks]


def test_the_first_of_the_highest_is_kept(tmp_path: Path) -> None:
    run, early = RunDirectory(tmp_path), EarlyStopConfig()
    folders = validated(run, {"start": 0.5, "round-000": 0.7, "round-001": 0.7, "round-002": 0.6})
    for count, best in ((1, "start"), (2, "round-000"), (3, "round-000"), (4, "round-000")):
        standing = Standing.read(folders[:count], early)
        assert not standing.is_known(run)
        standing.keep(run)
        assert str((tmp_path / "best").readlink()) == f"{best}/checkpoint"
        told = json.loads((tmp_path / "best.json").read_text())
        assert (told["network"], told["value"]) == (best, {"start": 0.5, "round-000": 0.7}[best])
        assert len(told["validations"]) == count


def test_of_equal_networks_a_trained_one_is_kept_and_the_doubt_is_said(tmp_path: Path) -> None:
    """A validation of two identities gave 100 % to the untrained start, which was exported as the best."""
    run, rank_5 = RunDirectory(tmp_path), EarlyStopConfig(metric="Rank-5")
    folders = validated(run, {"start": 0.5, "round-000": 0.7, "round-001": 0.7})
    standing = Standing.read(folders, rank_5)
    assert standing.best == "round-000"
    assert standing.doubt.startswith(
        "all 3 networks have Rank-5 100.0, so validation cannot tell them apart; round-000"
    )
    assert Standing.read(folders[:1], rank_5).best == "start"
    assert Standing.read(folders[:1], rank_5).doubt == Standing.read(folders, EarlyStopConfig()).doubt == ""


def test_passing_over_done_rounds_does_not_point_back(tmp_path: Path) -> None:
    run, early = RunDirectory(tmp_path), EarlyStopConfig()
    ranks = {"start": 0.5, "round-000": 0.7, "round-001": 0.8}
    folders = validated(run, ranks)
    Standing.read(folders, early).keep(run)
    for count in (1, 2, 3):
        assert Standing.read(folders[:count], early).is_known(run)
    assert not Standing.read(folders, EarlyStopConfig(metric="Rank-5")).is_known(run)
    validated(run, {"round-000": 0.6}, edition=" made again")
    assert Standing.read(folders[:1], early).is_known(run)
    assert not Standing.read(folders[:2], early).is_known(run)
    (tmp_path / "best").unlink()
    assert not Standing.read(folders[:1], early).is_known(run)


def test_nothing_is_written_twice(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    standing = Standing.read(validated(run, {"start": 0.5}), EarlyStopConfig())
    standing.keep(run)
    paths = [tmp_path / "best", tmp_path / "best.json"]
    before = [path.lstat().st_ino for path in paths]
    standing.keep(run)
    assert [path.lstat().st_ino for path in paths] == before


def test_a_copy_of_a_run_has_a_folder_there(tmp_path: Path) -> None:
    """`scp -r` follows links. The copy could not go on: "cannot write RUN/best: Is a directory"."""
    run = RunDirectory(tmp_path)
    standing = Standing.read(validated(run, {"start": 0.5, "round-000": 0.7}), EarlyStopConfig())
    run.best.mkdir()
    with pytest.raises(InputError, match="cannot write"):  # a folder of somebody's stays
        standing.keep(run)
    (run.best / "meta.json").write_text("{}")
    standing.keep(run)
    assert run.best.readlink() == Path("round-000/checkpoint")


def test_too_few_pairs_are_told(tmp_path: Path) -> None:
    folders = validated(RunDirectory(tmp_path), {"start": None})
    with pytest.raises(InputError, match=r"9 validation identities.*choose from Rank-5"):
        Standing.read(folders, EarlyStopConfig())


def test_the_best_of_a_run_is_a_model(finished_run: Path, small_manifest: Path, tmp_path: Path) -> None:
    validations = {
        name: json.loads((finished_run / name / "validation.json").read_text())
        for name in ("start", "round-000", "round-001")
    }
    ranks = {name: told["metrics"]["Rank-1"]["value"] for name, told in validations.items()}
    best = next(name for name in (*list(ranks)[1:], "start") if ranks[name] == max(ranks.values()))
    assert (finished_run / "best").resolve() == (finished_run / best / "checkpoint").resolve()
    assert not (finished_run / "best").readlink().is_absolute()

    opened, expected = (
        load_network(f"checkpoint:{path}")
        for path in (finished_run / "best", finished_run / best / "checkpoint")
    )
    assert all(
        (one == other).all() for one, other in zip(opened.parameters(), expected.parameters(), strict=True)
    )
    told = subspace("eval", finished_run / "best", "--json")
    assert told.returncode == 0, told.stderr
    (evaluation,) = json.loads(told.stdout).values()
    assert (
        evaluation["metrics"] == json.loads((finished_run / best / "evaluation.json").read_text())["metrics"]
    )
    run = tmp_path / "next"
    begun = subspace(
        "init", run, "--manifest", small_manifest, "--model", f"checkpoint:{finished_run}/best", *QUICK
    )
    assert begun.returncode == 0, begun.stderr
    assert subspace("pretrain", run, "pretrain.steps=0").returncode == 0
    assert f"best: {best}, Rank-1" in subspace("status", finished_run).stdout


def test_a_link_left_half_made_is_swept_away(small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK, "pretrain.steps=1").returncode == 0
    assert subspace("pretrain", run).returncode == 0
    (run / ".best.1.tmp").symlink_to("start/checkpoint")
    assert subspace("eval", run).returncode == 0
    assert not (run / ".best.1.tmp").is_symlink()
    assert (run / "best" / "meta.json").exists()
