"""From `--model SPEC` to a network with weights drawn by seed, or taken from a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import torch

from ...mining.errors import InputError
from ...mining.randomness import seed_torch
from ..data.preprocess_config import PreprocessConfig
from .backbone import DRAWN, Backbone
from .registry import CHECKPOINT_PREFIX, NETWORKS, PRETRAINED, check_network, kind_of
from .weights_file import has_all_of, load_weights


def build_backbone(
    spec: str,
    *,
    embedding_size: int | None = None,
    seed: int = 0,
    preprocess: PreprocessConfig | None = None,
    weights: str | None = None,
) -> Backbone:
    """The network that `spec` names, on the CPU, its weights a function of (spec, embedding_size, seed, weights).

    `embedding_size` defaults to the network's own. For `python:module:function` the module is looked up
    like any import, the current directory first; the function is called with `embedding_size=` when one
    is given and it takes one, and returns a `Backbone`, or an `nn.Module` that says of itself what
    `user_modules` reads. `load_network` opens `checkpoint:DIR` as well.

    `preprocess` lies over what the network says of its images; another size is given to its builder. `weights` is a
    file of published weights, see `load_weights`, or `pretrained` for those that timm fetches.

    Weights are drawn from torch's CPU generator, seeded for the call and left as it was.

    Raises:
        InputError: the spec names nothing, its function returns something else, or the weights are of another
            network; says which.

    Example:
        >>> from subspace.train import build_backbone
        >>> network = build_backbone("small", embedding_size=64, seed=0)
        >>> network.input.size, network.embedding_size
        (32, 64)
    """
    check_network(spec, weights)
    if spec.startswith(CHECKPOINT_PREFIX):
        raise InputError(f"{spec} is not built but opened; call load_network({spec!r})")
    if embedding_size is not None and embedding_size < 1:
        raise InputError(f"embedding_size is {embedding_size}; give a positive number, such as 128 or 512")
    with _seeded(seed):
        backbone = _built(spec, embedding_size, preprocess or PreprocessConfig(), weights == PRETRAINED)
    if weights is not None and weights != PRETRAINED:
        _load(backbone, weights)
    return backbone


def _built(spec: str, embedding_size: int | None, preprocess: PreprocessConfig, pretrained: bool) -> Backbone:
    found = kind_of(spec)
    if found is not None:
        prefix, kind = found
        build = getattr(import_module(f".{kind.module}", __package__), kind.function)
        fetched = {"pretrained": True} if pretrained else {}
        name = spec.removeprefix(prefix)
        return build(name, embedding_size=embedding_size, preprocess=preprocess, **fetched)
    known = NETWORKS[spec]
    build = getattr(import_module(f".{known.module}", __package__), known.function)
    size, image_input = embedding_size or known.embedding_size, preprocess.applied_to(known.input)
    same = image_input.height_and_width == known.input.height_and_width
    shape = {} if same else {"input_size": image_input.height_and_width}
    body = build(embedding_size=size, **known.arguments, **shape)
    return Backbone(body, spec=spec, input=image_input, embedding_size=size)


def _load(backbone: Backbone, file: str) -> None:
    """Load published weights; those of a layer that was added, too, where the file has them, as our own exports do."""
    part = backbone.published
    if part is not backbone.body and has_all_of(backbone.body, file):
        part = backbone.body
        backbone.remarks = tuple(remark.removesuffix(DRAWN) for remark in backbone.remarks)
    backbone.remarks += (f"weights: {load_weights(part, file)}",)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        seed_torch(seed)
        yield
