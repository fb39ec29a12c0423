"""The tables in the documents are those of the stored results, and each figure of BENCHMARKS.md is on its page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ablations import ABLATIONS
from glyph_sets import REPOSITORY
from make_pages import (
    MARKED,
    OF_ABLATIONS,
    PAGES,
    RESULTS,
    ablation_table,
    filled,
    stored_table,
    without_empty_columns,
)

BENCHMARKS = REPOSITORY / "BENCHMARKS.md"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_tables_of_a_page_are_those_of_the_results(path: Path) -> None:
    page = path.read_text()
    assert filled(page) == page, "run `make docs`"


def test_no_table_of_a_page_is_typed() -> None:
    for path in PAGES[1:]:
        typed = MARKED.sub("", path.read_text())
        assert not re.search(r"^\|", typed, re.MULTILINE), f"{path.name} has a table outside of the marks"


def test_every_stored_table_is_on_a_page() -> None:
    shown = {mark[2] for path in PAGES for mark in MARKED.finditer(path.read_text())}
    stored = {
        f"stored {path.stem} {name}"
        for path in RESULTS.glob("*.json")
        for name, table in json.loads(path.read_text())["tables"].items()
        if set(table["columns"][1:]) - set(table.get("times", []))  # something is left of it
    }
    assert stored <= shown


def test_times_beside_other_work_are_left_out() -> None:
    result = {
        "command": "python bench.py",
        "date": "2026-01-01",
        "hardware": None,
        "tables": {
            "own": {
                "columns": ["case", "s", "ms", "GiB"],
                "times": ["s", "ms"],
                "rows_timed_alone": [1],
                "rows": [["busy", "1", "2", "3"], ["quiet", "4", "5", "6"]],
            }
        },
    }
    lines = stored_table(result, "own")
    assert lines[:4] == [
        "| case | s | ms | GiB |",
        "|---|---|---|---|",
        "| busy | – | – | 3 |",
        "| quiet | 4 | 5 | 6 |",
    ]
    assert lines[-1] == "*`python bench.py`; 2026-01-01. Left out, since timed beside other work: s, ms.*"


def test_a_column_of_dashes_is_no_column() -> None:
    assert without_empty_columns(["| a | b |", "|---|---|", "| 1 | – |", "| 2 | – |"]) == [
        "| a |",
        "|---|",
        "| 1 |",
        "| 2 |",
    ]


def test_every_figure_of_the_claims_is_on_the_page_that_it_links_to() -> None:
    rows = [
        line for line in BENCHMARKS.read_text().splitlines() if line.startswith("| ") and "](docs/" in line
    ]
    assert len(rows) > 10
    for row in rows:
        cells = row.strip("| ").split(" | ")
        page = (REPOSITORY / re.search(r"\]\((docs/[^)#]+)", row)[1]).read_text()  # pyright: ignore[reportOptionalSubscript]
        numbers = set(re.findall(r"(?<![\w.@=-])\d[\d,]*(?:\.\d+)?(?![\w])", cells[1]))
        missing = {
            number for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number)}(?![\d])", page)
        }
        assert not missing, f"{cells[0]}: {missing} not on its page"


def test_an_ablation_is_a_table_of_the_points_that_have_a_row() -> None:
    ablation = ABLATIONS["label-noise"]
    made = [point for point in ablation.points if point.row().result.exists()]
    _, _, *lines = ablation_table(ablation)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [float(x) for x, *_ in cells] == sorted(point.x for point in made)
    found = {(float(x), line): figures for x, line, *figures in cells}
    for point in made:
        result = json.loads(point.row().result.read_text())
        assert found[point.x, point.line] == [f"{100 * result[key]:.1f}" for key in OF_ABLATIONS]
