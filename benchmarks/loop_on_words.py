"""The whole loop on a set of words, command after command: what each took, beside what it had announced.

    make words SIZE=1m
    python benchmarks/loop_on_words.py data/words/1m/manifest.parquet runs/words-1m plan.steps=1000

The last lines are a Markdown table for store_table.py. A command that a killed run has done is passed over by `subspace` itself,
in no time: begin with a new folder.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "reliability"))
import announced_memory
from announced_memory import UNITS, Measured

announced_memory.BETWEEN_LOOKS = 0.25  # seconds; to look 50 times a second takes a quarter of a core

SETTINGS = (
    "preprocess.size=[24,96]", "data.distractor_splits=[distractor]", "rounds=1", "pretrain.steps=400",
    "extract.max_images=2", "extract.precision=bf16-mixed", "pretrain.precision=bf16-mixed", "train.precision=bf16-mixed",
    "train.optimizer.lr=0.016",
)  # fmt: skip
"""A word of 16 letters has six pixels a letter, and a CPU embeds 8,000 a second."""
STAGES = ("pretrain", "extract", "cluster", "plan", "train", "eval", "report")
LIMIT = 1e12
"""Bytes: nothing is ended for taking more than it announced; the table shows it."""
DISK = re.compile(r"([\d.,]+) ([kMG]?B) of disk")


def main(manifest: Path, run: Path, settings: list[str]) -> None:
    """Run all, print the table."""
    made = Measured(
        ["init", str(run), "--manifest", str(manifest), "--model", "small", *SETTINGS, *settings], None
    )
    rows, before = [_row(made.run(Path.cwd()), 0.0)], _size(run)
    for stage in STAGES:
        done = Measured([stage, str(run)], LIMIT).run(Path.cwd())
        after = _size(run)
        rows.append(_row(done, after - before))
        print("\n".join(done.lines), file=sys.stderr, flush=True)
        before = after
    print("| command | announced, s | taken, s | announced, MB | peak, MB | disk announced, MB | disk, MB |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(rows))


def _row(done: Measured, grown: float) -> str:
    disk = [
        float(found[1].replace(",", "")) * UNITS[found[2]]
        for line in done.lines
        if (found := DISK.search(line))
    ]
    name = done.command[0] + (f" (exit {done.code})" if done.code else "")
    times = ", ".join(time.removeprefix("about ") for time in done.times) or "–"
    memory = f"{done.announced / 1e6:,.0f}" if done.announced else "–"
    announced = f"{sum(disk) / 1e6:,.1f}" if disk else "–"
    return f"| {name} | {times} | {done.seconds:,.0f} | {memory} | {done.peak / 1e6:,.0f} | {announced} | {grown / 1e6:,.1f} |"


def _size(folder: Path) -> float:
    return float(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("run", type=Path, help="a folder that is not there yet")
    parser.add_argument("settings", nargs="*", help="for init, such as plan.steps=1000")
    given = parser.parse_args()
    main(given.manifest, given.run, given.settings)
