"""Settings given on a stage's command line are those of the run from then on, until the file or the user says otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import QUICK, subspace


@pytest.fixture
def new_run(small_manifest: Path, tmp_path: Path) -> Path:
    run = tmp_path / "run"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK, "pretrain.steps=0").returncode == 0
    return run


def states(run: Path) -> dict[str, str]:
    done = subspace("status", run, "--json")
    assert done.returncode == 0, done.stderr
    return {f"{state['folder']}/{state['stage']}": state["state"] for state in json.loads(done.stdout)}


def test_status_after_an_override_says_done(new_run: Path) -> None:
    done = subspace("pretrain", new_run, "embedding_size=32")
    assert (
        f"kept for the next commands of this run: embedding_size=32 ({new_run}/overrides.json)" in done.stdout
    )
    assert states(new_run)["start/pretrain"] == "done"  # was stale, for no reason that a user sees
    done = subspace("extract", new_run)
    assert done.returncode == 0, done.stderr
    assert "settings given earlier: embedding_size=32" in done.stdout
    assert "means of 32 numbers" in done.stdout


def test_the_newest_word_counts(new_run: Path) -> None:
    assert subspace("pretrain", new_run, "embedding_size=32", "seed=3").returncode == 0
    given = {"embedding_size": "32", "seed": "3"}
    kept = json.loads((new_run / "overrides.json").read_text())
    assert {key: entry["value"] for key, entry in kept.items()} == given
    assert subspace("pretrain", new_run, "embedding_size=16", "--force").returncode == 0
    assert json.loads((new_run / "overrides.json").read_text())["embedding_size"]["value"] == "16"
    settings = (new_run / "subspace.yaml").read_text()
    (new_run / "subspace.yaml").write_text(settings.replace("embedding_size: null", "embedding_size: 64"))
    stale = subspace("pretrain", new_run)
    assert stale.returncode == 3
    assert "embedding_size=16, now it is 64" in stale.stderr
    assert "settings given earlier: seed=3 (" in stale.stdout


@pytest.mark.parametrize("more", [["--dry-run"], ["schedule.shards=2"], ["rounds=none"]])
def test_what_changes_nothing_is_not_kept(new_run: Path, more: list[str]) -> None:
    subspace("pretrain", new_run, *more, *(["embedding_size=32"] if "--dry-run" in more else []))
    assert not (new_run / "overrides.json").exists()


def test_what_is_refused_is_not_kept(finished_run: Path, tmp_path: Path) -> None:
    import shutil

    run = Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    refused = subspace("run", run, "train.optimizer.lr=0.5")
    assert refused.returncode == 3
    assert not (run / "overrides.json").exists()
    assert set(states(run).values()) == {"done"}


def test_more_rounds_of_a_finished_run(finished_run: Path, tmp_path: Path) -> None:
    """The learning rate of every round depends on their number, so the message says how to train on."""
    import shutil

    run = Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    refused = subspace("run", run, "rounds=3")
    assert refused.returncode == 3
    assert "rounds=2, now it is 3" in refused.stderr
    assert f"`subspace init {run}-more --manifest MANIFEST --model checkpoint:{run}/best`" in refused.stderr


def test_a_setting_of_an_older_version_is_warned_of(new_run: Path) -> None:
    with open(new_run / "subspace.yaml", "a") as file:
        file.write('overlap: "auto"\n')
    done = subspace("pretrain", new_run)
    assert done.returncode == 0
    assert done.stderr.startswith("subspace: warning: overlap (")
    assert done.stderr.count("\n") == 1
