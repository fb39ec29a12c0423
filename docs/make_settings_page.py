"""Write docs/settings.md from the settings models, and the table of docs/losses.md from the losses.

python docs/make_settings_page.py
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from subspace.mining.settings import Settings
from subspace.pipeline.configuration.config import RunConfig
from subspace.train.losses.registry import LOSSES

DOCS = Path(__file__).resolve().parent
HEAD = """# Settings

Every setting of a run, as `subspace init` writes it to `RUN/subspace.yaml`. Give others on the command line of any stage, of `run` and of `submit`:
`subspace run RUN plan.steps=5000 train.optimizer.lr=5e-4`. Lists are written `[a,b]`, nothing is `null`. `make docs` writes
this page from the code.

Sections: {sections}.
"""
CALL = re.compile(r",? (called as )?`loss\(embeddings, labels\)`")
MARKED = re.compile(r"(<!-- losses -->\n).*?(<!-- end -->)", re.DOTALL)


def settings_page() -> str:
    """The whole page: a table for the settings of the run itself, then one for each section."""
    sections = {
        name: field.annotation for name, field in RunConfig.model_fields.items() if _is_section(field)
    }
    lines = [HEAD.format(sections=", ".join(f"[{name}](#{name})" for name in sections))]
    lines += ["## The run", "", *_table(RunConfig, "", nested=False)]
    for name, model in sections.items():
        lines += [f"## {name}", "", _first_line(model), "", *_table(model, f"{name}.")]
    return "\n".join(lines).rstrip() + "\n"


def losses_page(page: str) -> str:
    """docs/losses.md with its table made again."""
    return MARKED.sub(lambda mark: f"{mark[1]}\n" + "\n".join(losses_table()) + f"\n\n{mark[2]}", page)


def losses_table() -> list[str]:
    """A row a loss: name, class, settings with their defaults, the first line of what it says of itself."""
    lines = ["| `train.loss` | class | settings of `train.loss_args` | |", "|---|---|---|---|"]
    for name, row in LOSSES.items():
        module = import_module(f"subspace.train.losses.{row.module}")
        settings = ", ".join(f"`{key}={_text(setting.default)}`" for key, setting in row.settings.items())
        says = CALL.sub("", _first_line(getattr(module, row.class_name)))
        lines.append(f"| `{name}` | `{row.class_name}` | {settings} | {_in_table(says)} |")
    return lines


def _table(model: type[Settings], prefix: str, *, nested: bool = True) -> list[str]:
    rows = [
        f"| `{key}` | {f'`{default}`' if default else 'none: give it'} | {_in_table(says)} |"
        for key, default, says in _rows(model, prefix, nested)
    ]
    return ["| setting | default | what it does |", "|---|---|---|", *rows, ""]


def _rows(model: type[Settings], prefix: str, nested: bool) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        if not _is_section(field):
            default = "" if field.is_required() else _text(field.get_default(call_default_factory=True))
            yield f"{prefix}{name}", default, field.description or ""
        elif nested:
            assert field.annotation is not None
            yield from _rows(field.annotation, f"{prefix}{name}.", nested)


def _is_section(field: object) -> bool:
    kind = getattr(field, "annotation", None)
    return inspect.isclass(kind) and issubclass(kind, Settings)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _in_table(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _first_line(documented: type | None) -> str:
    return (inspect.getdoc(documented) or "").split("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    (DOCS / "settings.md").write_text(settings_page())
    losses = DOCS / "losses.md"
    losses.write_text(losses_page(losses.read_text()))
