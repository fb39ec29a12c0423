"""A network examined: gallery, probes and distractors embedded, and the metrics with their intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...mining.errors import InputError
from ...mining.evaluation.registry import compute_metrics
from ...mining.manifest import Manifest
from ...mining.randomness import derived_seed
from ...train.checkpoint import load_network
from ...train.data.batches import DecodedBatches, ImageChunks, load_batches
from ...train.data.images import ImageStore
from ...train.devices import pick_device
from ...train.embedder import embed
from ...train.networks.backbone import Backbone
from ...train.networks.registry import CHECKPOINT_PREFIX
from ...train.workers import worker_count
from ..configuration.config import RunConfig
from ..options import Options
from .held_out import HeldOut


def examine_checkpoint(
    checkpoint: Path, config: RunConfig, manifest: Manifest, options: Options, *, allow_code: bool
) -> dict[str, Any]:
    """Examine a checkpoint folder on the test identities, outside a run; nothing is written."""
    network = load_network(f"{CHECKPOINT_PREFIX}{checkpoint}", allow_code=allow_code)
    return examine(network, config, manifest, options, HeldOut.test(config))


def examine(
    network: Backbone, config: RunConfig, manifest: Manifest, options: Options, held: HeldOut
) -> dict[str, Any]:
    """Embed gallery, probes and distractors, and compute the metrics with their 95 % intervals.

    One image of every held-out identity is its gallery image; its other images, of another group where the
    manifest has groups, are probes. The other identities' gallery images and one image of each distractor
    identity are what a probe can be mistaken for.
    """
    gallery, probe, distractor = held.choose_images(manifest)
    wanted = np.unique(np.concatenate((gallery, probe, distractor)))
    rows = _embeddings_of(wanted, network, config, manifest, options, flip=held.settings.flip)
    gallery, probe, distractor = _readable(rows, gallery, probe, distractor, manifest.identity_id)

    identity_id, settings = manifest.identity_id, held.settings
    return compute_metrics(
        settings.metric_names, rows.of(gallery), identity_id[gallery], rows.of(probe), identity_id[probe],
        distractors=rows.of(distractor), bootstrap=settings.bootstrap,
        seed=derived_seed(config.seed, "eval bootstrap"),
    ).to_json()  # fmt: skip


class _Rows:
    """Embeddings by image id."""

    def __init__(self, image_id: np.ndarray, embeddings: np.ndarray) -> None:
        self.image_id, self.embeddings = image_id, embeddings

    def of(self, image_id: np.ndarray) -> np.ndarray:
        return self.embeddings[np.searchsorted(self.image_id, image_id)]

    def has(self, image_id: np.ndarray) -> np.ndarray:
        return np.isin(image_id, self.image_id)


def _embeddings_of(
    image_id: np.ndarray,
    network: Backbone,
    config: RunConfig,
    manifest: Manifest,
    options: Options,
    *,
    flip: bool,
) -> _Rows:
    chunks = ImageChunks(image_id, config.extract.batch_size)
    dataset = DecodedBatches(ImageStore(manifest, config.data.decoder), chunks, network.input)
    device = pick_device(options.device)
    workers = worker_count(config.extract.num_workers, device)
    batches = load_batches(dataset, range(len(chunks)), workers, pin=device.type == "cuda")
    ids, rows = [], []
    with options.console.progress("eval", len(image_id), "images") as progress:
        for embedded in embed(network, batches, device, config.extract.precision, flip=flip):
            if embedded.batch.bad and config.data.on_bad_image == "fail":
                bad = embedded.batch.bad[0]
                raise InputError(
                    f"image {bad.image_id} cannot be read: {bad.reason}; restore it, or set data.on_bad_image=quarantine"
                )
            ids.append(embedded.batch.image_id)
            rows.append(embedded.embeddings)
            progress.update(len(embedded.batch.image_id))
    found = _Rows(np.concatenate(ids), np.concatenate(rows))
    if len(found.image_id) < len(image_id):
        options.console.say(f"eval: {len(image_id) - len(found.image_id):,} unreadable images are left out")
    return found


def _readable(
    rows: _Rows, gallery: np.ndarray, probe: np.ndarray, distractor: np.ndarray, identity_id: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    gallery = gallery[rows.has(gallery)]
    probe = probe[rows.has(probe) & np.isin(identity_id[probe], identity_id[gallery])]
    return gallery, probe, distractor[rows.has(distractor)]
