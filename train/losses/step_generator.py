"""The random choices of a loss: a function of (seed, purpose, step), with the step kept in checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...mining.errors import InputError
from ...mining.randomness import derived_seed, seed_torch

_32_BITS = 0xFFFFFFFF


class HostCounts(nn.Module):
    """A module whose counters lie on its device, so that checkpoints keep them, and are known without asking that device.

    >>> class Steps(HostCounts):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.register_buffer("step", torch.zeros((), dtype=torch.int64))
    >>> steps = Steps()
    >>> steps.advance("step", 3)
    >>> steps.count("step"), int(steps.step)
    (3, 3)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._counts: dict[str, int] = {}

    def count(self, name: str) -> int:
        """The number in the buffer `name`, which only `advance` and a loaded state may change."""
        if name not in self._counts:
            self._counts[name] = int(getattr(self, name))
        return self._counts[name]

    def advance(self, name: str, by: int = 1) -> None:
        """Add to it."""
        self._counts[name] = self.count(name) + by
        getattr(self, name).add_(by)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._counts.clear()


class StepSeeds(HostCounts):
    """A seed for every training step of a loss, called as `seed = steps()`.

    The step counter is a buffer, so a resumed run draws what the unbroken run would have drawn. In evaluation mode it
    stands still. What `random_numbers` makes of such a seed is the same on every device.

    Args:
        seed: 0 or more.
        purpose: tells apart what several losses draw from one seed.
    """

    step: Tensor
    """int64, training steps so far."""

    def __init__(self, seed: int, purpose: str) -> None:
        super().__init__()
        if seed < 0:
            raise InputError(f"seed={seed} must not be negative")
        self.seed, self.purpose = seed, purpose
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self) -> int:
        """Return this step's seed, and count the step when training."""
        seed = derived_seed(self.seed, self.purpose, self.count("step"))
        if self.training:
            self.advance("step")
        return seed


@contextmanager
def seeded_globally(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's and NumPy's global generators inside the block: for code that is not ours and draws from them.

    Args:
        device: where it draws beside the CPU. Only a CUDA device has a generator of its own here, whose state lies on the host,
            so nothing waits.
    """
    numpy_state = np.random.get_state()  # noqa: NPY002  the user's code has no other
    gpus = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        seed_torch(seed, *gpus)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002


def random_numbers(shape: tuple[int, ...], seed: int, device: torch.device) -> Tensor:
    """Numbers from 0 to 2³¹ - 1, int64, made on the device and the same on every one.

    A hash of place and seed, by the steps that end MurmurHash3 (Appleby 2011).

    >>> random_numbers((2, 2), seed=3, device=torch.device("cpu")).shape
    torch.Size([2, 2])
    """
    low, high = seed & _32_BITS, seed >> 32 & _32_BITS
    number = torch.arange(math.prod(shape), device=device)
    for key in (low, high):
        number = (number * 0x9E3779B1 + key) & _32_BITS
        number = ((number ^ (number >> 16)) * 0x85EBCA6B) & _32_BITS
        number = ((number ^ (number >> 13)) * 0xC2B2AE35) & _32_BITS
        number = number ^ (number >> 16)
    return (number >> 1).view(shape)
