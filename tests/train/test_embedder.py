"""Embeddings of image batches, and of images with their mirror images; with the stages that ask for these.

The means of an extraction, in tests/pipeline/stages/test_extract.py, are embeddings made one image at a time.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from conftest import subspace

from subspace.mining import Manifest
from subspace.train import Backbone, ImageBatch, ImageInput, ImageStore, embed, load_network

CPU = torch.device("cpu")


def batch_of(images: torch.Tensor) -> ImageBatch:
    return ImageBatch(step=0, image_id=np.arange(len(images)), images=images, bad=[])


def flip_test(network: Backbone, image: np.ndarray) -> np.ndarray:
    """InsightFace's: the two features, of no length yet, are added up and then normalised."""
    pair = torch.from_numpy(np.stack([image, image[:, :, ::-1]]))
    with torch.inference_mode():
        features = network.body(network.input.normalize(pair)).double().numpy()
    return features.sum(axis=0) / np.linalg.norm(features.sum(axis=0))


def test_flip_adds_the_features_of_the_mirror_image() -> None:
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 6, 5))
    network = Backbone(body, spec="mine", input=ImageInput((4, 6)), embedding_size=5)
    images = torch.randint(0, 256, (7, 3, 4, 6), dtype=torch.uint8)
    [plain], [flipped] = (list(embed(network, [batch_of(images)], CPU, flip=flip)) for flip in (False, True))
    expected = np.stack([flip_test(network, image) for image in images.numpy()])
    np.testing.assert_allclose(flipped.embeddings, expected, atol=1e-6)
    assert np.abs(plain.embeddings - expected).max() > 0.05
    [mirrored] = embed(network, [batch_of(images.flip(3))], CPU, flip=True)
    np.testing.assert_allclose(mirrored.embeddings, expected, atol=1e-6)
    [nothing] = embed(network, [batch_of(images[:0])], CPU, flip=True)
    assert nothing.embeddings.shape == (0, 5)


def test_stages_flip_where_they_are_asked_to(
    finished_run: Path, small_manifest: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    stale = subspace("extract", run, "--round", "0", "extract.flip=true")
    assert stale.returncode == 3
    assert "extract.flip=not set, now it is True" in stale.stderr

    done = subspace("extract", run, "--round", "0", "extract.flip=true", "--force")
    assert done.returncode == 0, done.stderr
    network, manifest = (
        load_network(f"checkpoint:{run / 'start' / 'checkpoint'}").eval(),
        Manifest.open(small_manifest),
    )
    rows = pq.read_table(run / "round-000" / "identities.parquet").to_pylist()
    for row in rows[::10]:
        images = np.flatnonzero(manifest.identity_id == row["identity_id"])
        decoded = [ImageStore(manifest).decode(int(image), network.input) for image in images]
        mean = np.mean([flip_test(network, image) for image in decoded], axis=0)
        np.testing.assert_allclose(row["mean"], mean / np.linalg.norm(mean), atol=2e-6)

    checkpoint = run / "round-000" / "checkpoint"
    tables = [
        subspace("eval", checkpoint, f"eval.flip={flip}", "--json").stdout for flip in ("false", "true")
    ]
    plain, flipped = (json.loads(table)[str(checkpoint)]["metrics"] for table in tables)
    assert plain.keys() == flipped.keys()
    assert plain != flipped
