"""Rounds on glyphs with a kill each minute, beside the same rounds undisturbed: both must come to the same bytes.

    make glyphs SIZE=tiny
    python benchmarks/reliability/kill_each_minute.py data/glyphs/tiny/manifest.parquet --out runs/kill --minutes 120

Both runs go side by side, one thread each. The second gets SIGKILL each minute, in turn the command alone and the command
with its loader workers, and is begun again at once. Each round is compared as soon as both have finished it; when the time
is up, those that both have count. The last lines are a Markdown table for store_table.py.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

from run_results import differences, finished_folders, results_of

SETTINGS = (
    "pretrain.steps=100", "pretrain.optimizer.warmup_steps=20", "pretrain.save_every=20", "pretrain.num_workers=1",
    "extract.identities_per_part=5000", "extract.max_images=1", "extract.num_workers=1", "recluster.refresh=extract",
    "plan.steps=200", "plan.P=64", "eval.probes_per_identity=1", "eval.bootstrap=20",
    "train.num_workers=1", "train.save_every=20", "train.log_every=5", "train.optimizer.warmup_steps=50",
)  # fmt: skip
"""A round takes about a minute of one core: longer than a kill leaves it."""


class EndlessRun:
    """`subspace run` in a folder, one thread, begun as often as needed until it is done."""

    def __init__(self, path: Path, log: TextIO) -> None:
        self.path, self.kills, self.starts, self.failures = path, 0, 0, 0
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.done = False

    def begin(self) -> None:
        """Start the command."""
        self.starts += 1
        self._process = subprocess.Popen(
            [sys.executable, "-m", "subspace.pipeline.cli", "run", str(self.path), "--quiet"],
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def look(self) -> None:
        """Note whether the command has ended; begin it again where it has not done its work."""
        if self._process is None or self.done or (code := self._process.poll()) is None:
            return
        if code == 0:
            self.done = True
            return
        self.failures += 1
        say(f"{self.path.name}: exit {code}, see {self._log.name}")
        if self.failures < 10:
            self.begin()

    def kill(self, workers_too: bool) -> bool:
        """End the command by SIGKILL; return whether it was at work."""
        if self._process is None or self._process.poll() is not None:
            return False
        if workers_too:
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait()
        return True


def say(text: str) -> None:
    """Print one line with the time."""
    print(f"{datetime.now(timezone.utc):%H:%M:%S} {text}", flush=True)


def main(manifest: Path, out: Path, rounds: int, minutes: float, every: float) -> int:
    """Run both, compare what both have, print the table; return the exit code."""
    out.mkdir(parents=True, exist_ok=True)
    runs = [
        EndlessRun(out / name, open(out / f"{name}.errors", "a"))  # noqa: SIM115  (held by the commands)
        for name in ("undisturbed", "killed")
    ]
    for run in runs:
        begin = ["init", run.path, "--manifest", manifest, f"rounds={rounds}", *SETTINGS, "--quiet"]
        subprocess.run([sys.executable, "-m", "subspace.pipeline.cli", *map(str, begin)], check=True)
        run.begin()
    undisturbed, killed = runs
    compared: dict[str, list[str]] = {}
    started = last_kill = time.monotonic()
    while not all(run.done for run in runs) and time.monotonic() - started < 60 * minutes:
        time.sleep(1)
        for run in runs:
            run.look()
        if time.monotonic() - last_kill >= every:
            last_kill = time.monotonic()
            if killed.kill(workers_too=killed.kills % 2 == 1):
                killed.kills += 1
                killed.begin()
        compare(undisturbed.path, killed.path, compared)
        if killed.failures >= 10 or undisturbed.failures >= 10:
            break
    lasted = (time.monotonic() - started) / 60
    for run in runs:
        run.kill(workers_too=True)
    compare(undisturbed.path, killed.path, compared)
    if all(run.done for run in runs):
        compared["the whole run"] = differences(results_of(undisturbed.path), results_of(killed.path))
    unequal = {name: files for name, files in compared.items() if files}
    rounds_compared = len([name for name in compared if name.startswith("round-")])
    failures = sum(run.failures for run in runs)
    print("| minutes | SIGKILLs | rounds compared | equal | commands that failed by themselves |")
    print("|---|---|---|---|---|")
    print(
        f"| {lasted:.0f} | {killed.kills} | {rounds_compared} | {rounds_compared - len(unequal)} | {failures} |"
    )
    return int(bool(unequal) or bool(failures) or not rounds_compared)


def compare(undisturbed: Path, killed: Path, compared: dict[str, list[str]]) -> None:
    """Add to `compared` what differs in each folder that both have finished since."""
    both = set(finished_folders(undisturbed)) & set(finished_folders(killed))
    for name in sorted(both - compared.keys()):
        compared[name] = differences(results_of(undisturbed / name), results_of(killed / name))
        say(f"{name}: {'differs in ' + ', '.join(compared[name]) if compared[name] else 'equal'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/kill-each-minute"), help="folder of both runs")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument(
        "--minutes", type=float, default=120, help="at most; then finished rounds are compared"
    )
    parser.add_argument("--every", type=float, default=60, help="seconds between two kills")
    given = parser.parse_args()
    sys.exit(main(given.manifest, given.out, given.rounds, given.minutes, given.every))
