"""Extracting for the next round while this one is evaluated, against one after the other, as a Markdown table.

    python benchmarks/overlap_on_demo.py OUT [REPEATS] [KEY=VALUE ...]

Four rounds of one training step on the demo's images, so that evaluation and extraction are nearly all there is;
OUT must be new. On a machine without a second CUDA device both compete for the same cores.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

DEMO = Path(__file__).resolve().parent.parent / "data_manifests" / "demo.parquet"
SETTINGS = (
    "rounds=4", "pretrain.steps=0", "plan.steps=1", "cluster.ids_per_subspace=100", "extract.batch_size=512",
    "extract.max_images=null", "recluster.refresh=extract",
    "eval.probes_per_identity=null", "train.optimizer.warmup_steps=0",
)  # fmt: skip


def main(out: Path, repeats: int, overrides: list[str]) -> None:
    """Run both in turns and print the table."""
    seconds: dict[str, list[float]] = {"off": [], "on": []}
    for repeat in range(repeats):
        for overlap, taken in seconds.items():
            run = out / f"{overlap}-{repeat}"
            begin = ["init", run, "--manifest", DEMO, *SETTINGS, *overrides, f"overlap={overlap}", "--quiet"]
            _subspace(*begin)
            started = time.monotonic()
            _subspace("run", run, "--quiet")
            taken.append(time.monotonic() - started)
    print("| overlap | seconds, median | each |\n|---|---|---|")
    for overlap, taken in seconds.items():
        print(f"| {overlap} | {median(taken):.1f} | {', '.join(f'{value:.1f}' for value in taken)} |")


def _subspace(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "subspace.pipeline.cli", *map(str, arguments)], check=True)


if __name__ == "__main__":
    given = sys.argv[2:]
    main(Path(sys.argv[1]), int(given[0]) if given else 3, given[1:])
