"""What holds the code together: folders, import direction, light commands, public names, the command's options."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import house
import pytest
from house import FEWEST, LIGHT_COMMANDS, MOST, MOST_LINES, PACKAGES

ALLOWED = {package: set(PACKAGES[: place + 1]) for place, package in enumerate(PACKAGES)}
FILES = house.source_files()
COMMANDS = (
    "ingest", "overlap", "init", "pretrain", "extract", "cluster", "plan", "train", "eval", "run", "status", "inspect", "compare", "demo", "submit", "logs", "cancel", "doctor", "export", "lr", "search-loss", "embed", "clean", "index", "search", "report",
)  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=house.module_name)
def test_imports_are_relative_and_run_downwards(path: Path) -> None:
    package = house.module_name(path).split(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            tops = {alias.name.split(".")[0] for alias in node.names}
            assert not tops & {"subspace", *PACKAGES}, f"line {node.lineno}: import relatively"
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            top = (node.module or "").split(".")[0]
            assert top not in {"subspace", *PACKAGES}, f"line {node.lineno}: import relatively"
    for target in house.imported(path, inside_functions=True):
        assert target.split(".")[0] in ALLOWED[package], f"{package} may not import {target}"


def test_the_top_level_holds_what_is_meant_to_be_there() -> None:
    """A note and a log were once committed there by accident."""
    tracked = subprocess.run(
        ["git", "-C", str(house.REPOSITORY), "ls-files"], capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("no git checkout")
    files = {name for name in tracked.stdout.splitlines() if "/" not in name}
    assert files == {
        ".dockerignore", ".gitignore", "BENCHMARKS.md", "CHANGELOG.md", "CONTRIBUTING.md", "Dockerfile", "LICENSE",
        "Makefile", "README.md", "SECURITY.md", "constraints.txt", "pyproject.toml",
    }  # fmt: skip


def test_folders_are_one_level_deep_and_neither_crowded_nor_empty() -> None:
    for package in PACKAGES:
        folders = [folder for folder in (house.REPOSITORY / package).iterdir() if list(folder.glob("*.py"))]
        assert folders
        for folder in folders:
            assert not list(folder.glob("*/*.py")), f"{folder} has folders of its own"
            count = len([path for path in folder.glob("*.py") if path.name != "__init__.py"])
            assert FEWEST <= count <= MOST, f"{folder} has {count} modules"


def test_the_wheel_holds_every_folder() -> None:
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads((house.REPOSITORY / "pyproject.toml").read_text())
    listed = project["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(
        f"subspace.{house.module_name(path)}" for path in FILES if path.name == "__init__.py"
    )
    data = project["tool"]["setuptools"]["package-data"]
    held = {path for package, kinds in data.items() for kind in kinds
            for path in (house.REPOSITORY / package.removeprefix("subspace.").replace(".", "/")).glob(kind)}  # fmt: skip
    assert held == {
        path
        for package in PACKAGES
        for path in (house.REPOSITORY / package).rglob("*")
        if path.suffix in (".css", ".j2", ".js", ".yaml")
    }


def test_files_are_short() -> None:
    long = [path for path in FILES if len(path.read_text().splitlines()) > MOST_LINES]
    assert not long


def test_no_module_and_no_folder_imports_in_a_circle() -> None:
    assert house.circles(house.import_graph()) == []
    assert house.circles(house.import_graph(True)) == []
    for package in PACKAGES:
        assert house.circles(house.unit_graph(package)) == []


def test_circles_are_found() -> None:
    assert house.circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert house.floors({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == 3


def test_every_module_has_a_test() -> None:
    assert house.without_a_test() == []


def test_a_folder_names_its_modules() -> None:
    for path in FILES:
        if path.name == "__init__.py" and path.parent.parent.name in PACKAGES:
            text = ast.get_docstring(ast.parse(path.read_text())) or ""
            for module in path.parent.glob("*.py"):
                named = re.search(rf"^ *{module.stem} ", text, re.MULTILINE)
                assert module.name == "__init__.py" or named, module


def test_settings_import_no_torch() -> None:
    light = [
        name
        for name in house.modules()
        if name.endswith(("settings", "_config", ".config", "_meta", "registry", "metrics_file"))
    ]
    assert len(light) > 8
    script = "import sys, importlib; [importlib.import_module(f'subspace.{name}') for name in sys.argv[1:]]; sys.exit(bool({'torch', 'faiss'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script, *light], check=False).returncode == 0


@pytest.mark.parametrize("command", LIGHT_COMMANDS)
def test_light_commands_import_neither_torch_nor_faiss(command: str, finished_run: Path) -> None:
    assert house.heavy_imports(LIGHT_COMMANDS[command], finished_run) == set()


def test_a_missing_faiss_is_one_line(finished_run: Path) -> None:
    script = (
        "import sys; sys.modules['faiss'] = None; sys.argv = ['subspace', 'cluster', sys.argv[1], '--force', '--quiet']\n"
        "from subspace.pipeline.cli import main\nmain()"
    )
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        run = shutil.copytree(finished_run, Path(folder, "run"))
        done = subprocess.run(
            [sys.executable, "-c", script, run], capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert (
        done.stderr
        == "subspace: FAISS is missing: pip install 'subspace-mining[cpu]' or 'subspace-mining[gpu]'\n"
    )


@pytest.mark.parametrize("path", FILES, ids=house.module_name)
def test_every_file_and_public_name_is_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if tree.body:
        assert ast.get_docstring(tree), "the file has no docstring"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize("path", FILES, ids=house.module_name)
def test_docstrings_begin_with_a_thing(path: Path) -> None:
    """Not in the middle of a sentence whose head is the name above it."""
    beginnings = re.findall(r'"""(Of|Those|By|Whom) ', path.read_text())
    assert not beginnings


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
