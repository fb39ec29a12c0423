"""How good a checkpoint is, on test identities of glyphs or words: the quality columns of the table.

The first exam on glyphs has all 10,000: one gallery image of every test identity, and one probe of another type family, the same
for every row. Distractors are one image each of 100,000 other clean identities: validation, those with too few images
to be trained on, and the rest from training, since the set has no more. 1e8 impostor pairs, so FAR 1e-6 is a hundred
false accepts.

The second can be passed: it has the same pairs but for letters that no eye could tell apart, by the rule of
lookalikes.py, which knows no network. Of two test identities that look alike the later one in Unicode is left out, and
so is every distractor that looks like one of those that stay; others take its place.

Words have one exam, with 10,000 words that are held out in every size, and 100,000 distractors of other stems.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from data_sets import is_of_words, set_named
from glyph_sets import DISTRACTORS, SEED, is_clean, training_identities, wide_manifest
from lookalikes import alike, lookalikes, pairs_of, told_apart

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
TOLD_APART = "told_apart_"
"""Begins the keys of the second exam."""
BATCH = 512


def examine(checkpoint: Path, data: str) -> dict[str, float]:
    """The quality columns of the exams of a set by key, each a share."""
    if is_of_words(data):
        manifest = Manifest.open(set_named(data).begun_on.write())
        exams = (Exam.of_words(manifest),)
    else:
        manifest = wide_manifest()
        exams = (Exam.of_all(manifest), Exam.of_those_told_apart(manifest))
    wanted = np.unique(np.concatenate([images for exam in exams for images in exam.images]))
    embeddings = embedded(checkpoint, manifest, wanted)
    found = {}
    for exam in exams:
        rows = [embeddings[np.searchsorted(wanted, images)] for images in exam.images]
        found |= {exam.prefix + key: value for key, value in exam.measure(manifest, *rows).items()}
    return found


@dataclass(frozen=True)
class Exam:
    """Image ids that a network is examined on."""

    prefix: str
    """Of the keys of its columns."""
    gallery: np.ndarray
    probe: np.ndarray
    distractors: np.ndarray

    @classmethod
    def of_all(cls, wide: Manifest) -> Exam:
        """Every test identity."""
        return cls("", *test_pairs(wide), distractors(wide))

    @classmethod
    def of_those_told_apart(cls, wide: Manifest) -> Exam:
        """Without what no eye could tell apart."""
        gallery, probe = test_pairs(wide)
        identity_id, pairs = wide.identity_id[gallery], pairs_of(lookalikes(wide))
        left = told_apart(identity_id, pairs)
        return cls(TOLD_APART, gallery[left], probe[left], distractors(wide, alike(identity_id[left], pairs)))

    @classmethod
    def of_words(cls, words: Manifest) -> Exam:
        """Every test identity among the distractors of a word set; words are other letters, so that they can be told apart."""
        return cls("", *test_pairs(words), np.flatnonzero(words.in_splits(("distractor",))))

    @property
    def images(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gallery, probes and distractors."""
        return self.gallery, self.probe, self.distractors

    def measure(
        self, wide: Manifest, gallery: np.ndarray, probe: np.ndarray, distractor: np.ndarray
    ) -> dict[str, float]:
        """The columns by key, without a prefix, from the embeddings of its images."""
        mated = gallery, wide.identity_id[self.gallery], probe, wide.identity_id[self.probe]
        alone = compute_metrics(tuple(COLUMNS.values()), *mated, bootstrap=1)
        crowded = compute_metrics(("Rank-1",), *mated, distractors=distractor, bootstrap=1)
        found = {key: alone[name].value for key, name in COLUMNS.items()}
        found["rank1_100k"] = crowded["Rank-1"].value
        return {key: _value(value) for key, value in found.items()}


def test_pairs(wide: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Image ids of gallery and probes, one each of every test identity, by identity."""
    images = np.flatnonzero(wide.in_splits(("test",)))
    groups = wide.groups()
    assert groups is not None, "the glyph set has type families"
    pairs = evaluation_pairs(
        wide.identity_id[images], groups[images], probes_per_identity=1, seed=derived_seed(SEED, "pairs")
    )
    return images[pairs.gallery], images[pairs.probe]


def distractors(wide: Manifest, without: np.ndarray | None = None) -> np.ndarray:
    """Image ids, one of each distractor identity but those `without`; those never trained on come first."""
    trained = training_identities(wide).identity_id
    others = wide.identities_in(("train", "pretrain", "val"))
    clean = np.array([is_clean(int(name[2:], 16)) for name in wide.names_of(others.identity_id).to_pylist()])
    random = generator(SEED, "quality distractors")
    order = random.permutation(np.flatnonzero(clean))
    seen = np.isin(others.identity_id[order], trained)
    order = order[np.argsort(seen, kind="stable")]
    image_id = others.image_id[
        others.offset[order] + (random.random(len(order)) * others.count[order]).astype(np.int64)
    ]
    if without is not None:
        image_id = image_id[~np.isin(wide.identity_id[image_id], without)]
    return image_id[:DISTRACTORS]


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
