"""Memory of every stage at a million identities, beside what it announced: one process each, ended where it takes more.

    python benchmarks/reliability/announced_memory.py --out runs/memory

Two images of 8 px of each identity, all different, in one file; a CSV that lists them; a network of one layer. A stage is
given the memory that its own first lines announce ("... of memory") and is killed above it. What it takes is the resident
memory of its process at the peak, code and libraries included, and what its loader processes have of their own. The last
lines are a Markdown table for store_table.py.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

IMAGES, PIXELS = 2, 8
HEADER = f"P5 {PIXELS} {PIXELS} 255\n".encode()
NETWORK = '''"""One layer on 8 px."""

import torch
from torch import nn


class OneLayer(nn.Module):
    """Pixels times a matrix."""

    input_size, embedding_size, mean, std = 8, 64, 0.5, 0.25

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(192, 64)

    def forward(self, images):
        return self.layer(images.flatten(1))
'''
SETTINGS = (
    "rounds=1", "pretrain.steps=20", "pretrain.optimizer.warmup_steps=10", "extract.max_images=1", "plan.steps=50", "plan.P=64", "train.optimizer.warmup_steps=10", "eval.bootstrap=20",
    "validation.bootstrap=20", "validation.identities=10000",
)  # fmt: skip
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
ANNOUNCED = re.compile(r"([\d.,]+) ([kMG]?B) of memory")
TIME = re.compile(r"about [\d.,]+ (?:second|minute|hour|day)s?|less than a second")
BETWEEN_LOOKS = 0.02
"""Seconds."""


@dataclass
class Measured:
    """What a command announced, and what it took."""

    command: list[str]
    limit: float | None
    """Bytes that it may have, whatever it announces; None: what it announces."""
    announced: float = 0.0
    peak: float = 0.0
    seconds: float = 0.0
    code: int = 0
    times: list[str] = field(default_factory=list)
    """Announced."""
    lines: list[str] = field(default_factory=list)

    def run(self, folder: Path) -> Measured:
        """Run it to its end, or until it takes more than it may."""
        began = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-m", "subspace.pipeline.cli", *self.command],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
        )  # fmt: skip
        looking = threading.Thread(target=self._look, args=(child.pid,), daemon=True)
        looking.start()
        assert child.stdout is not None
        for line in child.stdout:
            self.lines.append(line.rstrip())
            if said := ANNOUNCED.search(line):  # of several stages in one process the most
                self.announced = max(self.announced, float(said[1].replace(",", "")) * UNITS[said[2]])
                self.times.append(found[0] if (found := TIME.search(line)) else "-")
        _, status, used = os.wait4(child.pid, 0)
        self.code = child.returncode = os.waitstatus_to_exitcode(status)
        looking.join()
        self.peak = max(self.peak, 1024.0 * used.ru_maxrss)
        self.seconds = time.monotonic() - began
        return self

    def _look(self, process: int) -> None:
        while (taken := taken_by(process)) > 0:
            self.peak = max(self.peak, taken)
            most = self.limit or self.announced
            if most and taken > most:
                os.kill(process, signal.SIGKILL)
            time.sleep(BETWEEN_LOOKS)

    def row(self) -> str:
        """A row of the table."""
        name = self.command[0]
        share = f"{self.peak / self.announced:.2f}" if self.announced else "-"
        ended = "" if self.code == 0 else f" (exit {self.code})"
        announced = f"{self.announced / 1e6:,.0f}" if self.announced else "nothing"
        return (
            f"| {name}{ended} | {announced} | {self.peak / 1e6:,.0f} | {share} "
            f"| {', '.join(self.times) or '-'} | {self.seconds:,.0f} |"
        )


def taken_by(process: int) -> float:
    """Bytes: what is resident of a process, and what its children have of their own; 0 once it has ended."""
    try:
        total = 1024.0 * number_in(Path(f"/proc/{process}/status"), "VmRSS:")
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except (OSError, StopIteration):
        return 0
    return total + sum(own_memory(int(child)) for child in children)


def own_memory(process: int) -> float:
    """Bytes that a child shares with nobody, and its children's."""
    try:
        file = Path(f"/proc/{process}/smaps_rollup")
        own = sum(number_in(file, name) for name in ("Private_Clean:", "Private_Dirty:"))
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (OSError, StopIteration):
        return 0
    return 1024.0 * own + sum(own_memory(int(child)) for child in children)


def number_in(file: Path, name: str) -> int:
    """The number behind a name."""
    return int(next(line for line in file.read_text().splitlines() if line.startswith(name)).split()[1])


def write_images(folder: Path, identities: int) -> None:
    """Images of random pixels, those of an identity alike, in one file, and a CSV that lists them."""
    random, size = np.random.default_rng(0), len(HEADER) + PIXELS**2
    with open(folder / "images.pack", "wb") as pack, open(folder / "images.csv", "w") as csv:
        csv.write("uri,offset,length,identity\n")
        for first in range(0, identities, 50_000):
            some = min(50_000, identities - first)
            own = random.integers(20, 236, (some, 1, PIXELS**2))
            pixels = own + random.integers(-20, 20, (some, IMAGES, PIXELS**2))
            files = np.empty((some * IMAGES, size), np.uint8)
            files[:, : len(HEADER)] = np.frombuffer(HEADER, np.uint8)
            files[:, len(HEADER) :] = pixels.reshape(-1, PIXELS**2)
            pack.write(files.tobytes())
            csv.writelines(
                f"images.pack,{size * (first * IMAGES + image)},{size},id{first + image // IMAGES:08d}\n"
                for image in range(some * IMAGES)
            )
    (folder / "one_layer.py").write_text(NETWORK + "\n\ndef network():\n    return OneLayer()\n")


def commands(run: str) -> list[list[str]]:
    """The commands in their order; all but the first few work on a run."""
    return [
        ["ingest", "images.csv", "--out", "images.parquet", "--test-fraction", "0.02", "--val-fraction", "0.05",
         "--pretrain-fraction", "0.1"],
        ["init", run, "--manifest", "images.parquet", "--model", "python:one_layer:network", *SETTINGS],
        ["pretrain", run],
        ["extract", run],
        ["cluster", run],
        ["plan", run],
        ["train", run],
        ["eval", run],
        ["status", run],
        ["inspect", "images.parquet"],
        ["inspect", f"{run}/round-000/identities.parquet"],
        ["inspect", f"{run}/round-000/plan"],
        ["overlap", "images.parquet", "images.parquet"],
    ]  # fmt: skip


def main(out: Path, identities: int, only: list[str], limit: float | None) -> int:
    """Measure, print the table, return the exit code."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "one_layer.py").exists():
        write_images(out, identities)
    measured = []
    for command in commands("run"):
        if only and command[0] not in only:
            continue
        one = Measured(command, limit).run(out)
        measured.append(one)
        print("\n".join(one.lines), file=sys.stderr)
        print(one.row(), file=sys.stderr, flush=True)
    print("| command | announced, MB | peak, MB | peak / announced | time announced | time taken, s |")
    print("|---|---|---|---|---|---|")
    print("\n".join(one.row() for one in measured), flush=True)
    return int(any(one.code or (one.announced and one.peak > one.announced) for one in measured))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/memory"), help="folder of images and run")
    parser.add_argument("--identities", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", default=[], help="commands, in place of all")
    parser.add_argument("--limit", type=float, help="bytes for each, in place of what it announces")
    given = parser.parse_args()
    sys.exit(main(given.out.resolve(), given.identities, given.only, given.limit))
