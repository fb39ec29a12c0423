"""Networks of the user's own: `python:module:function`."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from ...mining.errors import InputError, SubspaceWarning
from ...mining.fingerprints import sha256_of
from ..data.image_input import ImageInput
from ..data.preprocess_config import PreprocessConfig
from ..user_functions import (
    PYTHON_PREFIX,
    blamed,
    current_directory_first,
    find_function,
    module_and_function,
    with_article,
)
from .backbone import Backbone, fill_lazy_layers

PREPARED_BY = ("mean", "std", "resize", "crop", "interpolation", "channels")
"""Attributes of a module that say how its images are prepared, as `ImageInput` names them."""


def build_user_network(name: str, *, embedding_size: int | None, preprocess: PreprocessConfig) -> Backbone:
    """Call the user's function.

    It returns a `Backbone`, or an `nn.Module` with the attributes `input_size`, a number of pixels or (height, width),
    and `embedding_size`, and perhaps `mean`, `std` (of x / 255, one number or one a channel), `resize`, `crop`,
    `interpolation` and `channels`. It is called with `embedding_size=` where one is asked for, and with `input_size=`
    where another is, if it takes them.

    Raises:
        InputError: no such module or function, or it returns no network of that size.
        OwnCodeError: the module or the function raised an error.
    """
    spec = f"{PYTHON_PREFIX}{name}"
    asked: dict[str, object] = {"embedding_size": embedding_size, "input_size": preprocess.size}
    with current_directory_first():
        with blamed(spec):
            function = find_function(spec)
        arguments = _arguments(spec, function, {k: v for k, v in asked.items() if v is not None})
        with blamed(spec):
            made = function(**arguments)
    backbone = _as_backbone(spec, made)
    file = _file_of(spec, function)
    with suppress(OSError):  # inside an archive, as a module in a .zip
        backbone.code = "" if file is None else sha256_of(file)
    backbone.input = preprocess.applied_to(backbone.input)
    if embedding_size not in (None, backbone.embedding_size):
        raise InputError(
            f"{spec} made a network of embedding_size {backbone.embedding_size}, not {embedding_size}; "
            "let the function obey an embedding_size argument, or leave the setting out"
        )
    with blamed(spec):
        fill_lazy_layers(backbone)
    return backbone


def warn_of_changed_code(network: Backbone, saved: str, folder: Path) -> None:
    """Say by a SubspaceWarning that a network of a checkpoint is built by another file than when it was saved.

    Args:
        saved: what the checkpoint says of the file; empty: nothing.
    """
    if saved and network.code and network.code != saved:
        file = _file_of(network.spec, find_function(network.spec))
        warnings.warn(
            f"{file} has changed since {folder} was saved; where that changes what the network computes, its embeddings "
            "are others",
            SubspaceWarning,
            stacklevel=3,
        )


def _file_of(spec: str, function: Callable[..., object]) -> Path | None:
    """The file that a function lies in, of another callable the module that names it; None where there is none."""
    for each in (inspect.unwrap(function), sys.modules.get(module_and_function(spec)[0])):
        with suppress(TypeError):
            if each is not None and (file := inspect.getsourcefile(each)) is not None:
                return Path(file)
    return None


def _as_backbone(spec: str, made: object) -> Backbone:
    if isinstance(made, Backbone):
        made.spec = spec
        return made
    if not isinstance(made, nn.Module):
        raise InputError(f"{spec} returned {with_article(made)}; return a Backbone or an nn.Module")
    embedding_size: Any = getattr(made, "embedding_size", None)
    if not _is_positive(embedding_size):
        raise InputError(
            f"{spec}: the module's embedding_size is {embedding_size!r}; set self.embedding_size to a positive integer"
        )
    size: Any = getattr(made, "input_size", None)
    pair = isinstance(size, (tuple, list)) and len(size) == 2
    if not (all(map(_is_positive, size)) if pair else _is_positive(size)):
        raise InputError(
            f"{spec}: the module's input_size is {size!r}; set self.input_size to a positive integer, or (height, width)"
        )
    given = {name: getattr(made, name) for name in PREPARED_BY if hasattr(made, name)}
    for name in ("mean", "std"):
        values = given.get(name, 0.5)
        if not all(
            _is_number(value) for value in (values if isinstance(values, (tuple, list)) else [values])
        ):
            raise InputError(
                f"{spec}: the module's {name} is {values!r}; set self.{name} to one number, or one for each channel"
            )
    try:
        image_input = ImageInput(tuple(size) if pair else size, **given)  # pyright: ignore[reportArgumentType]
    except (InputError, TypeError) as error:
        raise InputError(f"{spec}: {error}") from error
    return Backbone(made, spec=spec, input=image_input, embedding_size=embedding_size)


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _arguments(spec: str, function: Callable[..., object], asked: dict[str, object]) -> dict[str, object]:
    """What is asked for and the function takes."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # some callables written in C have none
        return asked
    parameters = signature.parameters.values()
    # **kwargs are older than input_size: they take embedding_size alone.
    named = {
        *signature.parameters,
        *(["embedding_size"] if any(p.kind is p.VAR_KEYWORD for p in parameters) else []),
    }
    arguments = {name: value for name, value in asked.items() if name in named}
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise InputError(
            f"{spec}: {error}; the function is called with embedding_size=, input_size= or nothing, give the rest defaults"
        ) from error
    return arguments
