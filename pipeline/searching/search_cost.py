"""What a search will take: time and memory, by a few searches that are timed here."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...mining.index.unknown_threshold import images_needed
from ...mining.machine import memory_with
from ..console import about, counted
from ..estimates.estimate import of_memory
from .answers import AT_A_TIME
from .index_folder import IndexFolder
from .queries import QueryFiles
from .search_request import SearchRequest

if TYPE_CHECKING:
    from ..embedding.opened_network import OpenedNetwork

TRIED = 64
"""Images of the index that are searched for to know how long one takes."""
OF_MATCH = 450
"""Bytes of a match with its names, until all are written."""


def cost_of_search(
    request: SearchRequest, found: QueryFiles, folder: IndexFolder, opened: OpenedNetwork | None
) -> str:
    """One line: how many queries, how long, how much memory."""
    record, queries = folder.record, len(found)
    searched = queries
    if request.far is not None:
        searched += images_needed(request.far, record.images)
    seconds = searched * _seconds_of_a_query(request, folder)
    more = queries * (4 * record.dimensions + 200 + OF_MATCH * min(request.top, record.images))
    more += 8 * AT_A_TIME * (record.dimensions + 4 * request.T)
    embedded = ""
    if found.images and opened is not None:
        took, memory, device = _embedding(found.images, opened, request, flip=record.flip)
        seconds, more = seconds + took, more + memory
        embedded = f", {counted(len(found.images), 'image')} of them embedded on {device}"
    return (
        f"{counted(queries, 'query', 'queries')}{embedded}, {about(seconds)}, {of_memory(memory_with(more))}"
    )


def _seconds_of_a_query(request: SearchRequest, folder: IndexFolder) -> float:
    """The time of one among many, tried with images of the index itself; the first search reads files, and does not count."""
    images_nD = folder.gallery.images.rows
    tried = np.linspace(0, len(images_nD) - 1, min(TRIED, len(images_nD))).astype(np.int64)
    queries_qD = images_nD[tried].astype(np.float32)
    took = []
    with folder.whole():
        for _ in range(2):
            began = time.perf_counter()
            folder.gallery.search(
                queries_qD,
                request.top,
                T=request.T,
                stages=request.stages,
                list_images=request.list_images,
                exact=request.exact,
            )
            took.append(time.perf_counter() - began)
    return took[-1] / len(tried)


def _embedding(
    images: list[Path], opened: OpenedNetwork, request: SearchRequest, *, flip: bool
) -> tuple[float, float, str]:
    """Seconds, bytes of memory, and the device."""
    from ...train.devices import pick_device
    from ...train.speed import embedding_work
    from .embedded_images import BATCH, loaders, store_of

    device = pick_device(request.device)
    work = embedding_work(
        opened.network,
        store_of(images),
        np.arange(len(images)),
        len(images),
        device,
        "32-true",
        batch_size=BATCH,
        num_workers=loaders(len(images), device),
        flip=flip,
    )
    return work.seconds, work.memory, device.type
