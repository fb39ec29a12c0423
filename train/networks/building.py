"""From `--model SPEC` to a network with weights drawn by seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import torch

from ...mining.errors import InputError
from ..preprocess_config import PreprocessConfig
from .backbone import Backbone
from .registry import CHECKPOINT_PREFIX, NETWORKS, check_network
from .user_modules import build_user_network


def build_backbone(
    spec: str,
    *,
    embedding_size: int | None = None,
    seed: int = 0,
    preprocess: PreprocessConfig | None = None,
) -> Backbone:
    """The network that `spec` names, on the CPU, its weights a function of (spec, embedding_size, seed).

    `embedding_size` defaults to the network's own. For `python:module:function` the module is looked up
    like any import, the current directory first; the function is called with `embedding_size=` when one
    is given and it takes one, and returns a `Backbone`, or an `nn.Module` with attributes `input_size`
    and `embedding_size` and, optionally, `mean` and `std`. `load_network` opens `checkpoint:DIR` as well.

    `preprocess` lies over what the network says of its images; another size is given to its builder.

    Weights are drawn from torch's CPU generator, seeded for the call and left as it was.

    Raises:
        InputError: the spec names nothing, or its function returns something else; says which.

    Example:
        >>> from subspace.train import build_backbone
        >>> network = build_backbone("small", embedding_size=64, seed=0)
        >>> network.input.size, network.embedding_size
        (32, 64)
    """
    check_network(spec)
    if spec.startswith(CHECKPOINT_PREFIX):
        raise InputError(f"{spec} is not built but opened; call load_network({spec!r})")
    if embedding_size is not None and embedding_size < 1:
        raise InputError(f"embedding_size is {embedding_size}; give a positive number, such as 128 or 512")
    preprocess = preprocess or PreprocessConfig()
    with _seeded(seed):
        if spec not in NETWORKS:
            backbone = build_user_network(spec, embedding_size)
            backbone.input = preprocess.applied_to(backbone.input)
            return backbone
        known = NETWORKS[spec]
        build = getattr(import_module(f".{known.module}", __package__), known.function)
        size, image_input = embedding_size or known.embedding_size, preprocess.applied_to(known.input)
        shape = {} if image_input.size == known.input.size else {"input_size": image_input.height_and_width}
        body = build(embedding_size=size, **known.arguments, **shape)
        return Backbone(body, spec=spec, input=image_input, embedding_size=size)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Only the CPU generator is seeded: `torch.manual_seed` would also reset those of every GPU."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
