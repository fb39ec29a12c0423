"""The random choices of a loss: a function of (seed, purpose, step), with the step kept in checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...mining.errors import InputError
from ...mining.randomness import derived_seed


class StepGenerator(nn.Module):
    """A fresh generator for every training step of a loss, called as `generator = steps(device)`.

    The step counter is a buffer, so a resumed run draws what the unbroken run would have drawn; the global
    generator is neither read nor moved. In evaluation mode the counter stands still. A CPU and a GPU draw
    different numbers.

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

    def forward(self, device: torch.device) -> torch.Generator:
        """Return this step's generator on `device`, and count the step when training."""
        generator = torch.Generator(device)
        generator.manual_seed(derived_seed(self.seed, self.purpose, int(self.step)))
        if self.training:
            self.step += 1
        return generator
