"""What loading costs: our loader beside others on the same JPEG files, and training and extraction beside a bare loop.

Every measurement has a process of its own, in an order that turns round by round; figures are medians. Images are counted
by the clock and by the processor time of the process and its loader processes, which other work on the machine hardly
changes. The bare loop has its images decoded in memory: forward, loss, backward, AdamW; or forward alone. It takes steps in
turn with the whole loop, by processor time. What the JPEG decoder alone leaves of the bare loop is the most that a loader
with that decoder reaches on the same cores.

    taskset -c 0,1 python benchmarks/bench_loader.py --before OLDER_CHECKOUT
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from loader_cases import FILES, LOADERS, MEASURES, NETWORKS, write_images


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description="What loading costs.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--before", type=Path, help="an older checkout, with a folder `subspace` of links")
    parser.add_argument("--tables", nargs="+", default=["loaders", "loops"], choices=["loaders", "loops"])
    parser.add_argument("--one", nargs=5, metavar=("WHAT", "CASE", "FOLDER", "WORKERS", "THREADS"))
    options = parser.parse_args()
    if options.one:
        what, case, folder, workers, threads = options.one
        torch.set_num_threads(int(threads))
        print(json.dumps(MEASURES[what](case, Path(folder), int(workers))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        for (stored, _), name in FILES.items():
            write_images(Path(scratch) / name, stored)
        if "loaders" in options.tables:
            print("\n".join(loader_table(Path(scratch), options)), flush=True)
        if "loops" in options.tables:
            print("\n".join(loop_table(Path(scratch), options)), flush=True)


def in_a_process(
    what: str, case: str, folder: Path, workers: int, threads: int, package: Path | None
) -> dict[str, float]:
    """Call this script for one measurement, of the code of another checkout where `package` says so."""
    command = [sys.executable, __file__, "--one", what, case, str(folder), str(workers), str(threads)]
    path = [str(package)] if package else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    print(what, case, workers, threads, package or "", done.stdout.strip(), file=sys.stderr, flush=True)
    return json.loads(done.stdout.splitlines()[-1])


def medians(cases: list[tuple[Any, ...]], rounds: int) -> dict[tuple[Any, ...], dict[str, float]]:
    """Of `in_a_process` for each case."""
    found: dict[tuple[Any, ...], list[dict[str, float]]] = {}
    for turn in range(rounds):
        for case in cases if turn % 2 == 0 else cases[::-1]:
            found.setdefault(case, []).append(in_a_process(*case))
    return {
        case: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for case, runs in found.items()
    }


def loader_table(folder: Path, options: argparse.Namespace) -> list[str]:
    """Loaders down, on the same files."""
    lines = [
        "| files | loader | loader processes | images/s | processor time, µs an image | times ours |",
        "|---|---|---|---|---|---|",
    ]
    sides = [("subspace, before", "subspace", options.before)] if options.before else []
    sides += [(name, name, None) for name in LOADERS]
    decode = medians([("decode", f"{a} {b}", folder, 0, 1, None) for a, b in FILES], options.rounds)
    cases = {
        (files, label, workers): ("read", f"{name} {stored} {size}", folder, workers, 1, package)
        for (stored, size), files in FILES.items()
        for workers in options.workers
        for label, name, package in sides
    }
    found = medians(list(cases.values()), options.rounds)
    for (files, label, workers), case in cases.items():
        own, ours = found[case], found[cases[files, "subspace", workers]]
        lines.append(
            f"| {files} | {label} | {workers} | {1 / own['clock']:,.0f} | {1e6 * own['busy']:.0f} "
            f"| {own['busy'] / ours['busy']:.2f} |"
        )
    for (stored, size), files in FILES.items():
        busy = decode["decode", f"{stored} {size}", folder, 0, 1, None]["busy"]
        ours = found[cases[files, "subspace", options.workers[0]]]["busy"]
        lines.append(f"| {files} | Pillow's decoder alone | 0 | | {1e6 * busy:.0f} | {busy / ours:.2f} |")
    return lines


def loop_table(folder: Path, options: argparse.Namespace) -> list[str]:
    """Training and extraction beside the bare loop, in turn in one process."""
    lines = [
        "| network | loop | code | bare, µs an image | whole | share of bare | the decoder alone | share left by it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    sides = [("before", options.before)] if options.before else []
    sides += [("now", None)]
    for name, (size, _, _) in NETWORKS.items():
        alone = ("decode", f"{size} {size}", folder, 0, 1, None)
        cases = {
            (what, label): ("loop", f"{name} {what}", folder, 0, 1, package)
            for what in ("train", "extract")
            for label, package in sides
        }
        found = medians([alone, *cases.values()], options.rounds)
        for (what, label), case in cases.items():
            own, decode = found[case], found[alone]["busy"]
            lines.append(
                f"| {name} | {what} | {label} | {1e6 * own['bare']:,.0f} | {1e6 * own['whole']:,.0f} "
                f"| {own['share']:.2f} | {1e6 * decode:.0f} | {own['bare'] / (own['bare'] + decode):.2f} |"
            )
    return lines


if __name__ == "__main__":
    main()
