"""The work of `subspace embed`: images through the network, part by part, and all parts to one file."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...mining.embedding_files import embedding_writer, rows_beside
from ...mining.errors import InputError, StaleArtifactError
from ...mining.machine import memory_with
from ...mining.manifest import Manifest
from ...mining.parquet_tables import metadata_of, open_parquet, read_row_group, write_parquet
from ...mining.schemas import MANIFEST, QUARANTINE
from ...train.data.batches import DecodedBatches, load_batches
from ...train.data.image_index import training_images
from ...train.data.images import BadImage
from ...train.data.loader_processes import Patience
from ...train.devices import pick_device, settled
from ...train.embedder import EmbeddedBatch, embed
from ...train.speed import embedding_work
from ...train.workers import worker_count
from ..child_processes import orphaned
from ..console import Progress, about, amount, counted
from ..estimates.estimate import of_memory
from ..faults.unreadable_images import UnreadableImages
from ..options import Options
from ..records.begun_parts import change
from ..rows.manifest_writer import quarantine_path
from ..stages.extraction_processes import make_in_processes
from ..stages.parts import Shard
from .embedding_parts import EmbeddingParts, RowBatches
from .joined_parts import add_part, write_unreadable
from .listed_images import NAME, ListedImages
from .opened_network import OpenedNetwork
from .request import EmbedRequest

SETTINGS = "settings"
"""The key of the file's metadata that has what the embeddings depend on."""


class ImageEmbedding:
    """The embedding of a list of images by a network.

    Raises:
        InputError: no such device.
    """

    def __init__(
        self, request: EmbedRequest, opened: OpenedNetwork, listed: ListedImages, options: Options
    ) -> None:
        self.request, self.network, self.listed, self.options = request, opened.network, listed, options
        self.extract, self.network_fingerprint = request.config.extract, opened.fingerprint
        self.opened_from = None if request.weights or request.preprocess else opened.spec
        """What opens the same network again, without an option."""
        self.device = pick_device(options.device)
        self.arithmetic = settled(self.device, self.extract.precision)
        fields = {
            "network": self.network_fingerprint,
            "images": listed.fingerprint,
            "flip": request.flip,
            "normalize": request.normalize,
            "dtype": request.dtype,
            "precision": request.precision,
            "batch_size": request.batch_size,
        }
        self.parts = EmbeddingParts(request.parts, listed.rows, fields)
        self.processes = min(options.processes, len(self.parts))
        self.num_workers = worker_count(self.extract.num_workers, self.device, self.processes)
        manifest = Manifest(listed.path, None, listed.fingerprint)
        self.store = training_images(manifest, listed.path.with_name("images.index"))

    def is_done(self, force: str) -> bool:
        """Whether the file is there, made from all the same.

        Raises:
            StaleArtifactError: it is there, made from something else.
        """
        out = self.request.out
        table = rows_beside(out) if out.suffix == ".npy" else out
        if not (out.exists() and table.exists()):
            return False
        said = metadata_of(open_parquet(table))
        if said.get("fingerprint") == self.parts.fingerprint:
            return True
        before = json.loads(said.get(SETTINGS, "{}"))
        raise StaleArtifactError(
            f"{out} was made with {change(before, self.parts.fields)}; name another file, or make it again: {force}"
        )

    def estimate(self) -> str:
        """Images, time, memory and disk, in a line."""
        todo = self.parts.images(self.parts.missing())
        D, size = self.network.embedding_size, np.dtype(self.request.dtype).itemsize
        part = min(self.listed.rows, len(self.parts[0])) * D * (4 + size)
        disk = self.listed.rows * (D * size * (2 if len(self.parts) > 1 else 1) + 100)
        seconds, slow, memory = 0.0, "", memory_with(0)
        if todo:
            work = embedding_work(
                self.network,
                self.store,
                np.arange(self.listed.rows, dtype=np.int64),
                todo,
                self.device,
                self.extract.precision,
                batch_size=self.extract.batch_size,
                num_workers=self.num_workers,
                flip=self.request.flip,
            )
            seconds, slow = work.seconds, work.slow_decoding
            memory = self.processes * memory_with(part + work.memory) + (self.processes > 1) * memory
        by = f" by {self.processes} processes" if self.processes > 1 else ""
        left = f", {todo:,} of them left," if todo < self.listed.rows else ""
        return (
            f"{counted(self.listed.rows, 'image')}{left} on {self.device} ({self.arithmetic}, "
            f"{counted(self.num_workers, 'loader process', 'loader processes')}, JPEGs by {self.store.jpeg}) in "
            f"{counted(len(self.parts), 'part')}{by}, {about(seconds)}{slow}, {of_memory(memory)}, "
            f"{amount(disk)} of disk"
        )

    def work(self, shard: Shard | None) -> dict[str, Any] | None:
        """Make the missing parts, of all or of a shard, and then the file. None: a shard is done.

        Raises:
            StoppedEarly: too many images cannot be read; what is finished is kept.
        """
        mine, console = self.parts.of(shard or Shard()), self.options.console
        if back := self.parts.forget_what_is_back(mine, self.store, self.network.input):
            console.say(f"images that {counted(back, 'part')} went without are back: made again")
        todo, total = self.parts.missing(shard), self.parts.images(mine)
        done, started = total - self.parts.images(todo), time.monotonic()
        with console.progress("embed", total, "images", done) as progress:
            if todo and self.processes > 1:
                words = ("embed", *self.request.arguments())
                make_in_processes(self.parts, words, self.options, progress)
            else:
                self._embed(mine, todo, progress)
        rate = (total - done) / (time.monotonic() - started) if todo else None
        self._read_so_far(mine).end()
        if shard is not None:
            console.say(
                f"shard {shard.index} of {shard.count} is done, {len(mine)} of {len(self.parts)} parts; when all are, "
                "the same command without --shard and --num-shards joins them"
            )
            return None
        return self._join(rate)

    def _read_so_far(self, parts: list[int]) -> UnreadableImages:
        read = UnreadableImages(self.request.config.data, self.store, setting="--max-bad-fraction ")
        read.count_parts(self.parts, parts)
        return read

    def _embed(self, mine: list[int], todo: list[int], progress: Progress) -> None:
        """Make parts one after another, all with the same loader processes."""
        image_ids = RowBatches(self.parts, todo, self.extract.batch_size)
        stopping = Patience(stopping=lambda: bool(self.options.stop.name) or orphaned())
        batches = load_batches(
            DecodedBatches(self.store, image_ids, self.network.input),
            range(len(image_ids)),
            self.num_workers,
            pin=self.device.type == "cuda",
            patience=stopping,
        )
        flip, normalize = self.request.flip, self.request.normalize
        embedded = embed(
            self.network, batches, self.device, self.extract.precision, flip=flip, normalize=normalize
        )
        read = self._read_so_far(mine)
        for part in todo:
            self._embed_part(part, islice(embedded, image_ids.of(part)), progress, read)

    def _embed_part(
        self, part: int, batches: Iterator[EmbeddedBatch], progress: Progress, read: UnreadableImages
    ) -> None:
        rows = read_row_group(
            self.listed.path, MANIFEST, part, [*{NAME, "uri", "identity", *self.listed.columns}]
        )
        first, bad = int(self.parts[part][0]), list[BadImage]()
        with self._writer(self.parts.path(part)) as writer:
            for embedded in batches:
                batch = embedded.batch
                count = len(batch.image_id) + len(batch.bad)
                bad.extend(batch.bad)
                read.add(count, batch.bad)
                some = rows.take(pa.array(batch.image_id - first))
                self._refuse_nan(embedded.embeddings, some)
                writer.write(embedded.embeddings, self._columns(some))
                progress.update(count)
            places = pa.array([image.image_id - first for image in bad], pa.int64())
            table = pa.table(
                {
                    "image_id": pa.array([image.image_id for image in bad], pa.int64()),
                    "identity": rows["identity"].take(places),
                    "uri": rows[NAME].take(places),
                    "reason": pa.array([image.reason for image in bad], pa.string()),
                }
            )
            write_parquet(self.parts.path(part, "quarantine"), QUARANTINE, table, self.parts.fingerprint)

    def _columns(self, rows: pa.Table) -> dict[str, pa.Array]:
        """What a file says of images of the list."""
        columns = {"image": rows[NAME].combine_chunks()}
        for name in self.listed.columns:
            column = rows[name].combine_chunks()
            if pa.types.is_dictionary(column.type):
                column = column.cast(pa.string())
            if name == "identity":  # empty: nobody's
                column = pa.array([text or None for text in column.to_pylist()], pa.string())
            columns[name] = column
        return columns

    def _refuse_nan(self, embeddings: np.ndarray, rows: pa.Table) -> None:
        wrong = ~np.isfinite(embeddings).all(1)
        if wrong.any():
            name = rows[NAME][int(np.argmax(wrong))].as_py()
            raise InputError(
                f"{self.request.network} makes NaN or infinite numbers of {name}; use another checkpoint, or "
                "--precision 32-true"
            )

    def _writer(self, path: Path) -> Any:
        return embedding_writer(
            path,
            self.network.embedding_size,
            dtype=self.request.dtype,
            columns=self.listed.columns,
            network=self.network_fingerprint,
            normalized=self.request.normalize,
            fingerprint=self.parts.fingerprint,
            notes={
                SETTINGS: json.dumps(self.parts.fields),
                "flip": json.dumps(self.request.flip),
                **({"opened": self.opened_from} if self.opened_from else {}),
            },
        )

    def _join(self, rate: float | None) -> dict[str, Any]:
        out = self.request.out
        with (
            self.options.console.progress("join", self.listed.rows, "images") as progress,
            self._writer(out) as writer,
        ):
            for part in range(len(self.parts)):
                add_part(writer, self.parts, part)
                progress.update(len(self.parts[part]))
            # Before the file appears, which says that all is done.
            bad = write_unreadable(out, self.parts, self.listed.refused)
        shutil.rmtree(self.request.parts, ignore_errors=True)
        listed = f"; {counted(bad, 'unreadable image')} in {quarantine_path(out)}" if bad else ""
        self.options.console.say(
            f"{out}: {counted(writer.rows, 'embedding')} of {self.network.embedding_size} numbers"
            + (f", {rate:,.0f} images/s" if rate else "")
            + listed
        )
        return {
            **self.facts(),
            "rows": writer.rows,
            "unreadable": bad,
            "quarantine": str(quarantine_path(out)) if bad else None,
            "images_per_second": rate,
            "device": self.device.type,
        }

    def facts(self) -> Mapping[str, Any]:
        """What the file is, for a program."""
        return {
            "out": str(self.request.out),
            "dimensions": self.network.embedding_size,
            "columns": ["image", *self.listed.columns],
            "fingerprint": self.parts.fingerprint,
            **self.parts.fields,
        }
