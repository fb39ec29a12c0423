"""Randomness as a function: a fresh generator for every (seed, purpose, ...), never global state."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def generator(seed: int, *purpose: int | str) -> np.random.Generator:
    """A generator that depends on nothing but its arguments, e.g. `generator(0, "plan", round_index, step)`."""
    words = [zlib.crc32(word.encode()) if isinstance(word, str) else word for word in purpose]
    return np.random.default_rng([seed, *words])


def derived_seed(seed: int, *purpose: int | str) -> int:
    """A 31-bit seed for libraries that want a number (FAISS, torch)."""
    return int(generator(seed, *purpose).integers(2**31 - 1))


def seed_torch(seed: int, device: torch.device | None = None) -> None:
    """Seed the generators that torch draws from on the CPU and on `device`, and those of no other device.

    `torch.manual_seed` reseeds every GPU; where there is none it puts three stacks into words, 60 times as slow.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if device is not None and device.type == "cuda":
        gpu = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[gpu].manual_seed(seed)
    elif device is not None and device.type == "mps":
        torch.mps.manual_seed(seed)
