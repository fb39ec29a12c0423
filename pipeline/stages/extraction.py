"""The work of an extraction: image batches through the network, and means by identity."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from ...mining.artifacts import remove
from ...mining.clustering.means import IdentityMeans, identity_means
from ...mining.errors import InputError, StaleArtifactError
from ...mining.machine import memory_with
from ...mining.parquet_tables import write_parquet
from ...mining.schemas import EMBEDDINGS, IDENTITIES, QUARANTINE, vector
from ...train.data.batches import DecodedBatches, load_batches
from ...train.data.images import BadImage, ImageStore
from ...train.devices import pick_device, settled
from ...train.embedder import EmbeddedBatch, embed
from ...train.speed import embedding_work
from ...train.workers import worker_count
from .. import stage_folder as files
from ..console import Progress, amount, counted
from ..estimates.estimate import Estimate, of_memory
from ..faults.unreadable_images import UnreadableImages
from ..network_identity import open_checkpoint
from .context import Context
from .extraction_processes import devices_of, make_in_processes
from .parts import SECONDS, ExtractParts, PartBatches, Shard, begun_by
from .stage import Stage


class Extraction:
    """The work of one extraction, or of one shard of it.

    Raises:
        InputError: fewer than two training identities, or no such device.
    """

    def __init__(self, context: Context, stage: Stage) -> None:
        self.context, self.stage = context, stage
        config, manifest = context.config, context.manifest
        self.config, self.manifest, self.options = config, manifest, context.options
        self.identities = context.training_identities()
        if len(self.identities) < 2:
            raise InputError(
                f"{manifest.path} has {len(self.identities)} identities in {' and '.join(config.data.train_splits)}; "
                f"at least two are needed (its splits: {', '.join(manifest.splits)}){context.left_out.words}"
            )
        self.store = ImageStore(manifest, config.data.decoder)
        self.network = open_checkpoint(context.before.checkpoint, config)
        self.device = pick_device(self.options.device)
        self.arithmetic = settled(self.device, config.extract.precision)
        self.parts = ExtractParts(stage.folder, self.identities, config.extract, stage.fingerprint)
        self.processes = min(self.options.processes, len(self.parts))
        self.num_workers = worker_count(config.extract.num_workers, self.device, self.processes)

    def estimate(self, shard: Shard | None = None) -> Estimate:
        """Images, time, memory and disk of what is left to make, of all or of a shard, in a line."""
        mine, extract, D = self.parts.of(shard or Shard()), self.config.extract, self.network.embedding_size
        todo = mine if self.stage.begins_anew(self.options) else self.parts.missing(shard)
        images, identities = self.parts.images(todo), sum(len(self.parts[part]) for part in todo)
        processes = max(1, min(self.processes, len(todo)))
        devices = sorted({*devices_of(self.options.device, processes)})
        work = embedding_work(
            self.network,
            self.store,
            self.identities.image_id,
            max(1, images),  # of none nothing can be timed
            self.device,
            extract.precision,
            batch_size=extract.batch_size,
            num_workers=self.num_workers,
            flip=extract.flip,
        )
        disk = identities * D * 4 + images * D * 2 * extract.keep_embeddings
        if shard is None:  # the parts are there until they are merged
            kept = self.parts.images(mine) * extract.keep_embeddings
            disk += len(self.identities) * D * 4 + kept * D * 2
        memory = processes * memory_with(self._bytes() + work.memory) + (processes > 1) * memory_with(0)
        return Estimate(
            f"{images:,} images of {identities:,} identities on {', '.join(devices)} "
            f"({self.arithmetic}, {counted(self.num_workers, 'loader process', 'loader processes')}, "
            f"JPEGs by {self.store.jpeg}) "
            f"in {f'{len(todo):,} of ' if len(todo) < len(self.parts) else ''}{counted(len(self.parts), 'part')}"
            + (f" by {processes} processes" if processes > 1 else ""),
            work.seconds / len(devices),
            f"{work.slow_decoding}, {of_memory(memory)}, {amount(disk)} of disk{self.context.left_out.words}",
        )

    def _bytes(self) -> float:
        """What the results of a part take in one process."""
        extract, D = self.config.extract, self.network.embedding_size
        identities = min(len(self.identities), extract.identities_per_part)
        images = self.parts.images(range(len(self.parts))) / len(self.parts) if extract.keep_embeddings else 0
        return identities * (8 * D + 100) + images * (4 * D + 24)  # means, and as a table; kept embeddings

    def begin(self) -> None:
        """Note what the parts depend on; others go first where what is stale is to be remade.

        Raises:
            StaleArtifactError: there are parts that depend on something else, and nobody asked for that.
        """
        begun = begun_by(self.stage)
        try:
            begun.begin()
        except StaleArtifactError:
            if not self.options.remake_stale:
                raise
            remove(begun.folder)
            begun.begin()

    def work(self, shard: Shard | None) -> dict[str, Any] | None:
        """Make the missing parts, of all or of a shard; merge all, and return the summary. None: a shard is done."""
        self.begin()
        mine = self.parts.of(shard or Shard())
        if others := self.parts.drop_others(mine):
            self.options.console.say(
                f"{self.stage.label}: {counted(others, 'part')} made with other settings or inputs: made again"
            )
        if back := self.parts.forget_what_is_back(mine, self.store, self.network.input):
            self.options.console.say(
                f"{self.stage.label}: images that {counted(back, 'part')} went without are back: made again"
            )
        todo = self.parts.missing(shard)
        total = self.parts.images(mine)
        done = total - self.parts.images(todo)
        earlier = self.parts.seconds(set(mine) - set(todo))
        started = time.monotonic()
        with self.options.console.progress("extract", total, "images", done) as progress:
            if todo and self.processes > 1:
                words = ("extract", str(self.context.run.path), "--round", str(self.context.round_index))
                make_in_processes(self.parts, words, self.options, progress)
            else:
                self._extract(mine, todo, progress)
        seconds = time.monotonic() - started
        read = self._read_so_far(mine)
        read.end()
        if shard is not None:
            bad = f", without {counted(read.unreadable, 'unreadable image')}" if read.unreadable else ""
            self.options.console.say(
                f"shard {shard.index} of {shard.count} is done, {len(mine)} of {len(self.parts)} parts{bad}; when all "
                f"are, `{self.stage.command}` merges them"
            )
            return None
        return {
            **self._merge((total - done) / seconds if todo else None),
            "seconds": round(earlier + time.monotonic() - started, 3),
        }

    def _read_so_far(self, parts: list[int]) -> UnreadableImages:
        """What the finished ones of some parts have read, and what they could not."""
        read = UnreadableImages(self.config.data, self.store, self.config.extract.max_images or 1)
        read.count_parts(self.parts, parts)
        return read

    def _extract(self, mine: list[int], todo: list[int], progress: Progress) -> None:
        """Make the parts one after another, all with the same loader processes."""
        extract, device = self.config.extract, self.device
        image_ids = PartBatches(self.parts, todo, extract, self.config.seed)
        dataset = DecodedBatches(self.store, image_ids, self.network.input)
        batches = load_batches(
            dataset,
            range(len(image_ids)),
            self.num_workers,
            pin=device.type == "cuda",
            patience=self.context.patience,
        )
        embedded = embed(self.network, batches, device, extract.precision, flip=extract.flip)
        read = self._read_so_far(mine)
        for part in todo:
            self._extract_part(part, islice(embedded, image_ids.of(part)), progress, read)

    def _extract_part(
        self, part: int, batches: Iterator[EmbeddedBatch], progress: Progress, read: UnreadableImages
    ) -> None:
        extract, started = self.config.extract, time.monotonic()
        bad: list[BadImage] = []
        most = self.parts.images([part]) if extract.keep_embeddings else 0
        kept, image_id = 0, np.empty(most, np.int64)  # not kept batch by batch: see `IdentityMeans.joined`
        halves = np.empty((most, self.network.embedding_size), np.float16)

        def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            nonlocal kept
            for embedded in batches:
                bad.extend(embedded.batch.bad)
                read.add(len(embedded.batch.image_id) + len(embedded.batch.bad), embedded.batch.bad)
                if extract.keep_embeddings:
                    start, kept = kept, kept + len(embedded.batch.image_id)
                    image_id[start:kept], halves[start:kept] = embedded.batch.image_id, embedded.embeddings
                progress.update(len(embedded.batch.image_id) + len(embedded.batch.bad))
                yield self.manifest.identity_id[embedded.batch.image_id], embedded.embeddings

        means = IdentityMeans.joined(
            identity_means(blocks()), extract.identities_per_part, self.network.embedding_size
        )
        if extract.keep_embeddings:
            table = self._embedding_table(image_id[:kept], halves[:kept])
            write_parquet(self.parts.path(part, "embeddings"), EMBEDDINGS, table, self.stage.fingerprint)
        quarantine = self._quarantine_table(bad)
        write_parquet(self.parts.path(part, "quarantine"), QUARANTINE, quarantine, self.stage.fingerprint)
        # The means come last: they say that the part is complete.
        took = {SECONDS: f"{time.monotonic() - started:.3f}"}
        write_parquet(
            self.parts.path(part), IDENTITIES, self._identity_table(means), self.stage.fingerprint, took
        )

    def _merge(self, rate: float | None) -> dict[str, Any]:
        folder = self.stage.folder
        kinds = [
            ("quarantine", QUARANTINE, folder.quarantine),
            ("means", IDENTITIES, folder.identities),
        ]
        if self.config.extract.keep_embeddings:
            kinds.append(("embeddings", EMBEDDINGS, folder.file(files.EMBEDDINGS)))
        else:  # those of a command that was killed before its end are of other settings
            folder.file(files.EMBEDDINGS).unlink(missing_ok=True)
        count = {what: self.parts.merge(what, kind, path) for what, kind, path in kinds}
        lost = len(self.identities) - count["means"]
        if count["means"] < 2:
            raise InputError(
                f"{count['quarantine']} images are unreadable and fewer than two identities remain; see {folder.quarantine}"
            )
        self.options.console.say(
            f"{self.stage.label}: {count['means']:,} identity means of {self.network.embedding_size} numbers"
            + (f", {rate:,.0f} images/s" if rate else "")
            + (
                f"; {counted(count['quarantine'], 'unreadable image')} in {files.QUARANTINE}"
                if count["quarantine"]
                else ""
            )
            + (f", {counted(lost, 'identity', 'identities')} without a readable image" if lost else "")
        )
        return {
            "identities": count["means"],
            "quarantined": count["quarantine"],
            "images_per_second": rate,
            "device": self.device.type,
            "precision": self.arithmetic.precision,
            "channels_last": self.arithmetic.channels_last,
        }

    def _identity_table(self, means: IdentityMeans) -> pa.Table:
        mean = pa.FixedSizeListArray.from_arrays(
            pa.array(means.mean.ravel()), type=vector(self.network.embedding_size)
        )
        return pa.table(
            {
                "identity_id": pa.array(means.identity_id, pa.int32()),
                "identity": self.manifest.names_of(means.identity_id),
                "images": pa.array(means.images, pa.int32()),
                "mean": mean,
                "spread": pa.array(means.spread, pa.float32()),
            }
        )

    def _embedding_table(self, image_id: np.ndarray, halves: np.ndarray) -> pa.Table:
        return pa.table(
            {
                "image_id": pa.array(image_id, pa.int64()),
                "identity_id": pa.array(self.manifest.identity_id[image_id], pa.int32()),
                "embedding": pa.FixedSizeListArray.from_arrays(
                    pa.array(halves.ravel()), type=vector(self.network.embedding_size, pa.float16())
                ),
            }
        )

    def _quarantine_table(self, bad: list[BadImage]) -> pa.Table:
        rows = self.manifest.rows_of(
            np.array([image.image_id for image in bad], np.int64), ["identity", "uri"]
        )
        return pa.table(
            {
                "image_id": pa.array([image.image_id for image in bad], pa.int64()),
                "identity": rows["identity"].cast(pa.string()),
                "uri": rows["uri"].cast(pa.string()),
                "reason": pa.array([image.reason for image in bad], pa.string()),
            }
        )
