"""Means equal those of embeddings made one image at a time; damaged images are listed and left out.

Covers pipeline/stages/extraction.py as well.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import QUICK, subspace
from PIL import Image

from subspace.mining import Manifest
from subspace.train import ImageStore, load_network


def slow_means(
    manifest: Manifest, checkpoint: Path, identity_ids: list[int]
) -> dict[int, tuple[np.ndarray, float]]:
    """Mean and spread by their definitions, one image and one identity after another, in float64."""
    network = load_network(f"checkpoint:{checkpoint}").eval()
    store, found = ImageStore(manifest), {}
    for identity in identity_ids:
        rows = []
        for image_id in np.flatnonzero(manifest.identity_id == identity):
            image = store.decode(int(image_id), network.input.size)
            if isinstance(image, np.ndarray):
                with torch.inference_mode():
                    rows.append(network(torch.from_numpy(image)[None])[0].double().numpy())
        mean = np.mean(rows, axis=0)
        mean /= np.linalg.norm(mean)
        found[identity] = mean, float(np.mean([1 - row @ mean for row in rows]))
    return found


def test_means_and_spread(finished_run: Path, small_manifest: Path) -> None:
    table = pq.read_table(finished_run / "round-001" / "identities.parquet").to_pylist()
    manifest = Manifest.open(small_manifest)
    expected = slow_means(
        manifest, finished_run / "round-000" / "checkpoint", [row["identity_id"] for row in table]
    )
    assert len(table) == 48
    for row in table:
        mean, spread = expected[row["identity_id"]]
        np.testing.assert_allclose(row["mean"], mean, atol=2e-6)
        assert row["spread"] == pytest.approx(spread, abs=2e-6)
        assert row["images"] == np.sum(manifest.identity_id == row["identity_id"])
        assert (
            row["identity"]
            == manifest.table["identity"][int(np.argmax(manifest.identity_id == row["identity_id"]))].as_py()
        )


def test_unreadable_images_are_quarantined_and_the_run_goes_on(damaged: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = (*QUICK, "rounds=1", "data.max_bad_fraction=0.1")
    assert subspace("init", run, "--manifest", damaged, *settings).returncode == 0
    done = subspace("run", run)
    assert done.returncode == 0, done.stderr
    assert "unreadable" in done.stdout
    quarantine = pq.read_table(run / "round-000" / "quarantine.parquet").to_pylist()
    manifest = Manifest.open(damaged)
    store = ImageStore(manifest)
    train = np.flatnonzero(manifest.in_splits(["train", "pretrain"]))
    bad = [int(i) for i in train if not isinstance(store.decode(int(i), 32), np.ndarray)]
    assert [row["image_id"] for row in quarantine] == bad
    assert len(bad) > 6
    assert all(row["reason"] and row["uri"] and row["identity"] for row in quarantine)
    identities = pq.read_table(run / "round-000" / "identities.parquet")
    assert len(identities) == 47
    assert identities["images"].to_numpy().sum() == len(train) - len(bad)
    planned = np.concatenate(pq.read_table(run / "round-000" / "plan")["image_ids"].to_numpy())
    assert not np.isin(planned, bad).any()


def test_unreadable_images_can_be_refused(damaged: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = (*QUICK, "data.on_bad_image=fail", "pretrain.steps=0")
    assert subspace("init", run, "--manifest", damaged, *settings).returncode == 0
    assert subspace("pretrain", run).returncode == 0
    refused = subspace("extract", run)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "data.on_bad_image=quarantine" in refused.stderr
    assert not (run / "round-000" / "identities.parquet").exists()


def test_keep_embeddings(finished_run: Path, small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = (
        *QUICK,
        "extract.keep_embeddings=true",
        f"model=checkpoint:{finished_run / 'start' / 'checkpoint'}",
        "pretrain.steps=0",
    )
    assert subspace("init", run, "--manifest", small_manifest, *settings).returncode == 0
    assert subspace("pretrain", run).returncode == 0
    done = subspace("extract", run)
    assert done.returncode == 0, done.stderr
    embeddings = pq.read_table(run / "round-000" / "embeddings.parquet")
    assert embeddings.schema.field("embedding").type.value_type == pa.float16()
    manifest = Manifest.open(small_manifest)
    assert (
        embeddings["image_id"].to_pylist()
        == np.flatnonzero(manifest.in_splits(["train", "pretrain"])).tolist()
    )
    made, start = (pq.read_table(r / "round-000" / "identities.parquet")["mean"] for r in (run, finished_run))
    assert made.equals(start)


def test_means_of_some_images(finished_run: Path, small_manifest: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = (
        *QUICK,
        "extract.max_images=2",
        "extract.keep_embeddings=true",
        f"model=checkpoint:{finished_run / 'start' / 'checkpoint'}",
        "pretrain.steps=0",
    )
    assert subspace("init", run, "--manifest", small_manifest, *settings).returncode == 0
    assert subspace("pretrain", run).returncode == 0
    done = subspace("extract", run)
    assert done.returncode == 0, done.stderr
    table = pq.read_table(run / "round-000" / "identities.parquet")
    assert set(table["images"].to_pylist()) == {2}
    embeddings = pq.read_table(run / "round-000" / "embeddings.parquet")
    assert len(embeddings) == 2 * len(table)
    other = subspace("extract", run, "seed=1")
    assert other.returncode == 3, "another seed draws other images"
    assert "seed" in other.stderr


def mixed_folder(folder: Path, small_manifest: Path) -> None:
    """The small set as ordinary files: PNG and JPEG, grey and colour, of many sizes."""
    manifest = Manifest.open(small_manifest)
    random = np.random.default_rng(0)
    rows = manifest.table.select(["identity", "image"]).to_pylist()
    for number, row in enumerate(rows):
        place = folder / row["identity"]
        place.mkdir(parents=True, exist_ok=True)
        image = Image.open(io.BytesIO(row["image"]))
        size = tuple(random.integers(20, 90, 2).tolist())
        image = image.convert("RGB" if number % 2 else "L").resize(size)
        image.save(
            place / (f"{number}.png" if number % 3 else f"{number}.JPG"), None if number % 3 else "JPEG"
        )


def test_the_loop_runs_on_a_folder_of_ordinary_files(small_manifest: Path, tmp_path: Path) -> None:
    mixed_folder(tmp_path / "photos", small_manifest)
    out, run = tmp_path / "photos.parquet", tmp_path / "run"
    done = subspace("ingest", tmp_path / "photos", "--out", out, "--test-fraction", "0.3")
    assert done.returncode == 0, done.stderr
    assert subspace("init", run, "--manifest", out, *QUICK).returncode == 0
    done = subspace("run", run)
    assert done.returncode == 0, done.stderr
    assert "Rank-1" in done.stdout
    assert len(pq.read_table(run / "round-000" / "quarantine.parquet")) == 0
