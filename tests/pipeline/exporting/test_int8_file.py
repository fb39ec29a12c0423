"""What 8 bits cost is measured on images of the run. Covers pipeline/exporting/sample_images.py, too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from conftest import subspace

from subspace.mining import InputError, Manifest
from subspace.pipeline.configuration.config_file import load_config
from subspace.pipeline.exporting.int8_file import int8_loss
from subspace.pipeline.exporting.sample_images import SampleImages, draw_samples
from subspace.train import ImageInput
from subspace.train.data.images import ImageStore


def test_the_loss_is_that_of_a_slow_loop() -> None:
    random = np.random.default_rng(0)
    exact, rough = (_unit(random.normal(size=(70, 8))) for _ in range(2))
    numbers = np.arange(70, dtype=np.uint8).reshape(70, 1, 1, 1)
    identity_id = np.r_[np.arange(30), np.arange(30), np.arange(10)].astype(np.int32)
    sample = SampleImages(numbers, identity_id, probes=30)
    loss = int8_loss(lambda x: exact[x.ravel()], lambda x: rough[x.ravel()], sample)

    cosines = [float(a @ b) for a, b in zip(exact, rough, strict=True)]
    assert loss.images == 70
    assert loss.mean_cosine == pytest.approx(sum(cosines) / 70)
    assert loss.worst_cosine == pytest.approx(min(cosines))
    expected = []
    for rows in (exact, rough):
        hits = 0
        for probe in range(30, 70):
            nearest = max(range(30), key=lambda place, p=probe, r=rows: float(r[place] @ r[p]))
            hits += identity_id[nearest] == identity_id[probe]
        expected.append(hits / 40)
    assert loss.rank_1 == pytest.approx(tuple(expected))
    assert "Rank-1" not in int8_loss(lambda x: exact[x.ravel()], lambda x: exact[x.ravel()],
                                     SampleImages(numbers, identity_id, None)).in_words()  # fmt: skip


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_sample_is_a_gallery_image_and_a_probe_of_each_test_identity(finished_run: Path) -> None:
    config = load_config(finished_run / "subspace.yaml")
    manifest = Manifest.open(config.manifest)
    sample = draw_samples(manifest, config, ImageInput(16))
    tests = np.unique(manifest.identity_id[manifest.in_splits(["test"])])
    assert sample.probes == len(tests) == 16
    assert sample.identity_id[:16].tolist() == tests.tolist()
    assert sorted(sample.identity_id[16:].tolist()) == tests.tolist()
    assert sample.images.shape == (32, 3, 16, 16)
    assert len({image.tobytes() for image in sample.images}) > 28


def test_without_pairs_any_images_will_do_and_unreadable_ones_are_left_out(finished_run: Path) -> None:
    config = load_config(
        finished_run / "subspace.yaml", ["data.test_splits=[nothing]", "data.max_bad_fraction=0.6"]
    )
    manifest = Manifest.open(config.manifest)
    images = [
        b"no image" if row % 2 else image for row, image in enumerate(manifest.table["image"].to_pylist())
    ]
    place = manifest.table.schema.get_field_index("image")
    broken = Manifest(
        manifest.path, manifest.table.set_column(place, "image", pa.array(images, pa.binary())), "0"
    )
    sample = draw_samples(broken, config, ImageInput(16))
    assert sample.probes is None
    assert len(sample.images) == len(images) // 2
    nothing = pa.array([b"no image"] * len(images), pa.binary())
    broken = Manifest(manifest.path, manifest.table.set_column(place, "image", nothing), "0")
    with pytest.raises(InputError, match="none of 420 images can be read"):
        draw_samples(broken, config, ImageInput(16))


def test_the_loss_that_is_told_is_that_of_the_files(
    finished_run: Path, exported: Path, tmp_path: Path
) -> None:
    words = ("--to", "onnx", "--quantize", "int8", "--out", tmp_path / "out", "--json")
    told = json.loads(subspace("export", finished_run, *words).stdout)["files"]["model.int8.onnx"]
    config = load_config(finished_run / "subspace.yaml")
    manifest = Manifest.open(config.manifest)
    store, tests = ImageStore(manifest), np.flatnonzero(manifest.in_splits(["test"]))
    images = np.stack([np.asarray(store.decode(int(row), 32)) for row in tests])
    exact, rough = (
        onnxruntime.InferenceSession(exported / name).run(None, {"images": images})[0]
        for name in ("model.onnx", "model.int8.onnx")
    )
    cosines = (exact * rough).sum(1)
    assert told["loss"]["mean_cosine"] == pytest.approx(cosines.mean(), abs=2e-3)
    assert cosines.min() - 2e-3 < told["loss"]["worst_cosine"] < 1
    assert told["bytes"] == (exported / "model.int8.onnx").stat().st_size
    assert told["bytes"] < 0.3 * (exported / "model.onnx").stat().st_size
