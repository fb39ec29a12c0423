"""`subspace clean` on a small run: what it writes, how later stages use it, what it resumes, what it refuses.

Covers pipeline/cleaning/training_embeddings.py, pipeline/cleaning/suspects_table.py and pipeline/commands/cleaning.py, too.
"""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import QUICK, subspace

from subspace.mining.cleaning.identity_blocks import IdentityBlocks
from subspace.mining.cleaning.settings import CleanConfig
from subspace.mining.cleaning.suspects import Suspects, find_suspects
from subspace.mining.errors import InputError, StaleArtifactError
from subspace.mining.manifest import Manifest
from subspace.pipeline.cleaning.clean import clean_fields, clean_round
from subspace.pipeline.cleaning.suspects_table import (
    TOO_FEW,
    findings_in_words,
    identities_in_pairs,
    table_of_kept,
    table_of_suspects,
)
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.stages.context import Context
from subspace.pipeline.stages.graph import row


@pytest.fixture(scope="module")
def started(small_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its starting network. Tests must not write into it."""
    run = tmp_path_factory.mktemp("clean") / "run"
    for words in (("init", run, "--manifest", small_manifest, *QUICK, "rounds=1"), ("pretrain", run)):
        done = subspace(*words)
        assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def cleaned(started: Path) -> Path:
    """The same, cleaned; every image of the network that hardly learned is no more at home than elsewhere."""
    done = subspace("clean", started)
    assert done.returncode == 0, done.stderr
    return started


def edited(keep: Path, images: int) -> None:
    """Leave exactly the first image of so many identities out, as a person would."""
    rows = pq.read_table(keep)
    first = np.unique(rows["identity_id"].to_numpy(), return_index=True)[1][:images]
    kept = ~np.isin(np.arange(len(rows)), first)
    reason = pa.array(["outlier"] * len(rows), mask=kept).dictionary_encode()
    pq.write_table(rows.set_column(2, "keep", pa.array(kept)).set_column(3, "reason", reason), keep)


def test_a_table_that_leaves_everything_out_is_not_recommended(cleaned: Path, tmp_path: Path) -> None:
    """`next:` led to a run that refused the manifest for having no identities, without a word of the table."""
    run = Path(shutil.copytree(cleaned, tmp_path / "run"))
    done = subspace(
        "clean",
        run,
        "--force",
        "clean.min_images=1000",
        "clean.drop=[repeat]",
        "clean.repeat_similarity=1e-6",
    )
    assert done.returncode == 0, done.stderr
    assert "next: subspace" not in done.stdout
    assert "fewer than two identities would be left" in done.stdout
    nobody = subspace("extract", run, f"data.cleaned={run / 'round-000' / 'keep.parquet'}")
    assert nobody.returncode == 2
    assert "left out by keep.parquet" in nobody.stderr


def test_both_tables_hold_the_training_images_and_the_manifest_is_as_it_was(
    cleaned: Path, small_manifest: Path
) -> None:
    manifest = Manifest.open(small_manifest)
    keep = pq.read_table(cleaned / "round-000" / "keep.parquet")
    assert (
        keep["image_id"].to_numpy().tolist()
        == manifest.identities_in(("train", "pretrain")).image_id.tolist()
    )
    summary = json.loads((cleaned / "round-000" / "done" / "clean.json").read_text())["summary"]
    suspects = pq.read_table(cleaned / "round-000" / "suspects.parquet")
    assert len(suspects) == sum(summary["suspects"].values())
    assert sum(summary["dropped"].values()) == len(keep) - int(
        np.sum(keep["keep"].to_numpy(zero_copy_only=False))
    )
    assert summary["images"] == len(keep)
    pairs = suspects.filter(pa.compute.equal(suspects["reason"], "duplicate"))
    named = pairs["identity_id"].to_pylist() + pairs["other_identity_id"].to_pylist()
    assert summary["in_duplicates"] == len(set(named))
    assert summary["identities"] == 48
    done = subspace("inspect", cleaned / "round-000" / "keep.parquet")
    assert "keep table, a row for each training image" in done.stdout
    assert "suspects of cleaning" in subspace("inspect", cleaned / "round-000" / "suspects.parquet").stdout


@pytest.mark.slow
def test_again_is_already_done_and_other_settings_embed_nothing_anew(cleaned: Path, tmp_path: Path) -> None:
    run = shutil.copytree(cleaned, tmp_path / "run")
    again = subspace("clean", run)
    assert "round-000/clean: already done" in again.stdout
    assert "cleaning/embed: already done" in again.stdout
    stale = subspace("clean", run, "clean.probability=0.9")
    assert stale.returncode == 3
    assert "clean.probability=0.5, now it is 0.9" in stale.stderr
    forced = subspace("clean", run, "clean.probability=0.9", "--force", "--json")
    assert forced.returncode == 0
    assert json.loads(forced.stdout)["fields"]["clean.probability"] == 0.9
    assert "cleaning/embed: already done" in forced.stderr


def test_a_dry_run_writes_nothing(started: Path, tmp_path: Path) -> None:
    run = shutil.copytree(started, tmp_path / "run")
    shutil.rmtree(run / "round-000", ignore_errors=True)
    before = sorted(run.rglob("*"))
    done = subspace("clean", run, "--dry-run")
    assert done.returncode == 0
    assert "dry run: nothing was done" in done.stdout
    assert " identities (strangers), " in done.stdout.split("then ")[1]
    assert [path for path in sorted(run.rglob("*")) if path not in before] == []


@pytest.mark.slow
def test_what_is_left_out_is_said_enters_the_plan_and_makes_it_stale(cleaned: Path, tmp_path: Path) -> None:
    run = shutil.copytree(cleaned, tmp_path / "run")
    keep = run / "round-000" / "keep.parquet"
    edited(keep, images=3)
    gone = Context.open(run, [f"data.cleaned={keep}"]).left_out.image_id
    for command in ("extract", "cluster", "plan"):
        done = subspace(command, run, *([f"data.cleaned={keep}"] if command == "extract" else []))
        assert done.returncode == 0, done.stderr
        if command != "cluster":
            assert "3 images left out by keep.parquet (3 outlier)" in done.stdout
    planned = set()
    for part in (run / "round-000" / "plan").glob("*.parquet"):
        planned |= set(np.concatenate(pq.read_table(part)["image_ids"].to_pylist()).tolist())
    assert len(gone) == 3
    assert planned
    assert not planned & set(gone.tolist())
    images = pq.read_table(run / "round-000" / "identities.parquet")["images"].to_pylist()
    assert images.count(5) == 3
    edited(keep, images=4)
    assert "clean: already done" in subspace("clean", run).stdout  # whose it is, may edit it
    stale = subspace("plan", run)
    assert stale.returncode == 3
    assert "data.cleaned=" in stale.stderr
    assert "--force" in stale.stderr
    again = subspace("extract", run, "--force")
    assert again.returncode == 0
    assert "4 images left out" in again.stdout
    keep.unlink()
    done = subspace("extract", run)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "data.cleaned=" in done.stderr


@pytest.mark.slow
def test_kept_embeddings_are_taken_where_they_are_of_all_images(started: Path, tmp_path: Path) -> None:
    run = shutil.copytree(started, tmp_path / "run")
    shutil.rmtree(run / "round-000", ignore_errors=True)
    assert subspace("extract", run, "extract.keep_embeddings=true").returncode == 0
    done = subspace("clean", run)
    assert done.returncode == 0, done.stderr
    assert "the embeddings that extract kept" in done.stdout
    assert not (run / "round-000" / "cleaning").exists()


def test_without_a_network_it_says_what_to_do(small_manifest: Path, tmp_path: Path) -> None:
    assert subspace("init", tmp_path / "run", "--manifest", small_manifest, *QUICK).returncode == 0
    done = subspace("clean", tmp_path / "run")
    assert done.returncode == 2
    assert "run `subspace pretrain" in done.stderr
    assert done.stderr.count("\n") == 1


def test_where_no_table_is_named_no_field_is_new(finished_run: Path) -> None:
    context = Context.open(finished_run)
    for name in ("extract", "plan"):
        stage = row(name).stage(context)
        assert "data.cleaned" not in stage.fields
        assert stage.is_done()


def test_tables_and_words_of_what_was_found(small_manifest: Path) -> None:
    manifest, random = Manifest.open(small_manifest), np.random.default_rng(0)
    images = manifest.identities_in(manifest.splits)
    faces = random.standard_normal((len(images), 16))
    rows = np.repeat(faces, images.count, axis=0) + 0.2 * random.standard_normal((len(images.image_id), 16))
    rows[7] = rows[100]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    blocks = IdentityBlocks(rows.astype(np.float32), np.repeat(images.identity_id, images.count))
    settings = CleanConfig(drop=("shared",), min_images=6)
    found = find_suspects(blocks, settings)
    [one, two] = (
        table_of_suspects(found, blocks, images.image_id, manifest)
        .filter(pa.compute.equal(pa.compute.field("reason"), "shared"))
        .to_pylist()
    )
    assert [one["image_id"], one["other_image_id"]] == [images.image_id[7], images.image_id[100]]
    assert (
        one["other_identity"]
        == two["identity"]
        == manifest.table["identity"][int(images.image_id[100])].as_py()
    )
    keep, dropped = table_of_kept(found, blocks, images.image_id, settings)
    assert dropped == {"shared": 2, TOO_FEW: 10}
    assert keep["reason"].to_pylist().count(None) == len(keep) - 12
    summary = {
        "images": len(keep),
        "identities": 60,
        "suspects": {reason: len(some.score) for reason, some in found.suspects.items()},
        "dropped": dropped,
    }
    lines = list(findings_in_words(summary, settings))
    assert "shared: 2 images, dropped (nearly the same picture as an image of another identity)" in lines
    assert (
        lines[-1]
        == f"12 of {len(keep)} images (2.9 %) have keep=false, 10 of them since their identity keeps fewer than 6"
    )
    crowd = summary | {"suspects": {"duplicate": 20}}
    assert next(findings_in_words(crowd, settings)).startswith(
        "duplicate: 20 pairs of identities, only listed, not yet"
    )


def test_identities_in_pairs_are_counted_once() -> None:
    """Of 20 equal ones each is in 19 pairs, which were taken for 380 identities."""
    a, b = np.array(list(combinations(range(20), 2))).T
    none = np.full(len(a), -1)
    assert identities_in_pairs(Suspects(none, a, np.ones(len(a), np.float32), b, none)) == 20
    earlier = {"images": 8_000, "identities": 2_000, "suspects": {"duplicate": len(a)}, "dropped": {}}
    for summary, reliable in ((earlier, False), (earlier | {"in_duplicates": 20}, True)):
        [line, _] = findings_in_words(summary, CleanConfig())
        assert line.startswith("duplicate: 190 pairs of identities")
        assert ("not yet reliable" in line) is not reliable


def test_what_is_left_out_is_no_training_image_and_a_field(cleaned: Path, tmp_path: Path) -> None:
    keep = shutil.copy(cleaned / "round-000" / "keep.parquet", tmp_path / "keep.parquet")
    edited(keep, images=3)
    context = Context.open(cleaned, [f"data.cleaned={keep}"])
    whole = Context.open(cleaned).training_identities().image_id
    gone = np.setdiff1d(whole, context.training_identities().image_id)
    assert gone.tolist() == context.left_out.image_id.tolist()
    assert len(gone) == 3
    assert row("extract").stage(context).fields["data.cleaned"] == context.left_out.fingerprint


def test_a_round_that_was_only_cleaned_is_not_the_latest(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for name in ("round-000/done", "round-001/cleaning/done", "round-001/done"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "round-001" / "done" / "clean.json").write_text("{}")
    (tmp_path / "round-001" / "keep.parquet").touch()
    assert run.latest_round == 0
    (tmp_path / "round-001" / "done" / "extract.json").write_text("{}")
    assert run.latest_round == 1


def test_above_what_can_be_compared_it_depends_on_the_subspaces(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said "already done" after another clustering, with the duplicates of the old one."""
    run = shutil.copytree(finished_run, tmp_path / "run")
    monkeypatch.setattr("subspace.pipeline.cleaning.clean.LARGEST_SEARCHED", 1)
    context = Context.open(run).at_round(0)
    assert clean_fields(context)["cluster"] == context.folder.record("cluster")["fingerprint"]
    clean_round(context)
    clean_round(context)
    marker = run / "round-000" / "done" / "cluster.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "fingerprint": "another"}))
    with pytest.raises(StaleArtifactError, match="cluster="):
        clean_round(context)
    marker.unlink()
    with pytest.raises(
        InputError, match=r"identities are too many to compare .* `subspace cluster .*` divides them first"
    ):
        clean_round(context)
