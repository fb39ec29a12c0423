"""Tensors of the CPU on their way to a device, without waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on `device`; from the CPU to a GPU by way of pinned memory, since a plain copy would wait for all its work.

    Example:
        >>> to_device(torch.arange(3), torch.device("cpu")).tolist()
        [0, 1, 2]
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
