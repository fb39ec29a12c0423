"""Batches of loader processes copied into pinned memory by a thread, while the main one gives the GPU its work."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .loader_processes import LoaderProcesses

if TYPE_CHECKING:
    from .batches import ImageBatch

AHEAD = 2
"""Batches in pinned memory before one is asked for."""
LOOK_EVERY = 0.2
"""Seconds between looks whether batches are still wanted."""


def pin_batches(processes: LoaderProcesses) -> Iterator[ImageBatch]:
    """Yield their batches in pinned memory, from which a GPU copies by itself; asks for CUDA.

    Raises:
        InputError, ImagesStayedAway: as `LoaderProcesses` does.
    """
    ready: queue.Queue[ImageBatch | BaseException | None] = queue.Queue(AHEAD)
    unwanted = threading.Event()
    device = torch.cuda.current_device() if torch.cuda.is_available() else None

    def put(item: ImageBatch | BaseException | None) -> None:
        while not unwanted.is_set():
            try:
                return ready.put(item, timeout=LOOK_EVERY)
            except queue.Full:
                continue

    def work() -> None:
        torch.set_num_threads(1)  # this thread's: the copy leaves the cores to the loader processes
        if device is not None:
            torch.cuda.set_device(device)
        try:
            for batch in processes.batches(Tensor.pin_memory):
                put(batch)
                if unwanted.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    # A daemon: an end of the command waits for nobody.
    thread = threading.Thread(target=work, name="pinning", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        unwanted.set()
        processes.close()
        thread.join(timeout=5)
