"""Networks by name: from `--model SPEC` to a module that turns uint8 images into unit vectors.

    small                                  32 px, 128-d, for two CPU cores
    iresnet18, iresnet34, -50, -100        112 px, 512-d; InsightFace weights load into `backbone.body`
    python:module:function                 anything; see `build_backbone`
    checkpoint:DIR                         opened by `checkpoint.py`, not here

B batch, C channels (3: red, green, blue), H height, W width, D embedding size.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...mining.errors import InputError
from .iresnet import IRESNET_BLOCKS, IRESNET_INPUT_SIZE, iresnet
from .small import SMALL_EMBEDDING_SIZE, SMALL_INPUT_SIZE, SmallNetwork

KNOWN_SPECS = ("small", *IRESNET_BLOCKS, "python:module:function", "checkpoint:DIR")

_PYTHON = "python:"
_IRESNET_EMBEDDING_SIZE = 512


@dataclass(frozen=True)
class ImageInput:
    """What a network expects: square RGB images, pixel values (x / 255 - mean) / std.

    The defaults map 0..255 to -1..1, as InsightFace's networks do.
    """

    size: int
    """Height and width in pixels."""
    mean: float = 0.5
    """Subtracted from x / 255, in all three channels."""
    std: float = 0.5
    """Divides what is left; positive."""

    def normalize(self, images_BCHW: Tensor) -> Tensor:
        """uint8 images -> float32 images of the same shape, memory format and device."""
        return images_BCHW.float().mul(1 / (255 * self.std)).sub_(self.mean / self.std)


class Backbone(nn.Module):
    """Images [B, 3, size, size] -> float32 embeddings [B, D] of unit length.

    uint8 images are normalised here, on their device, so that a quarter of the bytes travels there;
    floating-point images are taken as normalised already. `body` holds the weights; loading published
    ones means `backbone.body.load_state_dict(...)`.
    """

    def __init__(self, body: nn.Module, *, spec: str, input: ImageInput, embedding_size: int) -> None:
        super().__init__()
        self.body = body
        self.spec = spec
        self.input = input
        self.embedding_size = embedding_size

    def forward(self, images_BCHW: Tensor) -> Tensor:
        expected = (3, self.input.size, self.input.size)
        if images_BCHW.ndim != 4 or tuple(images_BCHW.shape[1:]) != expected:
            raise InputError(
                f"{self.spec} takes images of shape [B, {', '.join(map(str, expected))}], "
                f"got {list(images_BCHW.shape)}; resize them to {self.input.size} px"
            )
        if not images_BCHW.is_floating_point():
            images_BCHW = self.input.normalize(images_BCHW)
        # float32 even under autocast: bfloat16 has 8 bits, and lengths would be off by 0.4 %.
        # eps bounds the gradient of an all-zero embedding, which a dead network produces.
        return functional.normalize(self.body(images_BCHW).float(), dim=1, eps=1e-6)

    def extra_repr(self) -> str:
        return f"spec={self.spec!r}, input={self.input}, embedding_size={self.embedding_size}"


def build_backbone(spec: str, *, embedding_size: int | None = None, seed: int = 0) -> Backbone:
    """The network that `spec` names, on the CPU, its weights a function of (spec, embedding_size, seed).

    `embedding_size` defaults to the network's own. For `python:module:function` the module is looked up
    like any import, the current directory first; the function is called with `embedding_size=` when one
    is given and it takes one, and returns a `Backbone`, or an `nn.Module` with attributes `input_size`
    and `embedding_size` and, optionally, `mean` and `std`.

    Weights are drawn from torch's CPU generator, seeded for the call and left as it was.

    Raises:
        InputError: the spec names nothing, or its function returns something else; says which.
    """
    if embedding_size is not None and embedding_size < 1:
        raise InputError(f"embedding_size is {embedding_size}; give a positive number, such as 128 or 512")
    with _seeded(seed):
        if spec == "small":
            size = embedding_size or SMALL_EMBEDDING_SIZE
            image_input = ImageInput(SMALL_INPUT_SIZE)
            return Backbone(SmallNetwork(size), spec=spec, input=image_input, embedding_size=size)
        if spec in IRESNET_BLOCKS:
            size = embedding_size or _IRESNET_EMBEDDING_SIZE
            image_input = ImageInput(IRESNET_INPUT_SIZE)
            return Backbone(iresnet(spec, size), spec=spec, input=image_input, embedding_size=size)
        if spec.startswith(_PYTHON):
            return _python_backbone(spec, embedding_size)
    raise InputError(f"unknown network {spec!r}; use one of {', '.join(KNOWN_SPECS)}")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Only the CPU generator is seeded: `torch.manual_seed` would also reset those of every GPU."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def _current_directory_first() -> Iterator[None]:
    """Imports look in the current directory too, which an installed command does not do by itself."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's module may have edited the path itself
            sys.path.remove(here)


def _python_backbone(spec: str, embedding_size: int | None) -> Backbone:
    """Call the user's function; errors raised inside it pass through, with their traceback."""
    with _current_directory_first():
        function = _find_function(spec)
        made = function(**_arguments(spec, function, embedding_size))
    backbone = _as_backbone(spec, made)
    if embedding_size not in (None, backbone.embedding_size):
        raise InputError(
            f"{spec} made a network of embedding_size {backbone.embedding_size}, not {embedding_size}; "
            "let the function obey an embedding_size argument, or leave the setting out"
        )
    return backbone


def _find_function(spec: str) -> Callable[..., object]:
    module_name, colon, function_name = spec.removeprefix(_PYTHON).partition(":")
    if not (module_name and colon and function_name) or module_name.startswith("."):
        raise InputError(f"{spec!r} is incomplete; write python:module:function, such as python:my_nets:tiny")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(
            f"{spec}: cannot import {module_name!r} ({error}); install it, or run where {module_name} is"
        ) from error
    function = getattr(module, function_name, None)
    if function is None:
        raise InputError(f"{spec}: module {module_name!r} ({module.__file__}) has no {function_name!r}")
    if not callable(function):
        raise InputError(f"{spec}: {function_name!r} is {_article(function)}, not a function")
    return function


def _as_backbone(spec: str, made: object) -> Backbone:
    if isinstance(made, Backbone):
        made.spec = spec
        return made
    if not isinstance(made, nn.Module):
        raise InputError(f"{spec} returned {_article(made)}; return a Backbone or an nn.Module")
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


def _article(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
