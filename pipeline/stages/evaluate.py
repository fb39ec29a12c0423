"""`subspace eval`: the metrics that `eval.metrics` names, of a network on held-out identities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...mining.artifacts import read_json, write_json
from ...mining.errors import InputError
from ...mining.evaluation.registry import compute_metrics
from ...mining.manifest import Manifest
from ...mining.randomness import derived_seed
from ...train.checkpoint import load_network
from ...train.data.batches import DecodedBatches, ImageChunks, load_batches
from ...train.data.images import ImageStore
from ...train.devices import pick_device
from ...train.embedder import embed, forward_rate
from ...train.networks.backbone import Backbone
from ..config import RunConfig
from ..console import amount, table
from ..run_directory import RunDirectory
from .held_out import HeldOut
from .stage import Options, Stage, network_fingerprint, run_stage


def eval_stage(
    run: RunDirectory, config: RunConfig, manifest_fingerprint: str, round_index: int, held: HeldOut
) -> Stage:
    """The stage for the network that a round made; round -1 is the starting network."""
    return Stage(
        held.stage,
        run.network(round_index + 1),
        {
            "network": network_fingerprint(run, round_index + 1),
            "manifest": manifest_fingerprint,
            **held.fields,
            "extract.batch_size": config.extract.batch_size,
            "extract.precision": config.extract.precision,
        },
        (held.file,),
        f"subspace eval {run.path}",
    )


def evaluate(
    run: RunDirectory,
    config: RunConfig,
    manifest: Manifest,
    options: Options,
    *,
    round_index: int,
    held: HeldOut | None = None,
) -> dict[str, Any]:
    """Examine the network of one round (-1: the starting one) on the test identities, or on those of `held`."""
    held = held or HeldOut.test(config)
    stage = eval_stage(run, config, manifest.fingerprint, round_index, held)

    def estimate() -> str:
        images = np.unique(np.concatenate(held.choose_images(manifest)))
        network = load_network(f"checkpoint:{stage.folder / 'checkpoint'}")
        rate = forward_rate(network, pick_device(options.device), config.extract.precision)
        memory = manifest.table.nbytes + len(images) * network.embedding_size * 8
        return (
            f"{len(images):,} images of {', '.join(held.splits)} and distractors, about "
            f"{max(1, len(images) / rate):,.0f} s, {amount(memory)} of memory"
        )

    def work() -> dict[str, Any]:
        network = load_network(f"checkpoint:{stage.folder / 'checkpoint'}")
        metrics = evaluate_network(network, config, manifest, options, held)
        write_json(stage.folder / held.file, {"fingerprint": stage.fingerprint, **metrics})
        return {name: values["value"] for name, values in metrics["metrics"].items()}

    return run_stage(stage, options, estimate, work)


def evaluate_checkpoint(
    checkpoint: Path, config: RunConfig, manifest: Manifest, options: Options
) -> dict[str, Any]:
    """Evaluate a checkpoint folder on the test identities, outside a run; nothing is written."""
    network = load_network(f"checkpoint:{checkpoint}")
    return evaluate_network(network, config, manifest, options, HeldOut.test(config))


def evaluate_network(
    network: Backbone, config: RunConfig, manifest: Manifest, options: Options, held: HeldOut
) -> dict[str, Any]:
    """Embed gallery, probes and distractors, and compute the metrics with their 95 % intervals.

    One image of every held-out identity is its gallery image; its other images, of another group where the
    manifest has groups, are probes. The other identities' gallery images and one image of each distractor
    identity are what a probe can be mistaken for.
    """
    gallery, probe, distractor = held.choose_images(manifest)
    wanted = np.unique(np.concatenate((gallery, probe, distractor)))
    rows = _embeddings_of(wanted, network, config, manifest, options)
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
    image_id: np.ndarray, network: Backbone, config: RunConfig, manifest: Manifest, options: Options
) -> _Rows:
    chunks = ImageChunks(image_id, config.extract.batch_size)
    dataset = DecodedBatches(ImageStore(manifest), chunks, network.input.size)
    batches = load_batches(dataset, range(len(chunks)), config.extract.num_workers)
    ids, rows = [], []
    with options.console.progress("eval", len(image_id), "images") as progress:
        for embedded in embed(network, batches, pick_device(options.device), config.extract.precision):
            if embedded.batch.bad and config.data.on_bad_image == "fail":
                bad = embedded.batch.bad[0]
                raise InputError(
                    f"image {bad.image_id} cannot be read: {bad.reason}; or set data.on_bad_image=quarantine"
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


def evaluations(run: RunDirectory, rounds: int | None = None) -> dict[str, dict[str, Any]]:
    """The evaluation of the start and of each round (of the first `rounds`) that has one, by folder name."""
    folders = [run.start, *(run.round(index) for index in run.rounds[:rounds])]
    found = {folder.name: folder / "evaluation.json" for folder in folders}
    return {name: read_json(path) for name, path in found.items() if path.exists()}


def evaluation_table(named: dict[str, dict[str, Any]]) -> str:
    """Networks down, metrics across; each value in percent with its 95 % interval."""
    metrics = list(next(iter(named.values()))["metrics"])
    rows = [["network", *metrics]]
    for name, evaluation in named.items():
        rows.append([name, *(percent(evaluation["metrics"][metric]) for metric in metrics)])
    return table(rows)


def percent(metric: dict[str, float | None]) -> str:
    """`value [low, high]` in percent; a dash where there were too few pairs to say."""
    if metric["value"] is None or metric["low"] is None or metric["high"] is None:
        return "-"
    return f"{100 * metric['value']:.1f} [{100 * metric['low']:.1f}, {100 * metric['high']:.1f}]"
