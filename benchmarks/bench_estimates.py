"""Announced beside taken time of every stage: the demo's, and those of N identities.

    python benchmarks/bench_estimates.py --out runs/estimates
    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/bench_estimates.py --out runs/estimates --one-core

Every command runs in a process of its own, whose lines are read as a user reads them: what follows "about" was announced at
that moment, and was taken from there to the next announcement or the end. On a machine that does nothing else the clock
counts. On one that is busy give `--one-core` and a single core: there processor time is what the clock would show, as all of
a command shares that core. What is announced and taken in less than a second counts as right. The last lines are a Markdown
table for store_table.py.

Identities: two images of 8 px each and a network of one layer, as in reliability/announced_memory.py.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

sys.path.insert(0, str(Path(__file__).resolve().parent / "reliability"))
from announced_memory import SETTINGS, write_images

ANNOUNCED = re.compile(r"(?:about ([\d.,]+) (second|minute|hour|day)s?|(less than a second))")
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
MARK = "@@"


@dataclass(frozen=True)
class Taken:
    """One announcement and what came of it, in seconds."""

    work: str
    announced: float
    clock: float
    cpu: float

    def row(self, one_core: bool) -> str:
        """A row of the table."""
        ratio = self.announced / max(1e-9, self.cpu if one_core else self.clock)
        small = self.announced < 1 and (self.cpu if one_core else self.clock) < 1
        said = "< 1" if self.announced < 1 else f"{self.announced:g}"
        return f"| {self.work} | {said} | {self.clock:,.1f} | {self.cpu:,.1f} | {'both < 1 s' if small else f'{ratio:.2f}'} |"


def main(out: Path, identities: int, only: list[str], one_core: bool) -> None:
    """Run all, print the table."""
    out.mkdir(parents=True, exist_ok=True)
    rows: list[Taken] = []
    for folder, name, command in [*demo_commands(out), *commands(out, identities)]:
        if only and not any(f"{name} {' '.join(command)}".startswith(word) for word in only):
            continue
        print(f"$ {' '.join(command)}", file=sys.stderr, flush=True)
        rows += measured(command, folder, name)
    print("| work | announced, s | taken, s | CPU, s | announced / taken |")
    print("|---|---|---|---|---|")
    print("\n".join(one.row(one_core) for one in rows))


def demo_commands(out: Path) -> list[tuple[Path, str, list[str]]]:
    """The demo as a whole, stage after stage."""
    return [(out, "demo:", ["demo", "--force", "--out", "demo"])]


def commands(out: Path, identities: int) -> list[tuple[Path, str, list[str]]]:
    """Every command that announces a time, on so many identities."""
    folder = out / f"of-{identities}"
    if not (folder / "one_layer.py").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_images(folder, identities)
    checkpoint = "run/round-000/checkpoint"
    lines: list[list[str]] = [
        ["ingest", "images.csv", "--out", "images.parquet", "--test-fraction", "0.02", "--val-fraction", "0.05",
         "--pretrain-fraction", "0.1"],
        ["overlap", "images.parquet", "images.parquet"],
        ["init", "run", "--manifest", "images.parquet", "--model", "python:one_layer:network", "--force", *SETTINGS,
         "plan.steps=2000"],
        ["pretrain", "run", "--force"],
        ["extract", "run", "--force"],
        ["cluster", "run", "--force"],
        ["plan", "run", "--force"],
        ["train", "run", "--force"],
        ["eval", "run", "--force"],
        ["clean", "run", "--force"],
        ["lr", "run", "--steps", "50", "--rates", "1e-4,1e-3", "--no-write"],
        ["embed", checkpoint, "images.parquet", "--out", "embeddings.parquet", "--allow-code", "--force"],
        ["index", "embeddings.parquet", "--out", "index", "--force"],
    ]  # fmt: skip
    return [(folder, f"{identities:,} identities:", line) for line in lines]


def measured(command: list[str], folder: Path, name: str) -> list[Taken]:
    """Run a command; what it announced and took."""
    child = subprocess.Popen(
        [sys.executable, __file__, "--child", *command], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    came: list[tuple[str, float, float, float]] = []
    ends: list[tuple[float, float]] = []
    for line in child.stdout:
        clock, cpu, text = line.rstrip("\n").split(MARK, 2)
        print(text, file=sys.stderr, flush=True)
        found = ANNOUNCED.search(text)
        if found and "left" not in text and "may follow" not in text and not text.startswith("next"):
            said = 0.5 if found[3] else float(found[1].replace(",", "")) * SECONDS[found[2]]
            label = text.split(":")[0] if re.match(r"[\w-]+/\w+:", text) else command[0]
            came.append((label, said, float(clock), float(cpu)))
        ends.append((float(clock), float(cpu)))
    if child.wait():
        print(f"exit {child.returncode}", file=sys.stderr)
    stops = [(clock, cpu) for _, _, clock, cpu in came[1:]] + ends[-1:]
    stops = [ends[-1] if one[0] == "demo" else stop for one, stop in zip(came, stops, strict=True)]
    return [
        Taken(f"{name} {label}", said, end - clock, end_cpu - cpu)
        for (label, said, clock, cpu), (end, end_cpu) in zip(came, stops, strict=False)
    ]


class Stamped:
    """Standard output, each line with the time and the processor time that it came at."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._rest = file, ""

    def write(self, text: str) -> int:
        """Write the lines that are whole."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            used = os.times()
            cpu = used.user + used.system + used.children_user + used.children_system
            self._file.write(f"{time.monotonic():.3f}{MARK}{cpu:.3f}{MARK}{line}\n")
        self._file.flush()
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


def run_stamped(command: list[str]) -> None:
    """Run a command of the command line here."""
    from subspace.pipeline.cli import main as subspace

    sys.stdout = Stamped(sys.stdout)  # pyright: ignore[reportAttributeAccessIssue]
    sys.argv = ["subspace", *command]
    try:
        subspace()
    finally:
        print("end")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        run_stamped(sys.argv[2:])
        sys.exit()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/estimates"), help="folder of images and runs")
    parser.add_argument("--identities", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", default=[], help="rows that begin so, in place of all")
    parser.add_argument("--one-core", action="store_true", help="compare with the processor time")
    given = parser.parse_args()
    main(given.out.resolve(), given.identities, given.only, given.one_core)
