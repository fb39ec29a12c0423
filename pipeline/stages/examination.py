"""A network examined: gallery, probes and distractors embedded, and the metrics with their intervals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...mining.clustering.product_speed import compared_seconds
from ...mining.evaluation.mated_probes import MatedProbes
from ...mining.evaluation.memory import RETRIEVAL_BYTES, metric_bytes
from ...mining.evaluation.mistakes import MOST_COMPARED, table_of_mistakes, worst_mistakes
from ...mining.evaluation.registry import compute_metrics, is_retrieval
from ...mining.evaluation.retrieval import Retrieval, retrieval_metrics
from ...mining.evaluation.settings import EvalConfig
from ...mining.machine import memory_with
from ...mining.manifest import Manifest
from ...mining.randomness import derived_seed
from ...train.checkpoint import load_network
from ...train.data.batches import DecodedBatches, ImageChunks, load_batches
from ...train.data.images import ImageStore
from ...train.devices import pick_device
from ...train.embedder import embed
from ...train.networks.backbone import Backbone
from ...train.networks.registry import CHECKPOINT_PREFIX
from ...train.speed import embedding_work
from ...train.workers import worker_count
from ..configuration.config import RunConfig
from ..console import counted
from ..estimates.estimate import Estimate, of_memory
from ..estimates.metric_speed import metric_pairs, metric_seconds, retrieval_seconds
from ..faults.unreadable_images import UnreadableImages
from ..options import Options
from .context import patience_of
from .held_out import HeldOut, Ranked, has_flags, query_and_gallery

LOOKS_FOR_MISTAKES = 2.5
"""What the search for mistakes does with a similarity (`compared_seconds`)."""


def examine_checkpoint(
    checkpoint: Path, config: RunConfig, manifest: Manifest, options: Options, *, allow_code: bool
) -> dict[str, Any]:
    """Examine a checkpoint folder on the test identities, outside a run; nothing is written."""
    network = load_network(f"{CHECKPOINT_PREFIX}{checkpoint}", allow_code=allow_code)
    held = HeldOut.test(config)
    options.console.say(f"eval: {cost_of_examination(network, config, manifest, options, held)}")
    return examine(network, config, manifest, options, held)


def cost_of_examination(
    network: Backbone,
    config: RunConfig,
    manifest: Manifest,
    options: Options,
    held: HeldOut,
    *,
    mistakes: bool = False,
) -> Estimate:
    """What `examine` takes, from some images that are decoded and embedded here.

    Args:
        mistakes: they are looked for, too.
    """
    examined = held.choose_examined(manifest)
    images, ranked = examined.images, examined.ranked
    embedding = embedding_work(
        network,
        ImageStore(manifest, config.data.decoder),
        images,
        len(images),
        pick_device(options.device),
        config.extract.precision,
        batch_size=config.extract.batch_size,
        num_workers=config.extract.num_workers,
        flip=held.settings.flip,
    )
    names, width = held.settings.metric_names, network.embedding_size
    gallery, probes, distractors = (len(side) for side in examined.pairs[:3])
    seconds = embedding.seconds + metric_seconds(
        names, gallery, probes, distractors, width, held.settings.bootstrap
    )
    if mistakes:
        compared = min(MOST_COMPARED, probes * (gallery + distractors))
        seconds += compared_seconds(compared, width, LOOKS_FOR_MISTAKES)
    more = (
        4 * (gallery + probes + distractors) * width
        + metric_bytes(names, gallery, probes, distractors, width)
        + embedding.memory
    )  # the manifest is in memory already
    whom = f"{len(images):,} images of {', '.join(held.splits)} and distractors"
    if ranked is not None:
        queries, rows = len(ranked.query), len(np.union1d(ranked.query, ranked.gallery))
        seconds += retrieval_seconds(queries, len(ranked.gallery), width)
        more += 4 * rows * width * (1 if ranked.leave_one_out else 2) + RETRIEVAL_BYTES
        whom += f" (all images of the identities: {queries:,} queries x {len(ranked.gallery):,} are ranked)"
    return Estimate(whom, seconds, f"{embedding.slow_decoding}, {of_memory(memory_with(more))}")


def examine(
    network: Backbone,
    config: RunConfig,
    manifest: Manifest,
    options: Options,
    held: HeldOut,
    seen_by: Callable[[np.ndarray, np.ndarray], None] | None = None,
    on_mistakes: Callable[[pa.Table], None] | None = None,
) -> dict[str, Any]:
    """Embed gallery, probes and distractors, and compute the metrics with their 95 % intervals.

    One image of every held-out identity is its gallery image; its other images, of another group where the
    manifest has groups, are probes. The other identities' gallery images and one image of each distractor
    identity are what a probe can be mistaken for. Retrieval metrics rank all images of the held-out identities, which are
    embedded where one is asked for. `unreadable_images` says how many of all were left out.

    Args:
        seen_by: called with the embeddings of gallery and probes, float32[n, D], and their image ids.
        on_mistakes: called with the worst mistakes, a `mistakes` table.

    Raises:
        InputError: an image cannot be read, and the settings say fail.
        StoppedEarly: more cannot be read than `data.max_bad_fraction` allows.
    """
    (gallery, probe, distractor, unpaired), ranked = held.choose_examined(manifest)
    sizes = [len(gallery), len(probe), len(distractor)]
    others = np.empty(0, np.int64) if ranked is None else np.union1d(ranked.query, ranked.gallery)
    asked = np.concatenate((gallery, probe, distractor, others))
    rows, readable = embeddings_of(asked, network, config, manifest, options, flip=held.settings.flip)
    ends, settings, owner = np.cumsum(sizes), held.settings, manifest.identity_id[asked]
    seen = np.split(readable, ends)
    if not readable.all():
        seen[1] &= np.isin(manifest.identity_id[probe], manifest.identity_id[gallery][seen[0]])
    sides = zip(*(np.split(whole, ends) for whole in (rows, owner)), seen, strict=True)
    (gallery_rows, gallery_id), (probe_rows, probe_id), (distractor_rows, _), (other_rows, _) = (
        (side, ids) if kept.all() else (side[kept], ids[kept]) for side, ids, kept in sides
    )
    if seen_by is not None:
        mated = np.flatnonzero(readable[: ends[1]])
        seen_by(rows[mated], asked[mated])
    names, seed = settings.metric_names, derived_seed(config.seed, "eval bootstrap")
    of_pairs = [name for name in names if not is_retrieval(name)]
    pairs = metric_pairs(
        of_pairs, len(gallery_rows), len(probe_rows), len(distractor_rows), settings.bootstrap
    )
    with options.console.progress("eval: metrics", pairs, "pairs") as progress:
        evaluation = compute_metrics(
            of_pairs, gallery_rows, gallery_id, probe_rows, probe_id,
            distractors=distractor_rows, bootstrap=settings.bootstrap, seed=seed, track=progress.update,
        )  # fmt: skip
    if on_mistakes is not None:
        mated = MatedProbes.match(gallery_rows, gallery_id, probe_rows, probe_id, distractors=distractor_rows)
        images = [side[kept] for side, kept in zip((gallery, probe, distractor), seen, strict=False)]
        worst = worst_mistakes(mated, seed=config.seed)
        on_mistakes(
            table_of_mistakes(
                worst, mated, *images, identity_id=manifest.identity_id, names=manifest.table["identity"]
            )
        )
    counts = {"unpaired_identities": unpaired, "unreadable_images": len(np.unique(asked[~readable]))}
    found = evaluation.to_json() | counts
    if has_flags(manifest) and query_and_gallery(manifest, np.concatenate((gallery, probe))) is not None:
        found["flags"] = "gallery images and probes as is_gallery and is_query say"
    if ranked is not None:
        asked_too = [name for name in names if is_retrieval(name)]
        device = "cuda" if pick_device(options.device).type == "cuda" else "cpu"
        pairs = len(ranked.query) * len(ranked.gallery)
        with options.console.progress("eval: rankings", pairs, "pairs") as progress:
            retrieval = _ranking(
                ranked,
                others[seen[3]],
                other_rows,
                asked_too,
                manifest,
                settings,
                seed,
                device,
                progress.update,
            )
        metrics = found["metrics"] | retrieval.to_json()["metrics"]
        found["metrics"] = {name: metrics[name] for name in names}
        found["retrieval"] = retrieval.counts() | {"rule": ranked.words}
    return found


def _ranking(
    ranked: Ranked, image_id: np.ndarray, rows: np.ndarray, names: list[str], manifest: Manifest,
    settings: EvalConfig, seed: int, device: str, track: Callable[[int], None],
) -> Retrieval:  # fmt: skip
    """Retrieval over images that could be read: `image_id`, ascending, embedded in `rows`."""
    groups = None if settings.ignore_groups else manifest.groups()

    def known(side: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
        images = side[np.isin(side, image_id)]
        of_rows = rows if len(images) == len(image_id) else rows[np.searchsorted(image_id, images)]
        return of_rows, manifest.identity_id[images], None if groups is None else groups[images], images

    query, query_id, query_group, query_image = known(ranked.query)
    alone = (None, None, None, None)
    gallery, gallery_id, gallery_group, gallery_image = (
        alone if ranked.leave_one_out else known(ranked.gallery)
    )
    return retrieval_metrics(
        names, query, query_id, gallery, gallery_id, query_group=query_group, gallery_group=gallery_group,
        query_image=query_image, gallery_image=gallery_image, bootstrap=settings.bootstrap, seed=seed, device=device,
        track=track,
    )  # fmt: skip


def embeddings_of(
    image_id: np.ndarray,
    network: Backbone,
    config: RunConfig,
    manifest: Manifest,
    options: Options,
    *,
    flip: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Embed images of a manifest, int64[n] in any order; those that cannot be read are said.

    Returns:
        float32[n, D], unit length, zeros where an image could not be read; and bool[n], whether it could.

    Raises:
        InputError: an image cannot be read, and the settings say fail.
        StoppedEarly: more cannot be read than `data.max_bad_fraction` allows.
    """
    wanted, place, back = np.unique(image_id, return_index=True, return_inverse=True)
    rows = np.zeros((len(image_id), network.embedding_size), np.float32)
    readable = np.zeros(len(image_id), bool)
    chunks = ImageChunks(wanted, config.extract.batch_size)
    store = ImageStore(manifest, config.data.decoder)
    dataset = DecodedBatches(store, chunks, network.input)
    device = pick_device(options.device)
    workers = worker_count(config.extract.num_workers, device)
    patience = patience_of(config, options)
    batches = load_batches(dataset, range(len(chunks)), workers, pin=device.type == "cuda", patience=patience)
    read = UnreadableImages(config.data, store)
    with options.console.progress("eval", len(wanted), "images") as progress:
        for embedded in embed(network, batches, device, config.extract.precision, flip=flip):
            done = embedded.batch.image_id
            read.add(len(done) + len(embedded.batch.bad), embedded.batch.bad)
            here = place[np.searchsorted(wanted, done)]
            rows[here], readable[here] = embedded.embeddings, True
            progress.update(len(done) + len(embedded.batch.bad))
    read.end()
    if read.unreadable:
        bad = counted(read.unreadable, "unreadable image")
        options.console.say(f"eval: {bad} of {read.read:,} left out; the first: {read.first}")
    again = np.flatnonzero(place[back] != np.arange(len(image_id)))
    rows[again], readable[again] = rows[place[back[again]]], readable[place[back[again]]]
    return rows, readable
