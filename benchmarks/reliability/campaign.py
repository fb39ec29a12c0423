"""Accidents of every kind to a tiny run, and whether the same command again comes to the results of the undisturbed one.

python benchmarks/reliability/campaign.py --store        an hour on two cores: `make reliability`
python benchmarks/reliability/campaign.py --short        some minutes
python benchmarks/reliability/campaign.py --only two_at_once broken_disks

An accident went well if the command that met it ended by the signal or in one line, without a traceback and in time; and
if the same command again finished the run with the same bytes in its tables, plans and checkpoints, and the same metrics.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from accident_kinds import Accidents, try_all
from after_training import after_training
from broken_disks import broken_disks
from images_gone import images_gone
from killed_at_writes import killed_at_writes
from killed_worker import killed_worker
from moved_run import moved_run
from small_shared_memory import small_shared_memory
from stop_signals import stop_signals
from tiny_run import TinyRun
from two_at_once import two_at_once
from wrong_clock import wrong_clock

sys.path.append(str(Path(__file__).resolve().parent.parent))
import store_table

SCENARIOS: dict[str, Callable[[TinyRun, bool], list[Accidents]]] = {
    scenario.__name__: scenario
    for scenario in (
        killed_at_writes, stop_signals, broken_disks, two_at_once, moved_run, wrong_clock, small_shared_memory,
        killed_worker, images_gone, after_training,
    )
}  # fmt: skip
HEAD = ("accident", "tries", "went well", "how the command ended that met it")


def main() -> int:
    """Try them, print the table, keep it where that is asked for; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="NAME")
    parser.add_argument("--short", action="store_true", help="a few tries of each")
    parser.add_argument(
        "--store", action="store_true", help="keep the table in benchmarks/results/reliability.json"
    )
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="tries at a time; default: one a core"
    )
    given = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("the campaign needs Linux: it counts writes by LD_PRELOAD")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        tiny = TinyRun(Path(folder))
        tiny.make()
        rows, wrong = [], 0
        for name in given.only:
            for index, accidents in enumerate(SCENARIOS[name](tiny, given.short)):
                if accidents.skipped:
                    rows.append([accidents.what, "0", "–", f"skipped: {accidents.skipped}"])
                    continue
                outcome = try_all(accidents, Path(folder) / f"{name}-{index}", given.processes, _say)
                tries = len(outcome.attempts)
                wrong += tries - outcome.equal
                rows.append([accidents.what, str(tries), str(outcome.equal), outcome.happened])
                _say(" | ".join(rows[-1]))
    table = _markdown(rows)
    print(f"\n{table}\n\n{(time.monotonic() - began) / 60:.0f} minutes, {wrong} wrong")
    if given.store:
        made = {
            "command": " ".join(["python benchmarks/reliability/campaign.py", *sys.argv[1:]]),
            "date": date.today().isoformat(),
            "hardware": _hardware(),
        }
        store_table.main(table, store_table.RESULTS / "reliability.json", "campaign", made, [])
    return int(wrong > 0)


def _markdown(rows: list[list[str]]) -> str:
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)


def _hardware() -> str:
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return f"{os.cpu_count()} cores of {named[1] if named else platform.machine()}, {platform.system()} {platform.release().split('-')[0]}"


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
