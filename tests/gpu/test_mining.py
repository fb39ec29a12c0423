"""Clustering, running means and the plan on the device: the same bytes twice, and a plan that is the CPU's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import DEMO

from subspace.mining import (
    IdentityImages,
    PlanConfig,
    cluster_identities,
    nearest_in_subspace,
    plan_batches,
    write_plan,
)
from subspace.train.data.images import decode_image
from subspace.train.running_means import RunningMeans

IDENTITIES, IMAGES, D, PER_SUBSPACE = 240, 3, 64, 40


@pytest.fixture(scope="module")
def demo_means() -> np.ndarray:
    """float32[I, D]: glyphs of the demo, their pixels projected at random, averaged by identity; unit length."""
    table = pq.read_table(DEMO, columns=["identity", "image"])
    names, images = table["identity"].to_pylist(), table["image"]
    by_name: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        by_name.setdefault(name, []).append(row)
    project = np.random.default_rng(0).standard_normal((32 * 32, D)).astype(np.float32)
    means = []
    for rows in list(by_name.values())[:IDENTITIES]:
        pixels = np.stack([decode_image(images[row].as_py(), 32)[0].ravel() for row in rows[:IMAGES]])
        mean = ((pixels / 255 - 0.2).astype(np.float32) @ project).mean(axis=0)
        means.append(mean / np.linalg.norm(mean))
    return np.stack(means).astype(np.float32)


def plan_of(means: np.ndarray, device: str, folder: Path) -> tuple[bytes, bytes]:
    """Bytes of the subspaces, and of the plan made of them."""
    found = cluster_identities(means, ids_per_subspace=PER_SUBSPACE, seed=0, device=device)
    settings = PlanConfig(steps=30, P=16, K=2)
    images = IdentityImages(
        identity_id=np.arange(len(means), dtype=np.int32),
        offset=np.arange(len(means) + 1) * IMAGES,
        image_id=np.arange(len(means) * IMAGES),
    )
    neighbors = nearest_in_subspace(means, found.subspace_id, settings.draw.group_size - 1)
    write_plan(
        folder, plan_batches(images, found.subspace_id, settings, neighbors=neighbors, seed=0), images, "f"
    )
    plan = b"".join(path.read_bytes() for path in sorted(folder.glob("*.parquet")))
    return found.subspace_id.tobytes() + found.similarity.tobytes() + found.centroids.tobytes(), plan


def test_subspaces_and_plan_are_the_same_bytes_twice_and_the_plan_is_the_cpu_s(
    demo_means: np.ndarray, device: str, tmp_path: Path
) -> None:
    first, second = (plan_of(demo_means, device, tmp_path / name) for name in ("first", "second"))
    assert first == second
    on_cpu = plan_of(demo_means, "cpu", tmp_path / "cpu")
    assert hashlib.sha256(first[1]).hexdigest() == hashlib.sha256(on_cpu[1]).hexdigest()


def test_running_means_follow_the_formula(device: str) -> None:
    random = np.random.default_rng(0)
    means = random.standard_normal((50, 8))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    spread = random.uniform(0.1, 0.5, 50)
    running = RunningMeans.beginning(torch.from_numpy(means).float(), torch.from_numpy(spread).float(), 0.5)
    vector = means * (1 - spread)[:, None]
    for _ in range(4):
        labels = random.integers(0, 50, 24)
        rows = random.standard_normal((24, 8))
        running.update(torch.from_numpy(rows).float().to(device), torch.from_numpy(labels).to(device))
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for label in np.unique(labels):  # the formula of the docstring, an identity at a time
            vector[label] = 0.5 * vector[label] + 0.5 * unit[labels == label].mean(axis=0)
    length = np.linalg.norm(vector, axis=1)
    np.testing.assert_allclose(running.means(), vector / length[:, None], atol=2e-6)
    np.testing.assert_allclose(running.spread(), 1 - length, atol=2e-6)
