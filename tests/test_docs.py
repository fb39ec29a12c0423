"""The documents: short, linked, current, and true of the command line and the settings.

Covers docs/make_settings_page.py and docs/make_code_map.py as well.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from conftest import REPOSITORY

from subspace.mining.schemas import DUPLICATES, IDENTITIES, IMAGE_EMBEDDINGS, PLAN, SUBSPACES, TableKind
from subspace.mining.settings import Settings
from subspace.pipeline.cli import app
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.configuration.schedule_config import JobConfig
from subspace.pipeline.schedulers.job_requests import job_names
from subspace.train.losses.registry import LOSSES

DOCUMENTS = [
    *(REPOSITORY / name for name in ("README.md", "BENCHMARKS.md", "CONTRIBUTING.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4,}\S.*$", re.MULTILINE)
SPAN = re.compile(r"`([^`]+)`")
KEY = re.compile(r"(?<![\w./-])([a-z_]+(?:\.[A-Za-z_]+)+)(?=(=?))")
FILES = ("csv", "json", "jsonl", "parquet", "py", "md", "yaml", "safetensors")

each_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix()
)


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150


def test_the_figures_of_the_first_screen_are_measured() -> None:
    first = (REPOSITORY / "README.md").read_text().partition("## Your images")[0]
    figures = set(re.findall(r"\d+\.\d", first))
    assert figures
    page = (REPOSITORY / "docs" / "benchmarks" / "quality-100k.md").read_text()
    assert not [figure for figure in figures if figure not in page]


def test_every_page_is_in_a_list_of_contents() -> None:
    """Of README, or of BENCHMARKS for its pages; the pages of one subject may lead to one another."""
    linked = {target for path in DOCUMENTS for target, _ in _links(path)}
    assert {path for path in DOCUMENTS if path.is_relative_to(REPOSITORY / "docs")} <= linked


@each_document
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in _links(path):
        assert target.exists(), f"{target} is missing"
        if anchor:
            assert anchor in _anchors(target), f"{target.name} has no heading #{anchor}"


@each_document
def test_python_in_the_documents_compiles(path: Path) -> None:
    for language, code in BLOCK.findall(path.read_text()):
        if language == "python":
            compile(code, str(path), "exec")


def test_sql_in_the_documents_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On empty tables of a run: their columns have the names and types that the queries use."""
    for kind in (IDENTITIES, SUBSPACES, DUPLICATES, PLAN):
        path = tmp_path / "runs/demo-subspace/round-000"
        path = path / "plan" / "part.parquet" if kind is PLAN else path / f"{kind.name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(_empty(kind), path)
    pq.write_table(_empty(IMAGE_EMBEDDINGS), tmp_path / "holidays.parquet")
    monkeypatch.chdir(tmp_path)
    queries = [
        code for path in DOCUMENTS for language, code in BLOCK.findall(path.read_text()) if language == "sql"
    ]
    assert queries
    for query in queries:
        assert duckdb.sql(query).fetchall() == []


@each_document
def test_commands_in_the_documents_exist(path: Path) -> None:
    commands = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    for code in _code(path):
        for name, rest in re.findall(r"(?<![\w./-])subspace ([a-z]+(?:-[a-z]+)*)([^|;&#]*)", code):
            assert name in commands, f"no command `subspace {name}`"
            options = {option for parameter in commands[name].params for option in parameter.opts}
            options |= {option for parameter in commands[name].params for option in parameter.secondary_opts}
            for option in re.findall(r"(?<=\s)(--[a-z][a-z-]*)", rest):
                assert option in options | {"--help"}, f"`subspace {name}` has no {option}"


@each_document
def test_settings_in_the_documents_exist(path: Path) -> None:
    for code in _code(path):
        for key, given in KEY.findall(code):
            first, *_, last = key.split(".")
            if _is_section(RunConfig, first) and (given or last not in FILES):
                _check_setting(key)


def test_an_unknown_setting_is_found() -> None:
    with pytest.raises(AssertionError, match=r"plan\.group"):
        _check_setting("plan.group")
    with pytest.raises(AssertionError, match="margin_"):
        _check_setting("train.loss_args.arcface.margin_")


def test_generated_pages_are_current() -> None:
    settings, code_map = _script("make_settings_page"), _script("make_code_map")
    losses = (REPOSITORY / "docs" / "losses.md").read_text()
    assert (REPOSITORY / "docs" / "settings.md").read_text() == settings.settings_page(), "run `make docs`"
    assert losses == settings.losses_page(losses), "run `make docs`"
    assert (REPOSITORY / "docs" / "code.md").read_text() == code_map.code_map(), "run `make docs`"


def test_the_map_has_a_sentence_for_every_module() -> None:
    page = (REPOSITORY / "docs" / "code.md").read_text()
    folders = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    for package in ("pipeline", "mining", "train"):
        for path in (REPOSITORY / package).rglob("*.py"):
            folder = path.parent.relative_to(REPOSITORY).as_posix()
            if path.name == "__init__.py":
                assert folder == "pipeline" or re.match(r"\n\S", folders[folder]), (
                    f"{folder} has no docstring"
                )
            else:
                assert re.search(rf"^- `{path.name}`: \S", folders[folder], re.MULTILINE), (
                    f"{path}: no sentence"
                )


def test_files_that_recipes_name_exist() -> None:
    """Of CONTRIBUTING.md, but for the new ones, which are called NAME there."""
    named = re.findall(
        r"`((?:pipeline|train|mining|benchmarks|docs)/[\w/.]+)`", (REPOSITORY / "CONTRIBUTING.md").read_text()
    )
    assert len(named) > 10
    assert not [name for name in named if "NAME" not in name and not (REPOSITORY / name).exists()]


def _links(path: Path) -> list[tuple[Path, str]]:
    """Files of this repository that a document links to, and the heading within."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" not in link:
            target, _, anchor = link.partition("#")
            found.append(((path.parent / target).resolve() if target else path, anchor))
    return found


def _anchors(path: Path) -> set[str]:
    """Of the headings of a Markdown file, as GitHub makes them."""
    text = BLOCK.sub("", path.read_text())
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _code(path: Path) -> list[str]:
    """Blocks, line by line with continued lines joined, and spans."""
    text = path.read_text().replace("\\\n", " ")
    blocks = [line for _, block in BLOCK.findall(text) for line in block.splitlines()]
    rest = BLOCK.sub("", text)
    return [*blocks, *INDENTED.findall(rest), *(" ".join(span.split()) for span in SPAN.findall(rest))]


def _is_section(model: type[Settings], name: str) -> bool:
    kind = model.model_fields[name].annotation if name in model.model_fields else None
    return isinstance(kind, type) and issubclass(kind, Settings)


def _check_setting(key: str) -> None:
    model, parts = RunConfig, key.split(".")
    for place, name in enumerate(parts):
        assert name in model.model_fields, f"no setting {key}"
        if not _is_section(model, name):
            rest = parts[place + 1 :]
            if name == "loss_args":
                if rest and rest[0] in (
                    "pml",
                    "python",
                ):  # pml:NAME, python:...: the arguments of another's code
                    return
                assert not rest or rest[0] in LOSSES, f"no loss {key}"
                assert len(rest) < 2 or rest[1] in LOSSES[rest[0]].settings, f"no setting {key}"
            elif name == "stages":
                assert not rest or rest[0] in job_names(), f"no stage {key}"
                assert len(rest) < 2 or rest[1] in JobConfig.model_fields, f"no setting {key}"
            else:
                assert not rest, f"no setting {key}"
            return
        model = model.model_fields[name].annotation  # pyright: ignore[reportAssignmentType]


def _empty(kind: TableKind) -> pa.Table:
    return pa.table({c.name: pa.array([], _any_width(c.type)) for c in kind.columns})


def _any_width(kind: pa.DataType) -> pa.DataType:
    return pa.list_(kind.value_type) if pa.types.is_fixed_size_list(kind) else kind


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
