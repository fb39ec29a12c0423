"""Images of files that are named, embedded for a search.

Shapes: b images in a batch, D numbers in an embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from ...mining.errors import InputError
from ...mining.local_paths import in_utf8
from ...mining.manifest import Manifest
from ...train.data.batches import DecodedBatches, ImageChunks, load_batches
from ...train.data.images import BadImage, ImageStore
from ...train.devices import pick_device
from ...train.embedder import EmbeddedBatch, embed
from ...train.workers import worker_count
from ..console import Console
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
    store = store_of(paths)
    read: list[int] = []
    left_out: list[BadImage] = []
    vectors: list[np.ndarray] = []
    for done, bad in _embedded(store, np.arange(len(paths)), opened, device, console, flip):
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


def store_of(paths: Sequence[Path]) -> ImageStore:
    """The files as images that are numbered in this order."""
    uri = [in_utf8(path.absolute()) for path in paths]
    nothing = pa.nulls(len(uri), pa.int64())
    table = pa.table({"uri": uri, "offset": nothing, "length": nothing})
    return ImageStore(Manifest(Path("."), table, fingerprint=""))


def loaders(images: int, device: torch.device) -> int:
    """Processes that decode so many images; 0: this one."""
    return 0 if images <= FEW else worker_count("auto", device)


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
    batches = load_batches(
        DecodedBatches(store, chunks, opened.network.input),
        range(len(chunks)),
        loaders(len(image_id), on),
        pin=on.type == "cuda",
    )
    with console.progress("embed", len(image_id), "images") as progress:
        for done in embed(opened.network, batches, on, flip=flip):
            progress.update(len(done.batch.image_id) + len(done.batch.bad))
            yield done, done.batch.bad
