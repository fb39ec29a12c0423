"""A network is not tested on people that it has learned without a word: a changed manifest is refused, another one warned of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from changed_manifests import drawn_anew, with_changed_manifest
from unsealed_runs import said_by

from subspace.mining import StaleArtifactError, SubspaceWarning
from subspace.mining.manifest import Manifest
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.exporting.chosen_checkpoint import choose_checkpoint
from subspace.pipeline.exporting.figures import settings_of
from subspace.pipeline.exporting.trained_on import learned_before, open_tested

HELD_OUT = {"test": ("test",), "validation": ("val",)}


@pytest.mark.parametrize(
    "words",
    [
        ("run/best",),
        ("run/start/checkpoint",),
        ("run/best", "--dry-run"),
        ("run", "--force"),
        ("run", "--protocol", "verification", "--force"),
    ],
    ids=" ".join,
)
def test_a_manifest_that_has_changed_since_the_training_is_refused(
    words: tuple[str, ...], finished_run: Path, small_manifest: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A table of figures was printed, of identities most of which it was trained on."""
    with_changed_manifest(finished_run, small_manifest, tmp_path)
    monkeypatch.chdir(tmp_path)
    code, said = said_by(["eval", *words, "--quiet"])
    assert code == 3, said
    then = Manifest.open(small_manifest).fingerprint
    assert (
        f"was trained with manifest={then}, now {tmp_path}/faces.parquet is {'f' * 32}: its test ident"
        in said
    )
    assert "--manifest FILE`" in said


def test_the_manifest_of_the_training_is_tested_on_wherever_it_lies(
    finished_run: Path, small_manifest: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    run = with_changed_manifest(finished_run, small_manifest, tmp_path)
    chosen = choose_checkpoint(run)
    config = settings_of(chosen)
    assert config is not None
    moved = shutil.copy(small_manifest, tmp_path / "moved.parquet")
    assert open_tested(chosen, config, moved).path == moved
    there = config.model_copy(update={"manifest": str(moved)})
    assert open_tested(chosen, there, None).path == moved
    with pytest.raises(StaleArtifactError):
        open_tested(chosen, config, None)
    assert not recwarn.list


def test_how_many_of_another_manifest_were_trained_on_is_said(
    finished_run: Path, small_manifest: Path, tmp_path: Path
) -> None:
    other = drawn_anew(small_manifest, tmp_path / "other.parquet")
    chosen = choose_checkpoint(finished_run / "round-000" / "checkpoint")
    line = "6 of 16 test identities are, by name, among those that finished/round-000 was trained on; its figures say too"
    with pytest.warns(SubspaceWarning, match=line):
        open_tested(chosen, RunConfig(manifest=""), other)
    assert learned_before(chosen, Manifest.open(small_manifest), HELD_OUT) == []
    everybody = {"test": ("train", "test"), "validation": ("val", "pretrain")}
    (said,) = learned_before(chosen, Manifest.open(small_manifest), everybody)
    assert said.startswith("32 of 48 test and 16 of 22 validation identities are, by name, among those")


def test_a_start_has_learned_the_identities_of_its_pretraining_alone(
    finished_run: Path, small_manifest: Path, tmp_path: Path
) -> None:
    manifest = Manifest.open(small_manifest)
    start = choose_checkpoint(finished_run / "start" / "checkpoint")
    assert learned_before(start, manifest, {"test": ("train",)}) == []
    (said,) = learned_before(start, manifest, {"test": ("pretrain",)})
    assert said.startswith("16 of 16 test identities")
    away = shutil.copytree(
        start.folder, tmp_path / "away"
    )  # of which nothing says that the manifest is another
    assert learned_before(choose_checkpoint(away), manifest, {"test": ("pretrain",)}) != []
    meta = json.loads((away / "meta.json").read_text())
    meta["config"]["pretrain"]["steps"] = 0
    (away / "meta.json").write_text(json.dumps(meta))
    assert learned_before(choose_checkpoint(away), manifest, {"test": ("pretrain",)}) == []


def test_what_cannot_be_known_is_said(finished_run: Path, small_manifest: Path, tmp_path: Path) -> None:
    run = with_changed_manifest(finished_run, small_manifest, tmp_path)
    manifest = Manifest.open(drawn_anew(small_manifest, tmp_path / "other.parquet"))
    words = "it cannot be known which identities run/round-001 was trained on, and whether some of them are held out here: "
    why = ["faces.parquet has changed since this network was trained", "faces.parquet is not there any more"]
    chosen = choose_checkpoint(run / "round-001" / "checkpoint")
    for reason in why:
        assert learned_before(chosen, manifest, HELD_OUT) == [words + reason]
        (tmp_path / "faces.parquet").unlink(missing_ok=True)
    assert learned_before(chosen, Manifest.open(small_manifest), HELD_OUT) == [], "that of the training"
