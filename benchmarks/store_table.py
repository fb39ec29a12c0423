"""Keep the table that a benchmark prints as data in benchmarks/results, where the pages take it from.

python benchmarks/bench_plan.py --rounds 2 | python benchmarks/store_table.py plan plans \\
    --command "python benchmarks/bench_plan.py --rounds 2" --hardware "2 cores of an AMD EPYC, no GPU"

Name the columns of times with --times where other work ran beside them: the pages leave these out.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import date
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def main(text: str, path: Path, name: str, made: dict[str, Any], times: list[str]) -> None:
    """Put the first table of `text` into a file of results, in the place of the table of that name."""
    columns, _, *rows = [
        [cell.strip().replace("**", "") for cell in line.strip()[1:-1].split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    result = read(path)
    result["tables"][name] = {**made, "columns": columns, **({"times": times} if times else {}), "rows": rows}
    path.write_text(_one_row_a_line(result) + "\n")


def read(path: Path) -> dict[str, Any]:
    """What a file of results holds; no table where there is none."""
    return json.loads(path.read_text()) if path.exists() else {"tables": {}}


def _one_row_a_line(result: dict[str, Any]) -> str:
    """JSON that a person reads and a diff shows row by row."""
    text = json.dumps(result, indent=1, ensure_ascii=False)
    flat = re.compile(r"\[\s*((?:\"(?:[^\"\\]|\\.)*\"|\d+)(?:,\s*(?:\"(?:[^\"\\]|\\.)*\"|\d+))*)\s*\]")
    return flat.sub(lambda row: "[" + re.sub(r"(?<=,)\s*\n\s*", " ", row[1]) + "]", text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmark", help="name of the file in benchmarks/results")
    parser.add_argument("table", help="name of the table within it")
    parser.add_argument("--command", required=True, help="what printed the table")
    parser.add_argument("--hardware", required=True, help="such as: 2 cores of an AMD EPYC, no GPU")
    parser.add_argument("--times", nargs="*", default=[], help="columns of times that other work disturbed")
    given = parser.parse_args()
    made_by = {"command": given.command, "date": date.today().isoformat(), "hardware": given.hardware}
    main(sys.stdin.read(), RESULTS / f"{given.benchmark}.json", given.table, made_by, given.times)
