"""Every public name of `mining/evaluation` has an example that runs, and the folder's map names every module."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import subspace.mining.evaluation as evaluation

MODULES = sorted(path.stem for path in Path(evaluation.__file__).parent.glob("[a-z]*.py"))


@pytest.mark.parametrize("name", evaluation.__all__)
def test_public_names_have_an_example(name: str) -> None:
    public = getattr(evaluation, name)
    assert public.__module__.rpartition(".")[0] == evaluation.__name__
    assert ">>>" in public.__doc__


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module: str) -> None:
    failed, _ = doctest.testmod(import_module(f"{evaluation.__name__}.{module}"))
    assert failed == 0


def test_the_map_names_every_module() -> None:
    lines = (evaluation.__doc__ or "").splitlines()
    assert sorted(line.split()[0] for line in lines if line.startswith("    ")) == MODULES
