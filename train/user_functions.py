"""Functions of the user's own, named as `python:module:function`: found, and blamed for what they raise; no torch."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from ..mining.errors import InputError, OwnCodeError, SubspaceError
from .memory_errors import shortage_of

PYTHON_PREFIX = "python:"
OURS = (
    *(str(Path(__file__).parents[1] / package) + os.sep for package in ("pipeline", "train", "mining")),
    str(Path("torch", "nn", "modules", "module.py")),
)
"""Parts of the paths of files between a command and the user's code."""


def module_and_function(spec: str) -> tuple[str, str]:
    """The two names in `python:module:function`.

    Raises:
        InputError: one is missing, or the module is relative.
    """
    module, colon, function = spec.removeprefix(PYTHON_PREFIX).partition(":")
    if not (module and colon and function) or module.startswith("."):
        raise InputError(f"{spec!r} is incomplete; write python:module:function, such as python:my_code:tiny")
    return module, function


@contextmanager
def current_directory_first() -> Iterator[None]:
    """Imports look in the current directory too, which an installed command does not do by itself."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's module may have edited the path itself
            sys.path.remove(here)


def find_function(spec: str) -> Callable[..., object]:
    """The function that `python:module:function` names, its module looked for in the current directory, too.

    Raises:
        InputError: no such module or function.
    """
    module_name, function_name = module_and_function(spec)
    try:
        with current_directory_first():
            module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(
            f"{spec}: cannot import {module_name!r} ({error}); install it, or run where {module_name} is"
        ) from error
    function = getattr(module, function_name, None)
    if function is None:
        raise InputError(f"{spec}: module {module_name!r} ({module.__file__}) has no {function_name!r}")
    if not callable(function):
        raise InputError(f"{spec}: {function_name!r} is {with_article(function)}, not a function")
    return function


def with_article(value: object) -> str:
    """The name of a value's type, as `an int` or `a Linear`."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


@contextmanager
def blamed(spec: str) -> Iterator[None]:
    """Turn what the user's code raises inside the block into an OwnCodeError with the traceback of that code alone.

    Memory that ran out passes, since there is other advice for it, and so do errors that are meant for the user already.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, SubspaceError) or shortage_of(error) is not None:
            raise
        own = _from_theirs(error.__traceback__)
        lines = traceback.format_exception(type(error), error, own) if own is not None else []
        what = f"{spec} raised {type(error).__name__}: {error}"
        raise OwnCodeError(what, traceback="".join(lines)) from error


def _from_theirs(found: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame on that is neither ours nor torch's way to a module's forward."""
    while found is not None and any(part in found.tb_frame.f_code.co_filename for part in OURS):
        found = found.tb_next
    return found
