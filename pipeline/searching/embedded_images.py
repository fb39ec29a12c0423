"""Images embedded for an index or a search: of a manifest, or of files that are named.

Shapes: b images in a batch, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...mining.embedding_files import embedding_writer
from ...mining.embedding_table import EmbeddingTable
from ...mining.errors import InputError
from ...mining.manifest import Manifest
from ...train.data.batches import DecodedBatches, ImageChunks, load_batches
from ...train.data.images import BOX, BadImage, ImageStore
from ...train.devices import pick_device
from ...train.embedder import EmbeddedBatch, embed
from ...train.workers import worker_count
from ..console import Console, counted
from ..embedding.opened_network import OpenedNetwork

BATCH = 64
FEW = 4 * BATCH
"""Images that are decoded in this process: starting others takes longer."""


def embed_files(
    paths: Sequence[Path], opened: OpenedNetwork, device: str | None, console: Console, *, flip: bool = False
) -> tuple[list[int], np.ndarray, list[BadImage]]:
    """Embed image files; return which could be read, their embeddings, float32[n, D] of unit length, and the others.

    Raises:
        InputError: none of them can be read.
    """
    uri = [str(path.absolute()) for path in paths]
    nothing = pa.nulls(len(uri), pa.int64())
    table = pa.table({"uri": uri, "offset": nothing, "length": nothing})
    store = ImageStore(Manifest(Path("."), table, fingerprint=""))
    read: list[int] = []
    left_out: list[BadImage] = []
    vectors: list[np.ndarray] = []
    for done, bad in _embedded(store, np.arange(len(uri)), opened, device, console, flip):
        read += done.batch.image_id.tolist()
        vectors.append(done.embeddings)
        for image in bad:
            left_out.append(image)
            console.say(f"left out: {paths[image.image_id]}: {image.reason}")
    if not read:
        first = left_out[0]
        raise InputError(
            f"no query image can be read: {paths[first.image_id]}: {first.reason}; name images that a viewer shows"
        )
    return read, np.concatenate(vectors), left_out


def embed_manifest(
    manifest: Manifest,
    opened: OpenedNetwork,
    out: Path,
    device: str | None,
    console: Console,
    *,
    flip: bool = False,
) -> EmbeddingTable:
    """Embed the images of a manifest that are kept into the file `out`.

    Raises:
        InputError: none of them can be read, or the disk is full.
    """
    store = ImageStore(manifest)
    image_id = np.flatnonzero(manifest.table["keep"].to_numpy())
    unreadable = 0
    with embedding_writer(
        out, opened.network.embedding_size, columns=["identity"], network=opened.fingerprint, normalized=True
    ) as writer:
        for done, bad in _embedded(store, image_id, opened, device, console, flip):
            rows = done.batch.image_id
            identity = manifest.table["identity"].take(rows).cast(pa.string()).combine_chunks()
            names = [_place(manifest, store, row) for row in rows.tolist()]
            if len(rows):
                writer.write(done.embeddings, {"image": names, "identity": identity})
            for image in bad[: max(0, 3 - unreadable)]:
                console.say(f"left out: {_place(manifest, store, image.image_id)}: {image.reason}")
            unreadable += len(bad)
        if unreadable == len(image_id):
            raise InputError(f"no image of {manifest.path} can be read; check where its files are")
    if unreadable:
        console.say(
            f"{counted(unreadable, 'image')} of {len(image_id):,} could not be read and {'are' if unreadable > 1 else 'is'} left out"
        )
    return EmbeddingTable.open(out)


def _embedded(
    store: ImageStore,
    image_id: np.ndarray,
    opened: OpenedNetwork,
    device: str | None,
    console: Console,
    flip: bool,
) -> Iterator[tuple[EmbeddedBatch, list[BadImage]]]:
    on = pick_device(device)
    chunks = ImageChunks(image_id, BATCH)
    workers = 0 if len(image_id) <= FEW else worker_count("auto", on)
    batches = load_batches(
        DecodedBatches(store, chunks, opened.network.input),
        range(len(chunks)),
        workers,
        pin=on.type == "cuda",
    )
    with console.progress("embed", len(image_id), "images") as progress:
        for done in embed(opened.network, batches, on, flip=flip):
            progress.update(len(done.batch.image_id) + len(done.batch.bad))
            yield done, done.batch.bad


def _place(manifest: Manifest, store: ImageStore, row: int) -> str:
    """Where an image lies: its file, or `FILE#OFFSET+LENGTH`; of an inline one the manifest and its row. A box follows."""
    place = store.place(row)
    if place is None:
        place = f"{manifest.path}#row={row}"
    elif (length := manifest.table["length"][row].as_py()) is not None:
        place = f"{place}#{manifest.table['offset'][row].as_py() or 0}+{length}"
    sides = [manifest.table[side][row].as_py() for side in BOX if side in manifest.table.column_names]
    return place if not sides or None in sides else f"{place}#xyxy={','.join(map(str, sides))}"
