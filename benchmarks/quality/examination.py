"""How good a checkpoint is, on the 10,000 test identities of the glyph set: the quality columns of the table.

One gallery image of every test identity, and one probe of another type family, the same for every row. Distractors
are one image each of 100,000 other clean identities: validation, those with too few images to be trained on, and the
rest from training, since the set has no more. 1e8 impostor pairs, so FAR 1e-6 is a hundred false accepts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from glyph_sets import DISTRACTORS, SEED, is_clean, training_identities, wide_manifest

from subspace.mining.evaluation import compute_metrics, evaluation_pairs
from subspace.mining.manifest import Manifest
from subspace.mining.randomness import derived_seed, generator
from subspace.train.checkpoint import load_network
from subspace.train.data.batches import DecodedBatches, ImageChunks, load_batches
from subspace.train.data.images import ImageStore
from subspace.train.devices import pick_device
from subspace.train.embedder import embed

COLUMNS = {
    "rank1_10k": "Rank-1",
    "tar_1e-4": "TAR@FAR=1e-4",
    "tar_1e-5": "TAR@FAR=1e-5",
    "tar_1e-6": "TAR@FAR=1e-6",
    "coverage_p95": "coverage@P=0.95",
    "coverage_p99": "coverage@P=0.99",
}
"""Measured without distractors; `rank1_100k` is with them."""
BATCH = 512


def examine(checkpoint: Path) -> dict[str, float]:
    """The quality columns by key, each a share."""
    wide = wide_manifest()
    gallery, probe = test_pairs(wide)
    distractor = distractors(wide)
    wanted = np.unique(np.concatenate((gallery, probe, distractor)))
    embeddings = embedded(checkpoint, wide, wanted)

    def rows(image_id: np.ndarray) -> np.ndarray:
        return embeddings[np.searchsorted(wanted, image_id)]

    mated = rows(gallery), wide.identity_id[gallery], rows(probe), wide.identity_id[probe]
    alone = compute_metrics(tuple(COLUMNS.values()), *mated, bootstrap=1)
    crowded = compute_metrics(("Rank-1",), *mated, distractors=rows(distractor), bootstrap=1)
    found = {key: alone[name].value for key, name in COLUMNS.items()} | {
        "rank1_100k": crowded["Rank-1"].value
    }
    return {key: _value(value) for key, value in found.items()}


def test_pairs(wide: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Image ids of gallery and probes."""
    images = np.flatnonzero(wide.in_splits(("test",)))
    groups = wide.groups()
    assert groups is not None, "the glyph set has type families"
    pairs = evaluation_pairs(
        wide.identity_id[images], groups[images], probes_per_identity=1, seed=derived_seed(SEED, "pairs")
    )
    return images[pairs.gallery], images[pairs.probe]


def distractors(wide: Manifest) -> np.ndarray:
    """Image ids, one of each distractor identity; those never trained on come first."""
    trained = training_identities(wide).identity_id
    others = wide.identities_in(("train", "pretrain", "val"))
    clean = np.array([is_clean(int(name[2:], 16)) for name in wide.names_of(others.identity_id).to_pylist()])
    random = generator(SEED, "quality distractors")
    order = random.permutation(np.flatnonzero(clean))
    seen = np.isin(others.identity_id[order], trained)
    order = order[np.argsort(seen, kind="stable")][:DISTRACTORS]
    return others.image_id[
        others.offset[order] + (random.random(len(order)) * others.count[order]).astype(np.int64)
    ]


def embedded(checkpoint: Path, wide: Manifest, image_id: np.ndarray) -> np.ndarray:
    """float32[n, D] for image ids that rise."""
    network = load_network(f"checkpoint:{checkpoint}")
    chunks = ImageChunks(image_id, BATCH)
    dataset = DecodedBatches(ImageStore(wide), chunks, network.input)
    batches = load_batches(dataset, range(len(chunks)), num_workers=1)
    with torch.inference_mode():
        parts = [part.embeddings for part in embed(network, batches, pick_device())]
    return np.concatenate(parts)


def _value(value: float | None) -> float:
    if value is None:
        raise ValueError("too few pairs to measure")
    return value
