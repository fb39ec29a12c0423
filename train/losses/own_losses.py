"""Losses that are no row of the registry: `python:module:function`, the user's own, `pml:NAME`, pytorch-metric-learning's, and
`searched:PATH`, a curve that `subspace search-loss` found.

Imports no torch until a loss is built.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...mining.errors import InputError
from ..loss_search.curve import SEARCHED_PREFIX, read_curve
from ..user_functions import (
    PYTHON_PREFIX,
    blamed,
    current_directory_first,
    find_function,
    module_and_function,
    with_article,
)

if TYPE_CHECKING:
    from .loss import EmbeddingLoss

PML_PREFIX = "pml:"
_PACKAGE = "pytorch_metric_learning"
_PARTS = {"distance": "distances", "miner": "miners", "reducer": "reducers"}
"""Arguments that are objects of pytorch-metric-learning, and the module that has them."""
_NO_LOSSES = (
    "Mixin", "Base", "GenericPair", "Wrapper", "MultipleLosses", "CrossBatchMemory",
    "SelfSupervised", "VICReg", "Manifold",
)  # fmt: skip
"""What stands in the names of classes that are no loss by themselves, or take no labels."""


def is_own(name: str) -> bool:
    """Whether a name in an expression is not one of the registry."""
    return name.startswith((PYTHON_PREFIX, PML_PREFIX, SEARCHED_PREFIX))


def takes_references(name: str) -> bool:
    """Whether a memory may serve it, as far as its name says."""
    return not name.startswith((PML_PREFIX, SEARCHED_PREFIX))


def check_own(name: str, setting: str) -> None:
    """Refuse an incomplete name, or one that pytorch-metric-learning does not have where it is installed.

    Raises:
        InputError: as it says.
    """
    if name.startswith(PYTHON_PREFIX):
        module_and_function(name)
        return
    if name.startswith(
        SEARCHED_PREFIX
    ):  # the file is opened where a training begins: a run is read without it
        return
    known, wanted = pml_losses(), name.removeprefix(PML_PREFIX)
    if known and wanted not in known:
        near = get_close_matches(wanted, known, 1)
        guess = f"did you mean pml:{near[0]}?" if near else f"it has {', '.join(known)}"
        raise InputError(f"{setting}: pytorch-metric-learning has no loss {wanted!r}; {guess}")


@cache
def pml_losses() -> tuple[str, ...]:
    """The losses of the installed pytorch-metric-learning by the text of its package, which is not imported; () without it."""
    found = find_spec(_PACKAGE)
    folders = found.submodule_search_locations if found else None
    if not folders:
        return ()
    tree = ast.parse(Path(next(iter(folders)), "losses", "__init__.py").read_text(encoding="utf-8"))
    names = [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    return tuple(name for name in names if not any(part in name for part in _NO_LOSSES))


def find_own(name: str, setting: str = "train.loss") -> Callable[..., object]:
    """The function or class that a name stands for; imports it.

    Raises:
        InputError: there is none.
    """
    check_own(name, setting)
    if name.startswith(PYTHON_PREFIX):
        with blamed(name):
            return find_function(name)
    return getattr(_pml("losses", setting), name.removeprefix(PML_PREFIX))


def build_own(
    name: str, settings: Mapping[str, Any], given: Mapping[str, int], setting: str = "train.loss"
) -> EmbeddingLoss:
    """Call the function or class with its settings, and with those of `given` that it names; of a curve, its loss.

    Args:
        given: num_classes, embedding_size and seed.

    Raises:
        InputError: no such function or curve, arguments that it does not take, or what it returns is no module.
        OwnCodeError: the user's function raised an error.
    """
    from torch import nn

    where = f"{setting}_args.{name}"
    if name.startswith(SEARCHED_PREFIX):
        from .class_losses import SearchedLoss

        if settings:
            raise InputError(f"{where} is given, but a curve's settings lie in its file")
        path = Path(name.removeprefix(SEARCHED_PREFIX))
        if not path.exists():
            raise InputError(
                f"{setting}: {path} does not exist; where it has moved, add {setting}={SEARCHED_PREFIX}NEW"
            )
        return SearchedLoss(curve=read_curve(path), **given)
    from .loss import OwnLoss
    from .step_generator import seeded_globally

    function = find_own(name, setting)
    taken = next((key for key in settings if key in given), None)
    if taken is not None:
        raise InputError(f"{where}.{taken} follows from the training set: leave it out")
    known = _answers(function, given, of_pml=name.startswith(PML_PREFIX))
    miner = None
    with seeded_globally(given["seed"]):
        if name.startswith(PML_PREFIX):
            objects = _pml_objects({**known, **settings}, where, setting)
            miner = objects.pop("miner", None)
            module = _made(function, objects, where)
        else:
            _check_call(function, {**known, **settings}, where)
            with current_directory_first(), blamed(name):
                module = function(**known, **settings)
    if not isinstance(module, nn.Module):
        raise InputError(
            f"{name} returned {with_article(module)}; return an nn.Module, called as loss(embeddings, labels)"
        )
    return OwnLoss(module, name, given["seed"], miner)


def _check_call(function: Callable[..., object], arguments: Mapping[str, Any], where: str) -> None:
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise InputError(f"{where}: {error}") from error


def _answers(function: Callable[..., object], given: Mapping[str, int], *, of_pml: bool) -> dict[str, int]:
    """What the function names of `given`, a class also in the constructors above its own.

    pytorch-metric-learning gets what has no default: a number of classes makes another loss of its MarginLoss.
    """
    kinds = function.__mro__[:-1] if isinstance(function, type) else ()
    callables = [kind.__dict__["__init__"] for kind in kinds if "__init__" in kind.__dict__] or [function]
    parameters: dict[str, inspect.Parameter] = {}
    for each in callables:
        parameters = {**inspect.signature(each).parameters, **parameters}
    if of_pml:
        given = {**given, "descriptors_dim": given["embedding_size"]}  # so P2SGradLoss calls it
        parameters = {key: each for key, each in parameters.items() if each.default is each.empty}
    return {key: value for key, value in given.items() if key in parameters}


def _pml(part: str, setting: str) -> Any:
    try:
        return import_module(f"{_PACKAGE}.{part}")
    except ModuleNotFoundError as error:
        raise InputError(
            f"{setting} names a loss of pytorch-metric-learning, which is missing: pip install 'subspace-mining[pml]'"
        ) from error


def _pml_objects(settings: Mapping[str, Any], where: str, setting: str) -> dict[str, Any]:
    return {
        key: _pml_part(key, value, f"{where}.{key}", setting) if key in _PARTS else value
        for key, value in settings.items()
    }


def _pml_part(part: str, value: Any, where: str, setting: str) -> object:
    """`LpDistance`, or {name: LpDistance, power: 2}, as the object that it names."""
    module = _pml(_PARTS[part], setting)
    settings = dict(value) if isinstance(value, Mapping) else {"name": value}
    name = settings.pop("name", None)
    known = [each for each in dir(module) if isinstance(getattr(module, each), type)]
    if name not in known:
        near = get_close_matches(str(name), known, 1)
        guess = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
        raise InputError(f"{where}={name}: pytorch-metric-learning has no such {part}; {guess}")
    return _made(getattr(module, name), _pml_objects(settings, where, setting), where)


def _made(kind: Callable[..., object], settings: Mapping[str, Any], where: str) -> object:
    """An object of pytorch-metric-learning, which checks its own arguments."""
    try:
        return kind(**settings)
    except Exception as error:  # its checks raise any type
        raise InputError(f"{where}: {' '.join(str(error).split()) or type(error).__name__}") from error
