"""What training reads of the identities: nothing, unless its loss needs a class for each of them.

Covers pipeline/stages/round_training.py as well.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import QUICK, subspace

from subspace.mining import Manifest
from subspace.pipeline.console import Console
from subspace.pipeline.options import Options
from subspace.pipeline.stages import round_training
from subspace.pipeline.stages.context import Context
from subspace.pipeline.stages.train import train_round
from subspace.train.data.batches import DecodedBatches
from subspace.train.data.plan_reader import Plan
from subspace.train.losses.loss import EmbeddingLoss


@pytest.fixture(scope="module")
def packed_manifest(small_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of `small_manifest` in files of their own, so that the manifest holds only where they are."""
    folder = tmp_path_factory.mktemp("files")
    table = pq.read_table(small_manifest)
    for row in table.select(["identity", "image", "split", "identity_id"]).to_pylist():
        to = folder / "images" / row["split"] / f"{row['identity_id']:04d}"
        to.mkdir(parents=True, exist_ok=True)
        (to / f"{len(list(to.iterdir()))}.png").write_bytes(row["image"])
    done = subspace("ingest", folder / "images", "--out", folder / "manifest.parquet")
    assert done.returncode == 0, done.stderr
    assert "image" not in pq.read_schema(folder / "manifest.parquet").names
    return folder / "manifest.parquet"


@pytest.fixture(scope="module")
def planned(packed_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose first round has a plan and is not trained."""
    run = tmp_path_factory.mktemp("runs") / "run"
    init = subspace("init", run, "--manifest", packed_manifest, *QUICK)
    assert init.returncode == 0, init.stderr
    for command in ("pretrain", "extract", "cluster", "plan"):
        done = subspace(command, run)
        assert done.returncode == 0, done.stderr
    return run


@pytest.fixture
def run(planned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(planned, tmp_path / "run"))


def train(run: Path, *settings: str) -> Manifest:
    """Train round 0 in this process; return the manifest that it was given."""
    context = Context.open(run, settings, Options(Console(True, False), "cpu"))
    train_round(context)
    return context.manifest


def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("training read something of every identity")


@pytest.mark.parametrize(
    "loss", ["batch_ohnm", "contrastive", "xbm:multi_similarity", "batch_all + 0.5*circle_pair"]
)
def test_a_loss_without_classes_reads_nothing_of_any_identity(
    run: Path, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(round_training.MeanTable, "__getitem__", forbidden)
    monkeypatch.setattr(round_training.MeanTable, "_group", forbidden)
    for name in ("read_identities", "read_subspaces"):
        monkeypatch.setattr(round_training, name, forbidden)
    manifest = train(run, f"train.loss={loss}", "train.loss_args={}")
    assert (run / "round-000" / "done" / "train.json").exists()
    assert "table" not in vars(manifest)
    assert (run / "images.index").exists()


@pytest.mark.parametrize("settings", [("train.loss=partial_fc",), ("recluster.refresh=running",)])
def test_the_guard_above_can_fail(
    run: Path, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(round_training.MeanTable, "__getitem__", forbidden)
    with pytest.raises(AssertionError, match="of every identity"):
        train(run, *settings, "train.loss_args={}")


@pytest.mark.parametrize("keep_repeats", [False, True])
def test_labels_are_those_of_the_manifest(run: Path, packed_manifest: Path, keep_repeats: bool) -> None:
    """From a table that training does not read: identity_id of the manifest's rows."""
    owner = pq.read_table(packed_manifest, columns=["identity_id"])["identity_id"].to_numpy()
    table = pq.read_table(run / "round-000" / "identities.parquet", columns=["identity_id"])
    known = table["identity_id"].to_pylist()
    assert known != list(range(len(known)))  # or places and ids would be the same numbers
    plan = Plan(run / "round-000" / "plan")
    store = round_training.training_images(Manifest.open(packed_manifest), run / "images.index")
    dataset = DecodedBatches(store, plan.__getitem__, 32, keep_repeats=keep_repeats)
    context = Context.open(run)
    ids_of = round_training._labels(context, plan, places=False)
    places_of = round_training._labels(context, plan, places=True)
    for step in range(len(plan)):
        batch = dataset[step]
        batch.image_id[:] = np.random.default_rng(step).permutation(batch.image_id)
        assert ids_of(step, batch.image_id).tolist() == owner[batch.image_id].tolist()
        assert places_of(step, batch.image_id).tolist() == [
            known.index(owner[image]) for image in batch.image_id
        ]


def test_ids_and_places_train_the_same_network(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    train(run)
    monkeypatch.setattr(EmbeddingLoss, "labels_are_places", True)
    train(other)
    weights, metrics = (
        Path("round-000") / name for name in ("checkpoint/model.safetensors", "metrics.jsonl")
    )
    assert (run / weights).read_bytes() == (other / weights).read_bytes()
    losses = [
        [json.loads(line)["loss"] for line in (r / metrics).read_text().splitlines()] for r in (run, other)
    ]
    assert losses[0] == losses[1]
