"""What holds the code together: import direction, light help, public names, the command's options."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
ALLOWED = {"mining": {"mining"}, "train": {"train", "mining"}, "pipeline": {"pipeline", "train", "mining"}}
FILES = [path for package in ALLOWED for path in sorted((REPOSITORY / package).glob("*.py"))]
COMMANDS = (
    "ingest", "init", "pretrain", "extract", "cluster", "plan", "train", "eval", "run", "status", "inspect", "demo", "submit", "logs", "cancel",
)  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_imports_run_one_way(path: Path) -> None:
    package = path.parent.name
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            tops = {alias.name.split(".")[0] for alias in node.names}
            assert not tops & {"subspace", *ALLOWED}, f"line {node.lineno}: import relatively"
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            assert (node.module or "").split(".")[0] not in {"subspace", *ALLOWED}, (
                f"line {node.lineno}: import relatively"
            )
        if isinstance(node, ast.ImportFrom) and node.level == 2:
            assert (node.module or "").split(".")[0] in ALLOWED[package], (
                f"line {node.lineno}: {package} may not import it"
            )


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_are_flat(package: str) -> None:
    assert not list((REPOSITORY / package).glob("*/*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_file_and_public_name_is_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if tree.body:
        assert ast.get_docstring(tree), "the file has no docstring"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def test_help_imports_nothing_heavy_and_is_quick() -> None:
    script = (
        "import sys; sys.argv = ['subspace', '--help']\n"
        "from subspace.pipeline.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'faiss', 'pyarrow', 'numpy', 'pydantic', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds = []
    for _ in range(3):
        before = os.times()
        subprocess.run(
            [sys.executable, "-m", "subspace.pipeline.cli", "--help"], capture_output=True, check=True
        )
        after = os.times()  # of the processors: tests side by side wait for each other
        seconds.append(
            after.children_user + after.children_system - before.children_user - before.children_system
        )
    assert min(seconds) < 0.5


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "subspace.pipeline.cli", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"Example: subspace {command} " in done.stdout


def test_public_names() -> None:
    import subspace.mining as mining
    import subspace.train as train

    for package in (mining, train):
        for name in package.__all__:
            assert getattr(package, name).__doc__, name
    with pytest.raises(AttributeError):
        mining.nothing_of_that_name  # noqa: B018
