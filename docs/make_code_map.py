"""Write docs/code.md: each folder with what its `__init__` says, each file with the first line of its docstring.

python docs/make_code_map.py
"""

from __future__ import annotations

import ast
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
TOPS = ("pipeline", "mining", "train", "examples", "benchmarks", "data_manifests", "docs")
KINDS = (".py", ".yaml", ".j2")
HEAD = """# The code

`pipeline` imports `train` and `mining`, `train` imports `mining`, never the other way. Each folder is one kind of thing. `tests`
mirrors the folders. `make docs` writes this page from the first lines of the files.

Where to begin: `pipeline/commands` for a command, `pipeline/stages` for what it does, and from there down into `train` and
`mining`.
"""


def code_map() -> str:
    """The whole page."""
    lines = [HEAD]
    for top in TOPS:
        for folder in (
            REPOSITORY / top,
            *sorted(path for path in (REPOSITORY / top).rglob("*") if path.is_dir()),
        ):
            files = files_of(folder)
            if not files:
                continue
            lines.append(f"## {folder.relative_to(REPOSITORY)}\n")
            if (folder / "__init__.py").exists() and (says := first_line(folder / "__init__.py")):
                lines.append(f"{says}\n")
            lines += [f"- `{path.name}`: {first_line(path)}" for path in files]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def files_of(folder: Path) -> list[Path]:
    """What a reader may open, without the `__init__`."""
    kinds = (path for path in folder.iterdir() if path.suffix in KINDS and path.name != "__init__.py")
    return sorted(kinds)


def first_line(path: Path) -> str:
    """Of the docstring of a module; what a recipe says it is about."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0].strip()
    if path.suffix == ".yaml":
        return str(yaml.safe_load(text).get("about", "data")).strip()
    return "a template"


if __name__ == "__main__":
    (REPOSITORY / "docs" / "code.md").write_text(code_map())
