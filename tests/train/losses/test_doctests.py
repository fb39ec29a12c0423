"""Examples in the docstrings of losses: every public class and function has one, and it runs."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import subspace.train.losses as losses

MODULES = sorted(path.stem for path in Path(losses.__path__[0]).glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    assert doctest.testmod(import_module(f"subspace.train.losses.{name}")).failed == 0


@pytest.mark.parametrize("name", sorted({*losses.__all__} - {"LOSSES"}))
def test_every_public_name_has_an_example(name: str) -> None:
    public = getattr(losses, name)
    module = import_module(public.__module__)
    found = doctest.DocTestFinder(recurse=False).find(public, name, module)
    assert any(test.examples for test in found)


@pytest.mark.parametrize("name", MODULES)
def test_the_map_names_every_module(name: str) -> None:
    assert f"\n    {name} " in (losses.__doc__ or "")
