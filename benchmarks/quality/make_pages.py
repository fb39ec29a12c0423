"""Fill the tables of README.md, docs/reliability.md, docs/loss-search.md and docs/benchmarks from the stored results, so that no figure of them is typed.

A table stands between two marks in a page; what is between them is replaced:

    <!-- table: quality 100k steps -->     a set and budget of the comparison, from benchmarks/quality/results
    <!-- table: quality 20k steps 40 -->   the same with so many visits to an identity
    <!-- table: quality both-exams/100k steps -->   rows that `run_rows.py --out results/both-exams` made
    <!-- table: ablation label-noise -->   the points of an ablation that have a row
    <!-- table: stored losses now -->         a table of benchmarks/results/losses.json
    <!-- table: lead -->                   three rows for the README
    <!-- end -->

python benchmarks/quality/make_pages.py
"""

from __future__ import annotations

import json
import re
from typing import Any

from ablations import ABLATIONS, Ablation
from arms import ARMS
from data_sets import title_of
from glyph_sets import REPOSITORY
from one_row import VISITS
from table import BUDGETS, LEFT_OUT, QUALITY, mean, read_results, table

RESULTS = REPOSITORY / "benchmarks" / "results"
PAGES = (
    REPOSITORY / "README.md",
    REPOSITORY / "docs" / "reliability.md",
    REPOSITORY / "docs" / "loss-search.md",
    *sorted((REPOSITORY / "docs" / "benchmarks").glob("*.md")),
)
MARKED = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
LEFT_OUT_NOTE = (
    "*Left out (–): times taken beside other work, or on another processor than most of the table.*"
)
NOT_TAKEN_NOTE = (
    "*told apart: the exam without letters that no eye could tell apart; rows of before it have a dash (–).*"
)
LEAD = {
    "Partial FC (CosFace)": "Partial FC CosFace, r=0.1",
    "random batches, same loss": "random, multi-similarity, λ=0.8, β=20",
    "**planned batches** (the default)": (
        "groups of 8, 75% random, multi-similarity, λ=0.8, β=20, re-clustered on running means"
    ),
}
OF_ABLATIONS = {key: title for key, title in QUALITY.items() if key.startswith(("rank1", "tar"))}
"""Columns that rows of every age have."""
LEAD_COLUMNS = {"rank1_10k": "Rank-1", "rank1_100k": "Rank-1 among 110,000", "tar_1e-6": "TAR@FAR=1e-6"}


def main() -> None:
    """Write every page whose tables differ from the results."""
    for path in PAGES:
        page = path.read_text()
        if filled(page) != page:
            path.write_text(filled(page))
            print(f"{path.relative_to(REPOSITORY)}: new tables")


def filled(page: str) -> str:
    """The page with every marked table made again."""
    return MARKED.sub(lambda mark: f"{mark[1]}\n{make_table(mark[2])}\n\n{mark[3]}", page)


def make_table(name: str) -> str:
    """Markdown of one table, by the words of its mark."""
    kind, *words = name.split()
    if kind == "lead":
        return "\n".join(_lead())
    if kind == "stored":
        return "\n".join(stored_table(json.loads((RESULTS / f"{words[0]}.json").read_text()), words[1]))
    if kind == "ablation":
        return "\n".join(ablation_table(ABLATIONS[words[0]]))
    data, budget, *visits = words
    found = read_results(data, float(visits[0]) if visits else VISITS)
    rows = {arm: found[arm, budget] for arm in ARMS if found[arm, budget]}
    title = f"**{title_of(data)}, {BUDGETS[budget]}{f', {visits[0]} visits' if visits else ''}**"
    lines = table(rows)
    return "\n".join([title, "", *without_empty_columns(lines), *_notes(lines)])


def ablation_table(ablation: Ablation) -> list[str]:
    """Markdown of the points of an ablation that have a row, in the order of what is varied."""
    points = sorted(ablation.points, key=lambda point: point.x)
    rows = [(point, point.row().read()) for point in points if point.row().result.exists()]
    lines = [f"| {ablation.axis} | what | {' | '.join(OF_ABLATIONS.values())} |"]
    lines.append(f"|{'---|' * (2 + len(OF_ABLATIONS))}")
    for point, result in rows:
        cells = [f"{100 * result[key]:.1f}" for key in OF_ABLATIONS]
        lines.append(f"| {point.x:g} | {point.line} | {' | '.join(cells)} |")
    return lines


def _notes(lines: list[str]) -> list[str]:
    """What the dashes of a table of the comparison say."""
    titles, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines)
    dashes = {
        title: [cell == LEFT_OUT for cell in cells] for title, *cells in zip(titles, *rows, strict=True)
    }
    notes = [LEFT_OUT_NOTE] if any(dashes["images/s"]) else []
    if any(
        any(cells) and not all(cells) for title, cells in dashes.items() if title.startswith("told apart")
    ):
        notes.append(NOT_TAKEN_NOTE)
    return [line for note in notes for line in ("", note)]


def stored_table(result: dict[str, Any], name: str) -> list[str]:
    """A table of a benchmark's file, then where, when and how it was made.

    Columns of times that were taken beside other work have a dash in each row that is not among `rows_timed_alone`.
    """
    own = result["tables"][name]
    columns, times = own["columns"], own.get("times", [])
    alone = set(own.get("rows_timed_alone", []))
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for index, row in enumerate(own["rows"]):
        cells = [
            cell if column not in times or index in alone else LEFT_OUT
            for column, cell in zip(columns, row, strict=True)
        ]
        lines.append(f"| {' | '.join(cells)} |")
    made = {**result, **own}  # a table that was made again says so itself
    when_and_where = ", ".join(filter(None, (made["date"], made["hardware"])))
    note = f"`{made['command']}`; {when_and_where}."
    if times:
        note += f" Left out, since timed beside other work: {', '.join(times)}."
    return [*without_empty_columns(lines), "", f"*{note}*"]


def without_empty_columns(lines: list[str]) -> list[str]:
    """A Markdown table without the columns in which every row has a dash."""
    rows = [line[1:-1].split("|") for line in lines]
    kept = [
        column for column in range(len(rows[0])) if any(row[column].strip() != LEFT_OUT for row in rows[2:])
    ]
    return [f"|{'|'.join(row[column] for column in kept)}|" for row in rows]


def _lead() -> list[str]:
    found = read_results("100k", VISITS)
    lines = [f"| percent | {' | '.join(LEAD_COLUMNS.values())} |", f"|{'---|' * (1 + len(LEAD_COLUMNS))}"]
    for title, arm in LEAD.items():
        cells = [f"{100 * mean(found[arm, 'steps'], key):.1f}" for key in LEAD_COLUMNS]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
