"""The network, with or without its preprocessing, as a torch.export program that takes any number of images.

B images, H × W pixels, D numbers in an embedding.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ...mining.errors import InputError
from ...train.networks.backbone import Backbone


class _Normalized(nn.Module):
    """uint8 RGB [B, 3, H, W] -> embeddings; constants are buffers, so that the graph is a cast, a product, a difference."""

    scale: Tensor
    offset: Tensor

    def __init__(self, network: Backbone) -> None:
        super().__init__()
        self.network = network
        scale, offset = (torch.tensor(values).view(1, 3, 1, 1) for values in network.input.scale_and_offset)
        self.register_buffer("scale", scale)
        self.register_buffer("offset", offset)

    def forward(self, images: Tensor) -> Tensor:
        if self.network.input.channels == "BGR":
            images = images.flip(1)
        return self.network(images.float() * self.scale - self.offset)


class _Plain(nn.Module):
    """Normalised float32 [B, 3, H, W] -> embeddings."""

    def __init__(self, network: Backbone) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


def traced(network: Backbone, preprocessing: str) -> torch.export.ExportedProgram:
    """A program of one input `images` and one output [B, D] of unit length, for any B.

    Args:
        preprocessing: inside: uint8 RGB images; outside: float32 images that are normalised already.

    Raises:
        InputError: torch cannot trace the network.
    """
    shape = (2, 3, network.input.height, network.input.width)  # 1 would be taken for a constant
    inside = preprocessing == "inside"
    module = (_Normalized if inside else _Plain)(network.cpu().eval())
    example = torch.zeros(shape, dtype=torch.uint8 if inside else torch.float32)
    with quiet(), _plain_attention(), torch.no_grad():
        try:
            program = torch.export.export(
                module, (example,), dynamic_shapes={"images": {0: torch.export.Dim("batch")}}, strict=False
            )
        except Exception as error:  # whatever a network of the user's own, or torch's tracer, raises
            if "specialized it to be a constant" in str(error):
                why = "its forward fixes the number of images; write images.shape[0], not len(images)"
            else:
                why = f"{first_line(error)}; write its forward without branches on values"
            raise InputError(
                f"torch.export cannot trace {network.spec}: {why}, or export --to safetensors"
            ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Without the fused transformer layers that torch takes for inference, which no other format has."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing logged and no warning shown: exporters speak of their own insides, and what matters is checked after."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def first_line(error: BaseException) -> str:
    """What an error says first, or its kind where it says nothing; of wrapped errors the innermost."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300].rstrip(" .;:") if lines else type(error).__name__
