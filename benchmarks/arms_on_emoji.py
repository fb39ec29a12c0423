"""The leading arms of the glyph comparison on the emoji set, in colour: random batches by three losses, and the default plan.

    make emoji
    python benchmarks/arms_on_emoji.py data/emoji/images.csv runs/emoji-arms [--seeds 3]

Prints a table. All arms of a seed begin with one network and see as many images. A figure is mean ± standard deviation
over seeds, and in brackets the 95 % interval over test identities, its ends averaged over seeds. What is done in the
folder is not done again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from loops_on_emoji import METRICS, START, evaluation, subspace

sys.path.append(str(Path(__file__).parent / "quality"))
from ablations import RANDOM_REMEMBERING, with_memory
from arms import ARMS, Arm

STEPS = 800
BATCH = ("plan.P=32", "plan.K=4", "eval.probes_per_identity=null")
ONE_CORE = ("train.num_workers=0", "extract.num_workers=0", "train.trackers=[]")
DEFAULT = Arm("the default plan", "planned", (), rounds=2)
LEADING = (
    ARMS["random, multi-similarity, λ=0.8, β=20"],
    ARMS["random, batch OHNM, m=0.8"],
    with_memory(RANDOM_REMEMBERING, 512),
    DEFAULT,
)


def main(images: Path, out: Path, seeds: int) -> None:
    """Run what is missing and print the table."""
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / "manifest.parquet"
    subspace("ingest", images, "--out", manifest, run=manifest)
    runs: dict[str, list[Path]] = {"start": [], **{arm.name: [] for arm in LEADING}}
    for seed in range(seeds):
        shared = ("--manifest", manifest, *BATCH, *ONE_CORE, f"seed={seed}")
        start = out / f"start-{seed}"
        subspace("init", start, "--model", "small", *shared, *START, run=start)
        subspace("pretrain", start)
        subspace("eval", start)
        runs["start"].append(start / "start")
        for place, arm in enumerate(LEADING):
            run = out / f"{place}-{seed}"
            own = (
                *arm.settings,
                f"rounds={arm.rounds}",
                f"plan.steps={STEPS // arm.rounds}",
                "pretrain.steps=0",
            )
            model = f"checkpoint:{start / 'start' / 'checkpoint'}"
            subspace("init", run, "--model", model, *shared, *own, run=run)
            subspace("run", run)
            runs[arm.name].append(run / f"round-{arm.rounds - 1:03d}")
    print(f"| batches, loss | seeds | {' | '.join(METRICS)} |")
    print("|" + "---|" * (len(METRICS) + 2))
    for name, networks in runs.items():
        print(f"| {name} | {seeds} | {' | '.join(_cell(networks, metric) for metric in METRICS)} |")


def _cell(networks: list[Path], metric: str) -> str:
    found = [evaluation(network)[metric] for network in networks]
    value, low, high = (
        [100 * one[key] for one in found if one[key] is not None] for key in ("value", "low", "high")
    )
    spread = f" ± {statistics.stdev(value):.1f}" if len(value) > 1 else ""
    return f"{statistics.mean(value):.1f}{spread} [{statistics.mean(low):.1f}, {statistics.mean(high):.1f}]"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, help="images.csv of the emoji set")
    parser.add_argument("out", type=Path, help="folder for the runs")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    main(given.images, given.out, given.seeds)
