"""Memory that the layers of a network take for an image: in training until the backward pass, else one after another.

Shapes: b images, H × W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .backbone import Backbone

IMAGES = 2
"""Batch normalisation wants two in training."""
GRADIENTS = 1.5
"""What is kept, and beside it the gradients that a backward pass has at a time."""


def training_bytes(network: Backbone) -> float:
    """Bytes for each image of a batch, forward and backward: all that autograd keeps between the two, and some gradients.

    Args:
        network: a copy, whose batch statistics change.
    """
    known = {_place(tensor) for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if _place(tensor) not in known:
            kept[_place(tensor)] = tensor.untyped_storage().nbytes()
        return (
            tensor.detach()
        )  # itself, it would keep the step that made it, and that would keep it: never freed

    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(keep, lambda same: same):
        result = network.train()(_images(network))
    del result  # until here no place is used twice
    return GRADIENTS * sum(kept.values()) / IMAGES


def embedding_bytes(network: Backbone) -> float:
    """Bytes for each image of a batch without gradients: what the largest layer takes in and gives, twice.

    Twice for what a layer is computed in. 0 for a network that is no module of torch inside (ONNX).
    """
    with _largest_layer(network) as largest, torch.inference_mode():
        network.eval()(_images(network))
    return 2 * largest[0] / IMAGES


@contextmanager
def _largest_layer(network: nn.Module) -> Iterator[list[int]]:
    largest = [0]

    def look(_: nn.Module, given: Any, made: Any) -> None:
        tensors = [one for one in (*given, made) if isinstance(one, torch.Tensor)]
        largest[0] = max(largest[0], sum(one.numel() * one.element_size() for one in tensors))

    hooks = [
        module.register_forward_hook(look) for module in network.modules() if not list(module.children())
    ]
    try:
        yield largest
    finally:
        for hook in hooks:
            hook.remove()


def _images(network: Backbone) -> torch.Tensor:
    device = next(network.parameters(), torch.empty(0)).device
    shape = (IMAGES, 3, network.input.height, network.input.width)
    return torch.zeros(shape, dtype=torch.uint8, device=device)


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
