"""Print every table that there are stored results of: all rows of the comparison, ablations included, and all benchmarks.

    python benchmarks/quality/every_table.py > tables.md

What makes a row again is `run_rows.py --row FILE --again`, with a file below results; what makes another table again
stands below it.
"""

from __future__ import annotations

import json
import re

from ablations import ABLATIONS
from arms import ARMS
from make_pages import RESULTS as BENCHMARKS
from make_pages import stored_table
from one_row import RESULTS, VISITS
from table import print_set, stored_sets


def main() -> None:
    """Print them, those of the comparison first."""
    for data in stored_sets():
        for visits in _visits(data):
            print_set(data, visits, _arms())
    for path in sorted(BENCHMARKS.glob("*.json")):
        result = json.loads(path.read_text())
        for name in result["tables"]:
            print(f"\n**{path.stem}, {name}**\n")
            print("\n".join(stored_table(result, name)))


def _visits(data: str) -> list[float]:
    names = [path.stem for path in (RESULTS / data).glob("*.json")]
    named = [re.search(r"-([\d.]+)-visits$", name) for name in names]
    return sorted({float(match[1]) if match else VISITS for match in named})


def _arms() -> list[str]:
    """Names of all that there are, in the order of the table, then those of the ablations alone."""
    of_ablations = [point.arm.name for ablation in ABLATIONS.values() for point in ablation.points]
    return list(dict.fromkeys([*ARMS, *of_ablations]))


if __name__ == "__main__":
    main()
