"""Networks of the user's own: `python:module:function`."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import nn

from ...mining.errors import InputError
from ..image_input import ImageInput
from ..user_functions import current_directory_first, find_function, with_article
from .backbone import Backbone


def build_user_network(spec: str, embedding_size: int | None) -> Backbone:
    """Call the user's function; errors raised inside it pass through, with their traceback.

    Raises:
        InputError: no such module or function, or it returns no network of that size.
    """
    with current_directory_first():
        function = find_function(spec)
        made = function(**_arguments(spec, function, embedding_size))
    backbone = _as_backbone(spec, made)
    if embedding_size not in (None, backbone.embedding_size):
        raise InputError(
            f"{spec} made a network of embedding_size {backbone.embedding_size}, not {embedding_size}; "
            "let the function obey an embedding_size argument, or leave the setting out"
        )
    return backbone


def _as_backbone(spec: str, made: object) -> Backbone:
    if isinstance(made, Backbone):
        made.spec = spec
        return made
    if not isinstance(made, nn.Module):
        raise InputError(f"{spec} returned {with_article(made)}; return a Backbone or an nn.Module")
    size, embedding_size = (_positive_int(spec, made, name) for name in ("input_size", "embedding_size"))
    mean, std = (_number(spec, made, name) for name in ("mean", "std"))
    if std <= 0:
        raise InputError(f"{spec}: std is {std}; it divides the pixel values and must be positive")
    image_input = ImageInput(size, mean=mean, std=std)
    return Backbone(made, spec=spec, input=image_input, embedding_size=embedding_size)


def _positive_int(spec: str, module: nn.Module, name: str) -> int:
    value = getattr(module, name, None)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{spec}: the module's {name} is {value!r}; set self.{name} to a positive integer")
    return value


def _number(spec: str, module: nn.Module, name: str) -> float:
    value = getattr(module, name, 0.5)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(
            f"{spec}: the module's {name} is {value!r}; set self.{name} to one number for all channels"
        )
    return float(value)


def _arguments(spec: str, function: Callable[..., object], embedding_size: int | None) -> dict[str, int]:
    """`embedding_size`, if there is one and the function takes it."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # some callables written in C have none
        return {} if embedding_size is None else {"embedding_size": embedding_size}
    arguments: dict[str, int] = {}
    parameters = signature.parameters.values()
    if embedding_size is not None and any(
        p.name == "embedding_size" or p.kind is p.VAR_KEYWORD for p in parameters
    ):
        arguments["embedding_size"] = embedding_size
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise InputError(
            f"{spec}: {error}; the function is called with embedding_size= or nothing, give the rest defaults"
        ) from error
    return arguments
