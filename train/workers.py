"""How many processes decode images ahead, where the settings leave it open."""

from __future__ import annotations

import os

import torch

from ..mining.machine import usable_cores
from .data.image_input import ImageInput
from .data.loader_processes import AHEAD
from .training_config import Workers

PROCESS_BYTES = 150_000_000
"""Memory, about, that a loader process comes to have of its own, beside the batches."""
MOST = 16
"""More than so many are seldom fed by one disk, and each holds four batches."""


def worker_count(setting: Workers, device: torch.device, processes: int = 1) -> int:
    """The number that the setting gives; `auto`: from the cores that this process may use.

    It shares them with other `processes` of its command on this machine, or with `LOCAL_WORLD_SIZE` of them. For a GPU
    all cores decode but one, which the training process has. On a CPU the network has all cores, so one process decodes
    beside it, and none where there is one core only.
    """
    if setting != "auto":
        return setting
    cores = usable_cores() // max(processes, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if device.type == "cpu":
        return 1 if cores > 1 else 0
    return max(1, min(cores - 1, MOST))


def loader_bytes(num_workers: int, images_per_batch: float, input: ImageInput) -> float:
    """Bytes of memory that loader processes and their batches take; without processes, those of one batch.

    >>> loader_bytes(0, 256, ImageInput(32)) == 256 * 3 * 32 * 32
    True
    """
    batch = images_per_batch * 3 * input.height * input.width
    return num_workers * (PROCESS_BYTES + AHEAD * batch) + batch
