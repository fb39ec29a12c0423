"""The networks that `--model` names, as data: a wrong name is refused without torch.

    small                                  32 px, 128-d, for two CPU cores
    iresnet18, iresnet34, -50, -100        112 px, 512-d; InsightFace weights load into `backbone.body`
    python:module:function                 anything; see `build_backbone`
    checkpoint:DIR                         a network that was trained before; see `load_network`

A new network is a file of this folder and a line of `NETWORKS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from ...mining.errors import InputError
from ..image_input import ImageInput
from ..user_functions import PYTHON_PREFIX, module_and_function

CHECKPOINT_PREFIX = "checkpoint:"


@dataclass(frozen=True)
class NetworkSpec:
    """How a network is made: `function(embedding_size=..., **arguments)` of a module of this folder.

    Where another size than its own is asked for, `input_size=(height, width)` is given as well."""

    module: str
    function: str
    input: ImageInput
    """What its images become."""
    embedding_size: int
    """Where none is asked for."""
    arguments: Mapping[str, Any] = field(default_factory=dict)


NETWORKS: dict[str, NetworkSpec] = {
    "small": NetworkSpec("small", "SmallNetwork", ImageInput(32), 128),
    **{
        name: NetworkSpec("iresnet", "build_iresnet", ImageInput(112), 512, {"name": name})
        for name in ("iresnet18", "iresnet34", "iresnet50", "iresnet100")
    },
}

KNOWN_SPECS = (*NETWORKS, "python:module:function", "checkpoint:DIR")


def check_network(spec: str) -> None:
    """Say now what is wrong with the name of a network, without building or opening it.

    Raises:
        InputError: no network of that name, or an incomplete one.
    """
    if spec.startswith(PYTHON_PREFIX):
        module_and_function(spec)
    elif spec.startswith(CHECKPOINT_PREFIX):
        if spec == CHECKPOINT_PREFIX:
            raise InputError(f"{spec!r} is incomplete; write checkpoint:DIR, a folder with a meta.json")
    elif spec not in NETWORKS:
        near = get_close_matches(spec, NETWORKS, 1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"unknown network {spec!r}; {guess}use one of {', '.join(KNOWN_SPECS)}")
