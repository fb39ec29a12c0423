"""Print the tables of the comparison from the stored results, one for each set and budget.

A row that ran beside other work, or on another processor than most of its table, has a dash for each time. Its times
are in its result file. A row that was made before the second exam has a dash for each of its columns, unless all its
seeds were examined again.

python benchmarks/quality/table.py [--visits 40] [20k | 100k ...]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from arms import ARMS
from data_sets import title_of
from examination import TOLD_APART
from one_row import RESULTS, VISITS

QUALITY = {
    "rank1_10k": "Rank-1, 10k",
    "rank1_100k": "Rank-1, 100k",
    "tar_1e-4": "TAR@1e-4",
    "tar_1e-5": "TAR@1e-5",
    "tar_1e-6": "TAR@1e-6",
    "coverage_p95": "coverage@P=0.95",
    "coverage_p99": "coverage@P=0.99",
}
QUALITY |= {
    TOLD_APART + key: f"told apart: {QUALITY[key]}"
    for key in ("rank1_10k", "rank1_100k", "tar_1e-4", "tar_1e-5", "tar_1e-6")
}
LEFT_OUT = "–"
"""In the place of a time that was taken beside other work, and of the columns of an exam that was not taken."""
BUDGETS = {"steps": "equal steps", "wallclock": "equal wall-clock, mining counted"}


def main(sets: Sequence[str], visits: float) -> None:
    """Print a table for each set and budget that has results."""
    for data in sets or stored_sets():
        print_set(data, visits, list(ARMS))


def stored_sets() -> list[str]:
    """The folders below results that hold rows: of a set, or of a set in a campaign of its own (`run_rows.py --out`)."""
    return sorted({path.parent.relative_to(RESULTS).as_posix() for path in RESULTS.rglob("*.json")})


def print_set(data: str, visits: float, arms: Sequence[str]) -> None:
    """Print a set's table for each budget that has results of these arms, in their order."""
    found = read_results(data, visits)
    for budget, title in BUDGETS.items():
        rows = {arm: found[arm, budget] for arm in arms if found[arm, budget]}
        if rows:
            length = "" if visits == VISITS else f", {visits:g} visits"
            print(f"\n**{title_of(data)}, {title}{length}**\n")
            print("\n".join(table(rows)))


def read_results(data: str, visits: float) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The results of a set with so many visits to an identity, by arm and budget, a list over seeds."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for path in sorted((RESULTS / data).glob("*.json")):
        named = path.stem.endswith("-visits")
        if path.stem.endswith(f"-{visits:g}-visits") if named else visits == VISITS:
            result = json.loads(path.read_text())
            found[result["arm"], result["budget"]].append(result)
    return found


def table(rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Markdown; the best mean of each quality column is bold."""
    best = {
        key: max((mean(results, key) for results in rows.values() if _have(results, key)), default=0.0)
        for key in QUALITY
    }
    usual = statistics.mode(result["hardware"] for results in rows.values() for result in results)
    titles = ["arm", "seeds", *QUALITY.values(), "active", "steps", "images/s", "s", "mining", "GiB"]
    on_gpu = any("peak_gpu_bytes" in result for results in rows.values() for result in results)
    titles += ["GPU GiB"] if on_gpu else []
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for arm, results in rows.items():
        cells = [arm, f"{len(results)}"]
        for key in QUALITY:
            if not _have(results, key):
                cells.append(LEFT_OUT)
                continue
            cell = _percent([result[key] for result in results])
            cells.append(f"**{cell}**" if mean(results, key) == best[key] else cell)
        active = [result["active_fraction"] for result in results]
        seconds = mean(results, "seconds")
        unlike = any(result.get("beside_other_work") or result["hardware"] != usual for result in results)
        times = (
            f"{mean(results, 'images_per_second'):,.0f}",
            f"{seconds:,.0f}",
            f"{mean(results, 'mining_seconds') / seconds:.0%}",
        )
        images_per_second, taken, mining = (LEFT_OUT if unlike else time for time in times)
        cells += [
            "" if None in active else f"{100 * statistics.mean(active):.1f}",
            f"{mean(results, 'steps'):,.0f}",
            images_per_second,
            taken,
            mining,
            f"{mean(results, 'peak_rss_bytes') / 2**30:.1f}",
        ]
        if on_gpu:
            known = _have(results, "peak_gpu_bytes")
            cells.append(f"{mean(results, 'peak_gpu_bytes') / 2**30:.1f}" if known else LEFT_OUT)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def mean(results: list[dict[str, Any]], key: str) -> float:
    """Of one figure over the seeds."""
    return statistics.mean(result[key] for result in results)


def _have(results: list[dict[str, Any]], key: str) -> bool:
    return all(key in result for result in results)


def _percent(values: list[float]) -> str:
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{spread}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help="such as 20k or 100k; all where none is named")
    parser.add_argument(
        "--visits", type=float, default=VISITS, help=f"to an identity, on average; {VISITS:g}"
    )
    options = parser.parse_args()
    main(options.sets, options.visits)
