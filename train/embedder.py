"""Image batches to embeddings, without gradients.

Shapes: b images in a batch, D numbers in an embedding.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch

from ..mining.errors import InputError, SubspaceWarning
from .data.batches import ImageBatch
from .networks.backbone import Backbone

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class EmbeddedBatch:
    """Embeddings of the readable images of a batch."""

    batch: ImageBatch
    embeddings: np.ndarray
    """float32[b, D], unit length."""


def pick_device(name: str | None = None) -> torch.device:
    """The device called `name` (cpu, cuda, cuda:1, mps); without a name the fastest one there is.

    Raises:
        InputError: no such device here.
    """
    if name is None or name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.type == "meta":
            raise InputError("--device meta computes nothing; use cpu, cuda or mps")
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        raise InputError(f"--device {name} cannot be used here: {first_line}") from error
    return device


def cpu_has_bf16() -> bool:
    """Whether bf16 has a quick way on this CPU; without one (x86 before AVX-512) every operation converts its numbers."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@cache
def warn_of_emulated_bf16() -> None:
    """Say, once in a process, that 32-true is faster here."""
    warnings.warn(
        "this CPU has no bf16: bf16-mixed is some ten times slower on it than 32-true",
        SubspaceWarning,
        stacklevel=3,
    )


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context in which a network runs at `precision`."""
    if precision == "32-true":
        return nullcontext()
    if precision == "bf16-mixed" and device.type == "cpu" and not cpu_has_bf16():
        warn_of_emulated_bf16()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16-mixed" else torch.float16)


def embed(
    network: Backbone, batches: Iterable[ImageBatch], device: torch.device, precision: Precision = "32-true"
) -> Iterator[EmbeddedBatch]:
    """Yield each batch with its embeddings; the network is put in evaluation mode and on `device`."""
    network.eval().to(device)
    for batch in batches:
        if len(batch.image_id) == 0:
            yield EmbeddedBatch(batch, np.empty((0, network.embedding_size), np.float32))
            continue
        with torch.inference_mode(), autocast(device, precision):
            embeddings = network(batch.images.to(device, non_blocking=True))
        yield EmbeddedBatch(batch, embeddings.cpu().numpy())


def forward_rate(network: Backbone, device: torch.device, precision: Precision) -> float:
    """Images a second of the bare network: the best of ever larger batches, which are begun for half a second.

    One that is late, since other work has the cores, is not the last.
    """
    size = network.input.size
    network.eval().to(device)
    best = 0.0
    with torch.inference_mode(), autocast(device, precision):
        network(torch.zeros((1, 3, size, size), dtype=torch.uint8, device=device))  # the first call sets up
        until = time.perf_counter() + 0.5
        for images in (1, 2, 4, 16, 64):
            batch_BCHW = torch.zeros((images, 3, size, size), dtype=torch.uint8, device=device)
            started = time.perf_counter()
            network(batch_BCHW).sum().item()  # .item() waits for the device
            seconds = time.perf_counter() - started
            best = max(best, images / seconds)
            if time.perf_counter() > until:
                break
    return best
