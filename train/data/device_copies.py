"""Batches on their way to a GPU: each is copied while the network works on the one before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from .batches import ImageBatch


def copied_ahead(batches: Iterable[ImageBatch], device: torch.device) -> Iterator[ImageBatch]:
    """Yield the batches with their images on a GPU; for other devices as they are.

    One batch is asked for and sent off ahead, on a stream of its own. The copy waits for nobody where its images are
    in pinned memory.
    """
    return _sent_off(batches, device) if device.type == "cuda" else iter(batches)


def _sent_off(batches: Iterable[ImageBatch], device: torch.device) -> Iterator[ImageBatch]:
    copying = torch.cuda.Stream(device)
    ahead: tuple[ImageBatch, torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(copying):
            sent = replace(batch, images=batch.images.to(device, non_blocking=True))
            copied = torch.cuda.Event()
            copied.record(copying)
        if ahead is not None:
            yield _arrived(*ahead, device)
        ahead = sent, copied
    if ahead is not None:
        yield _arrived(*ahead, device)


def _arrived(sent: ImageBatch, copied: torch.cuda.Event, device: torch.device) -> ImageBatch:
    """The batch, for whatever is asked of the device after its copy."""
    working = torch.cuda.current_stream(device)
    working.wait_event(copied)
    sent.images.record_stream(working)  # its memory is not used again before that work is done
    return sent
