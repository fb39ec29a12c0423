"""Every public name resolves, has an example that runs, and no function hides a module behind its name.

Covers mining/lazy_names.py.
"""

from __future__ import annotations

import ast
import doctest
import tempfile
from collections.abc import Iterator
from importlib import import_module
from inspect import isfunction, signature
from pathlib import Path

import pytest
from conftest import REPOSITORY

PACKAGES = (
    "subspace.mining", "subspace.mining.evaluation", "subspace.train", "subspace.train.losses", "subspace.pipeline",
)  # fmt: skip
NAMES = [(package, name) for package in PACKAGES for name in getattr(import_module(package), "__all__", ())]


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_a_public_name_has_an_example_that_runs(
    package: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    public = getattr(import_module(package), name)
    if not callable(public):
        return  # a table, explained where it stands
    document = public.__doc__ or ""
    assert ">>>" in document, f"{package}.{name} has no example in its docstring"
    known = dict(vars(import_module(public.__module__)))
    example = doctest.DocTestParser().get_doctest(document, known, name, None, None)
    said: list[str] = []
    doctest.DocTestRunner().run(example, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize(
    ("package", "name"), [pair for pair in NAMES if isfunction(getattr(import_module(pair[0]), pair[1]))]
)
def test_a_path_may_be_a_string(package: str, name: str) -> None:
    """A page wrote `write_plan("plan", ...)`, which ended in an AttributeError."""
    hints = signature(getattr(import_module(package), name)).parameters.values()
    assert not [one for one in hints if "Path" in str(one.annotation) and "str" not in str(one.annotation)]


@pytest.mark.parametrize("package", ["mining", "train", "pipeline"])
def test_type_checkers_see_the_names_of_the_table(package: str) -> None:
    tree = ast.parse((REPOSITORY / package / "__init__.py").read_text())
    seen = {
        (node.module, alias.name)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    module = import_module(f"subspace.{package}")
    assert seen == {(home, name) for home, names in module._NAMES.items() for name in names}
    assert dir(module) == module.__all__ == sorted(name for _, name in seen)
    with pytest.raises(AttributeError, match="has no attribute 'nothing_of_that_name'"):
        module.nothing_of_that_name  # noqa: B018


@pytest.mark.parametrize("package", ["mining", "train", "pipeline"])
def test_no_function_has_the_name_of_a_module(package: str) -> None:
    paths = list((REPOSITORY / package).rglob("*.py"))
    modules = {path.stem for path in paths} | {path.parent.name for path in paths}
    hidden = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in paths
        for name in _functions(path.read_text())
        if name in modules
    ]
    assert not hidden, "\n".join(hidden)


def _functions(source: str) -> Iterator[str]:
    """Functions of a module, but for commands, which nobody imports."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and not any(
            "command" in ast.unparse(d) for d in node.decorator_list
        ):
            yield node.name
