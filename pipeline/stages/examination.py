"""A network examined: gallery, probes and distractors embedded, and the metrics with their intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

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
from ..console import counted
from ..faults.unreadable_images import UnreadableImages
from ..options import Options
from .context import patience_of
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
    identity are what a probe can be mistaken for. `unreadable_images` says how many of all were left out.

    Raises:
        InputError: an image cannot be read, and the settings say fail.
        StoppedEarly: more cannot be read than `data.max_bad_fraction` allows.
    """
    gallery, probe, distractor, unpaired = held.choose(manifest)
    wanted = np.unique(np.concatenate((gallery, probe, distractor)))
    rows = embeddings_of(wanted, network, config, manifest, options, flip=held.settings.flip)
    gallery, probe, distractor = _readable(rows, gallery, probe, distractor, manifest.identity_id)

    identity_id, settings = manifest.identity_id, held.settings
    evaluation = compute_metrics(
        settings.metric_names, rows.of(gallery), identity_id[gallery], rows.of(probe), identity_id[probe],
        distractors=rows.of(distractor), bootstrap=settings.bootstrap,
        seed=derived_seed(config.seed, "eval bootstrap"),
    )  # fmt: skip
    counts = {"unpaired_identities": unpaired, "unreadable_images": len(wanted) - len(rows.image_id)}
    return evaluation.to_json() | counts


class EmbeddedRows:
    """Embeddings by image id.

    >>> rows = EmbeddedRows(np.array([3, 7]), np.eye(2))
    >>> rows.of(np.array([7, 3])).tolist(), rows.has(np.array([5, 7])).tolist()
    ([[0.0, 1.0], [1.0, 0.0]], [False, True])
    """

    def __init__(self, image_id: np.ndarray, embeddings: np.ndarray) -> None:
        self.image_id, self.embeddings = image_id, embeddings

    def of(self, image_id: np.ndarray) -> np.ndarray:
        """Embeddings of these images, float32[n, D]; each is there."""
        return self.embeddings[np.searchsorted(self.image_id, image_id)]

    def has(self, image_id: np.ndarray) -> np.ndarray:
        """bool[n]: whether each of these images could be read."""
        return np.isin(image_id, self.image_id)


def embeddings_of(
    image_id: np.ndarray,
    network: Backbone,
    config: RunConfig,
    manifest: Manifest,
    options: Options,
    *,
    flip: bool,
) -> EmbeddedRows:
    """Embed these images of a manifest, int64[n] ascending; those that cannot be read are left out, and said.

    Raises:
        InputError: an image cannot be read, and the settings say fail.
        StoppedEarly: more cannot be read than `data.max_bad_fraction` allows.
    """
    chunks = ImageChunks(image_id, config.extract.batch_size)
    store = ImageStore(manifest, config.data.decoder)
    dataset = DecodedBatches(store, chunks, network.input)
    device = pick_device(options.device)
    workers = worker_count(config.extract.num_workers, device)
    patience = patience_of(config, options)
    batches = load_batches(dataset, range(len(chunks)), workers, pin=device.type == "cuda", patience=patience)
    ids, rows = np.empty_like(image_id), np.empty((len(image_id), network.embedding_size), np.float32)
    held, read = 0, UnreadableImages(config.data, store)
    with options.console.progress("eval", len(image_id), "images") as progress:
        for embedded in embed(network, batches, device, config.extract.precision, flip=flip):
            read.add(len(embedded.batch.image_id) + len(embedded.batch.bad), embedded.batch.bad)
            here = slice(held, held + len(embedded.batch.image_id))
            ids[here], rows[here] = embedded.batch.image_id, embedded.embeddings
            held = here.stop
            progress.update(len(embedded.batch.image_id) + len(embedded.batch.bad))
    read.end()
    if read.unreadable:
        bad = counted(read.unreadable, "unreadable image")
        options.console.say(f"eval: {bad} of {read.read:,} left out; the first: {read.first}")
    return EmbeddedRows(ids[:held], rows[:held])


def _readable(
    rows: EmbeddedRows, gallery: np.ndarray, probe: np.ndarray, distractor: np.ndarray, identity_id: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    gallery = gallery[rows.has(gallery)]
    probe = probe[rows.has(probe) & np.isin(identity_id[probe], identity_id[gallery])]
    return gallery, probe, distractor[rows.has(distractor)]
