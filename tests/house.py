"""Figures of the house: folders, floors, circles, modules without a test. `python tests/house.py` prints them.

A unit is a sub-package, or a module beside it. Units of one package stand on floors: each is one above the highest that
it imports.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("mining", "train", "pipeline")
"""From the bottom up: each may import itself and those before it."""
FEWEST, MOST = 3, 22
"""Modules in a sub-package."""
MOST_LINES = 300
LIGHT_COMMANDS = {
    "status": ("status", "RUN"),
    "inspect": ("inspect", "RUN/subspace.yaml"),
    "inspect of a table": ("inspect", "RUN/round-000/plan"),
    "plan --dry-run": ("plan", "RUN", "--dry-run"),
    "submit --dry-run": ("submit", "RUN", "--dry-run", "--scheduler", "slurm"),
    "logs": ("logs", "RUN"),
    "cancel": ("cancel", "RUN"),
    "report --dry-run": ("report", "RUN", "--dry-run"),
}
"""Commands that import neither torch nor FAISS."""


def source_files() -> list[Path]:
    """All Python files of the packages."""
    return [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]


def module_name(path: Path) -> str:
    """pipeline.stages.graph, or pipeline.stages for its __init__."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def modules() -> dict[str, Path]:
    """All modules that are no __init__, by name."""
    return {module_name(path): path for path in source_files() if path.name != "__init__.py"}


def imported(path: Path, *, inside_functions: bool) -> set[str]:
    """Modules of ours that a file imports when it runs (so not for type checking alone)."""
    name, known = module_name(path), modules()
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for node in _nodes(ast.parse(path.read_text()), inside_functions):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        above = ["", *package][: len(package) + 2 - node.level]
        base = ".".join([*above[1:], *(node.module.split(".") if node.module else [])])
        for alias in node.names:
            target = f"{base}.{alias.name}".lstrip(".")
            found.add(target if target in known else base)
    return {target for target in found if target in known and target != name}


def _nodes(tree: ast.AST, inside_functions: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not inside_functions:
            continue
        yield node
        yield from _nodes(node, inside_functions)


@functools.cache
def import_graph(inside_functions: bool = False) -> dict[str, set[str]]:
    """Which modules each module imports."""
    return {name: imported(path, inside_functions=inside_functions) for name, path in modules().items()}


def unit_of(module: str) -> str:
    """pipeline.stages of pipeline.stages.graph; pipeline.console of itself."""
    return ".".join(module.split(".")[:2])


def unit_graph(package: str) -> dict[str, set[str]]:
    """Which units of a package each unit imports."""
    units: dict[str, set[str]] = {}
    for module, targets in import_graph(True).items():
        if module.startswith(f"{package}."):
            own = units.setdefault(unit_of(module), set())
            own |= {unit_of(target) for target in targets if target.startswith(f"{package}.")} - {
                unit_of(module)
            }
    return units


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other (Tarjan 1972), each sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def floors(graph: dict[str, set[str]]) -> int:
    """The longest chain of imports; the graph has no circles."""

    @functools.cache
    def floor(node: str) -> int:
        return 1 + max((floor(target) for target in graph[node]), default=0)

    return max(map(floor, graph), default=0)


def without_a_test() -> list[str]:
    """Modules with no test file of their name and place, and not named in the docstring of one."""
    tests = {
        path: ast.get_docstring(ast.parse(path.read_text())) or ""
        for path in (REPOSITORY / "tests").rglob("test_*.py")
    }
    named = set(re.findall(r"[a-z_]+(?:/[a-z_]+)*\.py", " ".join(tests.values())))
    missing = []
    for name, path in modules().items():
        place = path.relative_to(REPOSITORY)
        own = REPOSITORY / "tests" / place.parent / f"test_{place.name}"
        if own not in tests and str(place) not in named:
            missing.append(name)
    return missing


def heavy_imports(arguments: tuple[str, ...], run: Path) -> set[str]:
    """Which of torch and FAISS a command imports, on a finished run."""
    words = [word.replace("RUN", str(run)) for word in arguments]
    script = (
        "import sys, json; sys.argv = ['subspace', *json.loads(sys.argv[1])]\n"
        "from subspace.pipeline.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('heavy:', *({'torch', 'faiss'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(words)], capture_output=True, text=True, check=False
    )
    return set(done.stderr.strip().rpartition("heavy:")[2].split())


def without_a_doctest() -> list[str]:
    """Public names that have no example in their docstring."""
    from importlib import import_module

    packages = ("mining", "mining.evaluation", "train", "train.losses", "pipeline")
    public = ((name, import_module(f"subspace.{name}")) for name in packages)
    return [
        f"{package}.{name}"
        for package, module in public
        for name in module.__all__
        if callable(getattr(module, name)) and ">>>" not in (getattr(module, name).__doc__ or "")
    ]


def new_run(folder: Path) -> Path:
    """A run with nothing done, of eight images."""
    from PIL import Image

    for number in range(8):
        path = folder / "images" / f"person {number // 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (30 * number, 0, 0)).save(path)
    program = [sys.executable, "-m", "subspace.pipeline.cli"]
    manifest, run = folder / "manifest.parquet", folder / "run"
    for words in (
        ["ingest", folder / "images", "--out", manifest],
        ["init", run, "--manifest", manifest, "plan.P=4"],
    ):
        subprocess.run([*program, *map(str, words), "--quiet"], check=True, stderr=subprocess.DEVNULL)
    return run


def main() -> None:
    """Print the figures."""
    for package in PACKAGES:
        graph = unit_graph(package)
        arrows = sum(map(len, graph.values()))
        own = [name for name in modules() if name.startswith(f"{package}.")]
        tall = floors(graph) if not circles(graph) else "?"
        print(
            f"{package}: {len(own)} modules, {len(graph)} units, {tall} floors, {arrows} arrows between units"
        )
        folders = sorted({unit_of(name) for name in own if name.count(".") == 2})
        counts = [
            f"{folder.split('.')[1]} {sum(name.startswith(f'{folder}.') for name in own)}"
            for folder in folders
        ]
        print(f"  {', '.join(counts)}; beside the folders {sum(name.count('.') == 1 for name in own)}")
    _say("circles of modules", [" ".join(circle) for circle in circles(import_graph(True))])
    _say(
        "circles of units",
        [" ".join(circle) for package in PACKAGES for circle in circles(unit_graph(package))],
    )
    _say("modules without a test", without_a_test())
    _say("public names without a doctest", without_a_doctest())
    with tempfile.TemporaryDirectory() as folder:
        run = new_run(Path(folder))
        heavy = {name: heavy_imports(words, run) for name, words in LIGHT_COMMANDS.items()}
    _say(
        f"of {len(heavy)} light commands import torch or FAISS",
        [name for name, found in heavy.items() if found],
    )


def _say(what: str, found: list[str]) -> None:
    print(f"{what}: {len(found)}{' (' + ', '.join(found) + ')' if found else ''}")


if __name__ == "__main__":
    os.chdir(REPOSITORY)
    main()
