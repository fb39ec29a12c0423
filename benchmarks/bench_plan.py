"""A plan of 100 million image slots over 10 million identities, against pyarrow writing the same columns.

Each side runs in a process of its own, whose peak memory counts its inputs: ours the images and subspaces of all
identities, pyarrow's the columns of a few blocks, made before the clock starts and written again and again. It
writes them twice: with its defaults, which look for repeats (dictionaries), and with the settings that ours uses.

    taskset -c 0,1 env OMP_NUM_THREADS=2 python benchmarks/bench_plan.py
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from subspace.mining import IdentityImages, PlanConfig, plan_batches, write_plan
from subspace.mining.planning.batch_plan import BATCHES_PER_BLOCK
from subspace.mining.schemas import PLAN

P, K, IDS_PER_SUBSPACE = 64, 4, 10_000
CASES = {
    "g=1": {},
    "g=1, sequential": {"order": "sequential"},
    "g=4, random 0.25": {"group_size": 4, "random_fraction": 0.25},
    "g=4, random 0.25, at most 12": {"group_size": 4, "random_fraction": 0.25, "max_appearances": 12},
}


def ours(case: str, identities: int, steps: int, folder: Path) -> dict[str, float]:
    """Seconds and peak memory of planning and writing, with its inputs in memory."""
    random = np.random.default_rng(0)
    offset = np.concatenate(([0], np.cumsum(random.integers(1, 6, identities, np.uint8), dtype=np.int64)))
    images = IdentityImages(np.arange(identities, dtype=np.int32), offset, np.arange(offset[-1]))
    subspace_id = random.integers(max(1, identities // IDS_PER_SUBSPACE), size=identities, dtype=np.int32)
    config = PlanConfig(strategy="custom", steps=steps, P=P, K=K, **CASES[case])
    neighbors = None
    if config.draw.group_size > 1:
        neighbors = look_alikes(subspace_id, config.draw.group_size - 1, random)
    started = time.perf_counter()
    write_plan(
        folder, plan_batches(images, subspace_id, config, neighbors=neighbors), images, fingerprint="-"
    )
    return figures(time.perf_counter() - started)


def look_alikes(subspace_id: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """k others of the same subspace for everybody, the first members far more often than the last: hubs."""
    neighbors = np.empty((len(subspace_id), k), np.int32)
    order = np.argsort(subspace_id.astype(np.uint16), kind="stable").astype(np.int32)
    for members in np.split(order, np.flatnonzero(np.diff(subspace_id[order])) + 1):
        skewed = random.random((len(members), k)) ** 2
        neighbors[members] = members[(skewed * len(members)).astype(np.int64)]
    return neighbors


def theirs(dictionary: bool, identities: int, steps: int, file: Path) -> dict[str, float]:
    """Seconds and peak memory of pyarrow writing the same columns, block by block."""
    random = np.random.default_rng(0)
    blocks = []
    for _ in range(8):
        identity = random.integers(identities, size=(BATCHES_PER_BLOCK, P), dtype=np.int32)
        image = identity.astype(np.int64)[:, :, None] * 3 + random.integers(5, size=(BATCHES_PER_BLOCK, P, K))
        blocks.append((identity.ravel(), image.ravel()))
    started = time.perf_counter()
    with pq.ParquetWriter(
        file,
        PLAN.columns,
        compression="zstd",
        write_page_checksum=True,
        use_dictionary=dictionary,
    ) as writer:
        for number, first in enumerate(range(0, steps, BATCHES_PER_BLOCK)):
            rows = min(BATCHES_PER_BLOCK, steps - first)
            identity, image = blocks[number % len(blocks)]
            columns = [
                pa.array(np.arange(first, first + rows)),
                pa.array(np.full(rows, number % 1000, np.int32)),
                *(
                    pa.ListArray.from_arrays(
                        np.arange(0, rows * width + 1, width, np.int32), pa.array(flat[: rows * width])
                    )
                    for flat, width in ((identity, P), (image, P * K))
                ),
            ]
            writer.write_table(pa.table(columns, schema=PLAN.columns), row_group_size=BATCHES_PER_BLOCK)
    return figures(time.perf_counter() - started)


def figures(seconds: float) -> dict[str, float]:
    """The time, and this process's peak memory in GiB."""
    return {"seconds": seconds, "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def opening(folder: Path) -> dict[str, float]:
    """Milliseconds to open the plan anew and read a batch at random steps."""
    from subspace.train.data.plan_reader import Plan

    steps = np.random.default_rng(0).integers(len(Plan(folder)), size=50)
    milliseconds = []
    for step in steps.tolist():
        started = time.perf_counter()
        Plan(folder)[step]
        milliseconds.append(1000 * (time.perf_counter() - started))
    return {"median": statistics.median(milliseconds), "largest": max(milliseconds)}


def in_a_process(*arguments: object) -> dict[str, float]:
    """Call this script for one measurement."""
    command = [sys.executable, __file__, "--one", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Plan and write 100 million slots.")
    parser.add_argument("--identities", type=int, default=10_000_000)
    parser.add_argument("--slots", type=int, default=100_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, help="what to measure, and where to write")
    options = parser.parse_args()
    steps = options.slots // (P * K)
    if options.one:
        what, where = options.one[0], Path(options.one[1])
        if what in CASES:
            result = ours(what, options.identities, steps, where)
        elif what == "open":
            result = opening(where)
        else:
            result = theirs(what == "pyarrow, dictionaries", options.identities, steps, where)
        print(json.dumps(result))
        return

    print(f"{steps:,} batches of {P} × {K}, {options.identities:,} identities; medians of {options.rounds}")
    print("| | seconds | / pyarrow, same settings | / pyarrow, defaults | peak memory, GiB | on disk, MB |")
    print("|---|---|---|---|---|---|")
    sizes = ("--identities", options.identities, "--slots", options.slots)
    with tempfile.TemporaryDirectory() as scratch:
        plan, file = Path(scratch) / "plan", Path(scratch) / "pyarrow.parquet"
        results: dict[str, list[dict[str, float]]] = {}
        disk: dict[str, float] = {}
        for _ in range(options.rounds):
            for name in ("pyarrow, same settings", "pyarrow, dictionaries", *CASES):
                where = plan if name in CASES else file
                results.setdefault(name, []).append(in_a_process(name, where, *sizes))
                disk[name] = sum(part.stat().st_size for part in plan.iterdir()) if name in CASES else 0
                disk[name] = (disk[name] or file.stat().st_size) / 1e6
        seconds = {name: statistics.median(one["seconds"] for one in runs) for name, runs in results.items()}
        for name, runs in results.items():
            same, default = (
                seconds[name] / seconds[f"pyarrow, {one}"] for one in ("same settings", "dictionaries")
            )
            memory = max(one["gib"] for one in runs)
            print(
                f"| {name} | {seconds[name]:.1f} | {same:.2f} | {default:.2f} | {memory:.2f} | {disk[name]:,.0f} |"
            )
        opened = in_a_process("open", plan)
        print(
            f"open at a random step: {opened['median']:.1f} ms, at most {opened['largest']:.1f} ms",
            flush=True,
        )
        shutil.rmtree(plan)


if __name__ == "__main__":
    main()
