"""The demo with several seeds: one row for each network, as a Markdown table.

    python benchmarks/demo_seeds.py OUT [SEED ...]

Seeds whose runs are finished in OUT are read, not run again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

METRICS = ("Rank-1", "Rank-5", "TAR@FAR=1e-2", "TAR@FAR=1e-3", "TAR@FAR=1e-4")


def main(out: Path, seeds: list[int]) -> None:
    """Run what is missing and print the table."""
    print(f"| seed | batches | {' | '.join(METRICS)} | active triplets | training s | mining s |")
    print("|" + "---|" * (len(METRICS) + 5))
    for seed in seeds:
        folder, started = out / f"seed-{seed}", time.monotonic()
        command = [sys.executable, "-m", "subspace.pipeline.cli", "demo", "--seed", str(seed)]
        done = subprocess.run([*command, "--out", folder, "--json"], stdout=subprocess.PIPE, check=True)
        for name, result in json.loads(done.stdout).items():
            cells = [f"{100 * result['metrics'][metric]['value']:.1f}" for metric in METRICS]
            if name == "start":
                cells += ["", "", ""]
            else:
                cells.append(f"{result['active_fraction']:.1%}")
                cells += [f"{result[f'{kind}_seconds']:.0f}" for kind in ("train", "mining")]
            print(f"| {seed} | {name} | {' | '.join(cells)} |", flush=True)
        print(f"seed {seed}: {time.monotonic() - started:.0f} s in all", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]] or [0, 1, 2])
